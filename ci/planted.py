"""The mistakes that `ci.mutations` plants: each a small text in place of another, and whose tests must notice it.

Each is one that a hand could make and that changes what is learned or what is reported, while everything still runs.
The old text must stand in its file exactly once.
"""

from dataclasses import dataclass

CONDITIONS = ("tests/test_conditions_{paper}.py",)
"""The table of a paper's rows."""
HEADS = ("tests/test_heads.py", "-k", "{paper}")
"""Stored answers, dropout and batch normalisation of a paper's networks."""
GRADIENTS = ("tests/test_gradients.py", "-k", "{paper}")
"""What each term of a paper trains, and by which gradient."""
STEP = ("tests/test_step.py",)
"""A step of the loop by hand."""
BACKBONES = ("tests/test_dilations.py", "-k", "not efficientnet and not hrnet and not resnet101")
INFERENCE = ("tests/test_inference.py",)
TRANSFORMS = ("tests/test_transforms.py",)

EVERY = ("danet", "dfdam", "pdanet", "ranet", "sanet")


@dataclass(frozen=True)
class Mistake:
    """A text of a file that becomes another.

    `papers` are those whose tests must notice it, each for itself; in the arguments `tests` of pytest, {paper} is the
    paper. A mistake in what all papers share and no paper can have tests of its own for has one run.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    papers: tuple[str, ...] = ()

    def runs(self) -> list[tuple[str, ...]]:
        """The arguments of pytest, for each paper."""
        filled = [tuple(part.format(paper=paper) for part in self.tests) for paper in self.papers or ("",)]
        return list(dict.fromkeys(filled))


def _recipe(paper: str, what: str, old: str, new: str) -> Mistake:
    return Mistake(f"{paper}: {what}", f"papers/{paper}/recipes.py", old, new, CONDITIONS, (paper,))


def _model(paper: str, what: str, old: str, new: str, tests: tuple[str, ...] = HEADS, file: str = "model") -> Mistake:
    return Mistake(f"{paper}: {what}", f"papers/{paper}/{file}.py", old, new, tests, (paper,))


def _loss(paper: str, what: str, old: str, new: str, tests: tuple[str, ...] = GRADIENTS) -> Mistake:
    return _model(paper, what, old, new, tests, "loss")


def _default(what: str, old: str, new: str, papers: tuple[str, ...]) -> Mistake:
    return Mistake(f"a default of recipes: {what}", "core/recipe.py", old, new, CONDITIONS, papers)


LOOP = "core/training/loop.py"
LEARNER = "core/training/learner.py"

SHARED = (
    # defaults, of which every paper's rows make use
    _default("power 2", "    power: float = 0.9\n", "    power: float = 2.0\n", EVERY),
    _default("no multiplier of the head's rate", "    head_multiplier: float = 1.0\n", "    head_multiplier: float = 10.0\n", ("pdanet", "ranet")),
    _default("weight decay 0", "    weight_decay: float = 1e-4\n", "    weight_decay: float = 0.0\n", ("danet", "pdanet", "sanet")),
    _default("momentum 0.99", "    momentum: float = 0.9\n", "    momentum: float = 0.99\n", EVERY),
    _default("another schedule", '] = "poly"\n', '] = "linear"\n', ("danet", "dfdam", "pdanet", "sanet")),
    _default("no flip in training", "    flip: bool = True\n", "    flip: bool = False\n", EVERY),
    _default("an average of the weights", "    ema: float = 0.0\n", "    ema: float = 0.999\n", EVERY),
    _default("frozen batch normalisation", 'freeze: Literal["none", "backbone", "batchnorm"] = "none"', 'freeze: Literal["none", "backbone", "batchnorm"] = "batchnorm"', EVERY),
    _default("clipped gradients", "    clip: float | None = None\n", "    clip: float | None = 1.0\n", EVERY),
    _default("steps for epochs", '["epochs", "steps"] = "epochs"\n', '["epochs", "steps"] = "steps"\n', ("danet", "dfdam", "sanet")),
    Mistake("the rate falls by steps done, not by those left", "core/recipe.py", "left = 1 - step / steps", "left = 1 - step / (2 * steps)", STEP),
    # the loop
    Mistake("no momentum", LEARNER, "momentum=optimisation.momentum", "momentum=0.0", STEP),
    Mistake("no weight decay", LEARNER, "momentum=optimisation.momentum, weight_decay=optimisation.weight_decay", "momentum=optimisation.momentum, weight_decay=0.0", STEP),
    Mistake("one rate for backbone and heads", LEARNER, '"multiplier": optimisation.head_multiplier', '"multiplier": 1.0', STEP),
    Mistake("the backbone learns at the heads' rate", LEARNER, '"params": backbone, "multiplier": 1.0', '"params": backbone, "multiplier": optimisation.head_multiplier', STEP),
    Mistake("the rate never falls", LEARNER, "rate = self.optimisation.rate(step, self.steps)", "rate = self.optimisation.rate(0, self.steps)", STEP),
    Mistake("frozen batch normalisation", LEARNER, "        self.plain.train()\n", "        self.plain.train()\n        [m.eval() for m in self.plain.modules() if isinstance(m, nn.BatchNorm2d)]\n", STEP),
    Mistake("dropout never drawn", LEARNER, "        self.plain.train()\n", "        self.plain.train()\n        [m.eval() for m in self.plain.modules() if isinstance(m, nn.Dropout2d)]\n", STEP),
    Mistake("the mean of the terms for their sum", LOOP, "torch.stack(list(terms.values())).sum()", "torch.stack(list(terms.values())).mean()", STEP),
    Mistake("the first term alone", LOOP, "torch.stack(list(terms.values())).sum()", "next(iter(terms.values()))", STEP),
    # layers and backbones
    Mistake("dropout 0.9", "core/networks/blocks.py", "nn.Dropout2d(0.1)", "nn.Dropout2d(0.9)", HEADS, ("danet", "pdanet", "ranet", "sanet")),
    Mistake("dropout of single values", "core/networks/blocks.py", "nn.Dropout2d(0.1)", "nn.Dropout(0.1)", HEADS, ("danet", "pdanet", "ranet", "sanet")),
    Mistake("a convolution with bias", "core/networks/blocks.py", "dilation=dilation, bias=False", "dilation=dilation, bias=True", HEADS, ("danet", "dfdam", "pdanet", "ranet")),
    Mistake("batch normalisation of another momentum", "core/networks/blocks.py", "nn.BatchNorm2d(width)", "nn.BatchNorm2d(width, momentum=0.001)", HEADS, ("danet", "dfdam", "pdanet", "ranet")),
    Mistake("output stride 16 for 8", "core/networks/backbones.py", 'arguments["output_stride"] = backbone', 'arguments["output_stride"] = max(16, backbone.output_stride)  # ', BACKBONES),
    Mistake("multi-grid ignored", "core/networks/backbones.py", "if backbone.multi_grid is not None:\n        _dilate", "if False:\n        _dilate", BACKBONES),
    Mistake("multi-grid as factors", "core/networks/backbones.py", "convolution.dilation = convolution.padding = (rate, rate)", "convolution.dilation = convolution.padding = (4 * rate, 4 * rate)", BACKBONES),
    # objectives and tests
    Mistake("ignored pixels count", "core/networks/losses.py", "(labels != IGNORE).sum().clamp(min=1)", "labels.numel()", ("tests/test_danet.py", "-k", "loss")),
    Mistake("merging by softmax in place of exp", "core/networks/inference.py", '    if protocol.merge == "exp":\n        values', '    if protocol.merge == "never":\n        values', INFERENCE),
    Mistake("the mirrored answer is not mirrored back", "core/networks/inference.py", "scores[1] = scores[1].flip(-1)", "scores[1] = scores[1]", INFERENCE),
    Mistake("images mirrored, labels not", "core/datasets/transforms.py", "image, labels = image.flip(-1), labels.flip(-1)", "image = image.flip(-1)", TRANSFORMS),
    Mistake("crops from the corner alone", "core/datasets/transforms.py", "(int(generator.integers(max(0, length - crop) + 1)) for length in (tall, wide))", "(0 for length in (tall, wide))", TRANSFORMS),
    Mistake("labels padded as class 0", "core/datasets/transforms.py", "missing, fill=IGNORE)", "missing, fill=0)", TRANSFORMS),
)  # fmt: skip

DANET = (
    _recipe("danet", "the rate of one loss with three", "THREE_LOSSES = 0.003", "THREE_LOSSES = 0.01"),
    _recipe("danet", "crop 384", "RANDOM_SCALE = Augmentation(crop=768,", "RANDOM_SCALE = Augmentation(crop=384,"),
    _recipe("danet", "the ablation scales", "FIXED_SCALE = Augmentation(crop=768, base=1024)", "FIXED_SCALE = Augmentation(crop=768, base=1024, scale=(0.75, 2.0))"),
    _recipe("danet", "no flip in testing", "SLIDING = Protocol(crop=768, stride=512, flip=True,", "SLIDING = Protocol(crop=768, stride=512, flip=False,"),
    _recipe("danet", "merging by softmax", 'SLIDING = Protocol(crop=768, stride=512, flip=True, merge="exp")', 'SLIDING = Protocol(crop=768, stride=512, flip=True, merge="softmax")'),
    _recipe("danet", "no multi-grid", 'R101_MULTI_GRID = Backbone("resnet101", multi_grid=(4, 8, 16))', 'R101_MULTI_GRID = Backbone("resnet101")'),
    _recipe("danet", "output stride 16", 'R50 = Backbone("resnet50")', 'R50 = Backbone("resnet50", output_stride=16)'),
    _recipe("danet", "59 classes", 'PASCAL_CONTEXT = Data("pascal_context", num_classes=60)', 'PASCAL_CONTEXT = Data("pascal_context_59", num_classes=59)'),
    _recipe("danet", "no multiplier of the head's rate", "Optimisation(THREE_LOSSES, batch=8, length=240, head_multiplier=10.0)", "Optimisation(THREE_LOSSES, batch=8, length=240)"),
    _model("danet", "a dilated FCN of one 1x1 convolution", "self.plain = convolution(channels, width) if", "self.plain = convolution(channels, width, 1) if"),
    _model("danet", "the branches are not summed but the first is taken", "self.classify(sum(branches))", "self.classify(branches[0])"),
    _model("danet", "queries and keys of full width", "self.to_b = project(channels // reduction)", "self.to_b = project(channels // 8)"),
    _model("danet", "alpha gets no gradient", "return self.alpha * rearrange(context", "return self.alpha.detach() * rearrange(context", GRADIENTS),
    _model("danet", "the context gets no gradient", "return self.beta * rearrange(context,", "return self.beta * rearrange(context.detach(),", GRADIENTS),
    _model("danet", "the channel loss judges the position branch", "self.classify_channel(branches[1])", "self.classify_channel(branches[0])"),
    _model("danet", "the position loss trains its classifier alone", "self.classify_position(branches[0])", "self.classify_position(branches[0].detach())", GRADIENTS),
    _model("danet", "the sign of Eq. (3)", 'self.sign = 1.0 if form == "paper" else -1.0', "self.sign = 1.0"),
    _loss("danet", "no loss of the channel branch", 'terms["channel"] = cross_entropy(output.channel, labels, class_weights)', "pass"),
    _loss("danet", "the fused scores judged twice", 'terms["channel"] = cross_entropy(output.channel, labels, class_weights)', 'terms["channel"] = cross_entropy(output.scores, labels)'),
)  # fmt: skip

DFDAM = (
    _recipe("dfdam", "VOC's own 1,464 images", 'VOC = Data("voc2012", num_classes=21, train="trainaug")', 'VOC = Data("voc2012", num_classes=21)'),
    _recipe("dfdam", "a dilated backbone", "Backbone(name, output_stride=32)", "Backbone(name, output_stride=8)"),
    _recipe("dfdam", "the weight decay of Cityscapes on VOC", "head_multiplier=10.0, weight_decay=1e-5)", "head_multiplier=10.0, weight_decay=5e-4)"),
    _recipe("dfdam", "crop 512 on Cityscapes", "Augmentation(crop=1024, scale=SCALES", "Augmentation(crop=512, scale=SCALES"),
    _recipe("dfdam", "six test scales", "SEVEN_SCALES = Protocol(scales=(0.5, 0.75,", "SEVEN_SCALES = Protocol(scales=(0.75,"),
    _recipe("dfdam", "drawn and not listed scales", "SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)", "SCALES = (0.75, 2.0)"),
    _recipe("dfdam", "the baseline keeps the position attention", 'dual_attention_fusion="none", position_attention=False)', 'dual_attention_fusion="none")'),
    _model("dfdam", "alpha_L gets no gradient", "low, high = alpha_L * X_L", "low, high = alpha_L.detach() * X_L", GRADIENTS),
    _model("dfdam", "beta gets no gradient", "return beta * X_SI  # Eq. (9)", "return beta.detach() * X_SI  # Eq. (9)", GRADIENTS),
    _model("dfdam", "one vector for both stages", "alpha_H: ChannelWeights = self.to_alpha_high(guide)", "alpha_H: ChannelWeights = self.to_alpha_low(guide)"),
    _model("dfdam", "2DPAM hears one source", "torch.cat([X_SI, X_CI], dim=1)", "torch.cat([X_SI, X_SI], dim=1)"),
    _model("dfdam", "L_s judges what is not weighted", "enlarged(self.classify_spatial(spatial), image)", "enlarged(self.classify_spatial(X_SI), image)", GRADIENTS),
    _model("dfdam", "L_c reaches its own head alone", "enlarged(self.classify_context(context), image)", "enlarged(self.classify_context(context.detach()), image)", GRADIENTS),
    _model("dfdam", "another stage for the spatial information", "lowest, _, third, fourth = self.backbone.channels", "_, lowest, third, fourth = self.backbone.channels"),
    _model("dfdam", "the width of the refining layers", "width = channels // 2\n        super().__init__(\n", "width = channels\n        super().__init__(\n"),
    _loss("dfdam", "lambda_s of 0.4", "LAMBDA_S = 0.1", "LAMBDA_S = 0.4", ("tests/test_dfdam.py", "-k", "joint_loss")),
    _loss("dfdam", "the two lambdas exchanged", "LAMBDA_C * context", "LAMBDA_S * context", ("tests/test_dfdam.py", "-k", "joint_loss")),
)  # fmt: skip

PDANET = (
    _recipe("pdanet", "the code's rate", "Optimisation(0.01, batch=8, length=STEPS", "Optimisation(0.02, batch=8, length=STEPS"),
    _recipe("pdanet", "short sides without 300", "for side in (300, 375, 450, 525, 600)", "for side in (375, 450, 525, 600)"),
    _recipe("pdanet", "a factor for each image", "listed=True, shared=True, limit=largest", "listed=True, limit=largest"),
    _recipe("pdanet", "no limit of the longest side", 'protocol=Protocol(base=SHORT_SIDE, edge="short", limit=largest, multiple=8)', 'protocol=Protocol(base=SHORT_SIDE, edge="short", multiple=8)'),
    _recipe("pdanet", "mirrored tests", 'protocol=Protocol(base=SHORT_SIDE, edge="short", limit', 'protocol=Protocol(base=SHORT_SIDE, edge="short", flip=True, limit'),
    _recipe("pdanet", "the loss at full size", 'loss_size="features"', 'loss_size="image"'),
    _model("pdanet", "other levels of the pyramid", "LEVELS = (1, 2, 3, 6)", "LEVELS = (1, 2, 4, 8)"),
    _model("pdanet", "alpha gets no gradient", "return self.alpha * rearrange(context", "return self.alpha.detach() * rearrange(context", GRADIENTS),
    _model("pdanet", "beta gets no gradient", "return self.beta * rearrange(context", "return self.beta.detach() * rearrange(context", GRADIENTS),
    _model("pdanet", "the position branch alone", "self.project(self.position(features) + self.channel(features))", "self.project(self.position(features) + 0 * self.channel(features))"),
    _model("pdanet", "the channel branch is not trained", "self.project(self.position(features) + self.channel(features))", "self.project(self.position(features) + self.channel(features).detach())", GRADIENTS),
    _model("pdanet", "the features are not beside their pyramid", "torch.cat([features, *enlarged], dim=1)", "torch.cat([0 * features, *enlarged], dim=1)"),
    _model("pdanet", "an FCN of a 1x1 convolution", "self.gather = convolution(channels, channels // 4)", "self.gather = convolution(channels, channels // 4, 1)"),
    _model("pdanet", "deep supervision ends at its classifier", "self.classify_deep(C3)", "self.classify_deep(C3.detach())", GRADIENTS),
    _model("pdanet", "the sign of Eq. (8)", 'self.sign = 1.0 if form == "paper" else -1.0', "self.sign = 1.0"),
    _loss("pdanet", "deep supervision without a weight", "DEEP_SUPERVISION = 0.4", "DEEP_SUPERVISION = 1.0", ("tests/test_pdanet.py", "-k", "objective")),
)  # fmt: skip

RANET = (
    _recipe("ranet", "the code's rate", "    0.001, batch=8, length=40_000,", "    0.01, batch=8, length=40_000,"),
    _recipe("ranet", "the poly rule", 'unit="steps", schedule="linear", weight_decay=5e-4', 'unit="steps", schedule="poly", weight_decay=5e-4'),
    _recipe("ranet", "no brightness", "BRIGHTNESS = 0.2", "BRIGHTNESS = 0.0"),
    _recipe("ranet", "a third more steps", "replace(LINEAR, length=60_000)", "replace(LINEAR, length=80_000)"),
    _recipe("ranet", "half-overlapping windows", "stride=-(-crop * 2 // 3)", "stride=-(-crop // 2)"),
    _recipe("ranet", "the crop of Cityscapes elsewhere", "augmentation=replace(_CITYSCAPES.augmentation, crop=520)", "augmentation=_CITYSCAPES.augmentation"),
    _recipe("ranet", "no coarse annotations", 'replace(CITYSCAPES, train="train+coarse")', 'replace(CITYSCAPES, train="train")'),
    _model("ranet", "K ignored", "        architecture.representatives, architecture.intra,", "        8, architecture.intra,"),
    _model("ranet", "no maps ignored", "semantic=architecture.semantic_map,", "semantic=True,"),
    _model("ranet", "O alone is fused", "torch.cat([A, context.to(A.dtype)], dim=1)", "torch.cat([context.to(A.dtype), context.to(A.dtype)], dim=1)"),
    _model("ranet", "the regions get no gradient", "else self.gather(A, regions)  # O", "else self.gather(A, regions._replace(J=regions.J.detach()))  # O", GRADIENTS),
    _model("ranet", "the boundary is judged where it is made", "enlarged(self.classify_boundary(features))", "enlarged(self.classify_boundary(A))", GRADIENTS),
    _model("ranet", "the coarse loss ends at its heads", "return self.boundary(A), self.semantic(A)", "return self.boundary(A), self.semantic(A.detach())", GRADIENTS),
    _model("ranet", "W^g is not learned", "w = weight if construct.training else", "w = weight.detach() if construct.training else", GRADIENTS),
    _model("ranet", "J of Eq. (8) gets no gradient", "return regions.J[:, None] * A + received", "return regions.J[:, None].detach() * A + received", GRADIENTS, "interaction"),
    _model("ranet", "the values of Eq. (7) get no gradient", "_attend(L, weighted, weighted, phi.region, phi.region, weigh)", "_attend(L, weighted, weighted.detach(), phi.region, phi.region, weigh)", GRADIENTS, "interaction"),
    _model("ranet", "the own region in Eq. (7)", "weigh(torch.bmm(q.transpose(1, 2), K), region, keys)", "_own_region(torch.bmm(q.transpose(1, 2), K), region, keys)", HEADS, "interaction"),
    _loss("ranet", "the coarse loss of weight 1", "COARSE = 0.4", "COARSE = 1.0", ("tests/test_ranet.py", "-k", "objective")),
    _loss("ranet", "boundaries at one place", "COARSE_BOUNDARY * cross_entropy(output.coarse_boundary, boundaries)", "COARSE_BOUNDARY * cross_entropy(output.boundary, boundaries)"),
)  # fmt: skip

SANET = (
    _recipe("sanet", "the first stage's rate in the last", "optimisation=_optimisation(0.0001, 50)", "optimisation=_optimisation(0.001, 50)"),
    _recipe("sanet", "one rate for all layers", "length=length, head_multiplier=10.0)", "length=length)"),
    _recipe("sanet", "the short edge scaled", 'edge="long", scale=(0.5, 2.0))', 'edge="short", scale=(0.5, 2.0))'),
    _recipe("sanet", "VOC's own 1,464 images", 'VOC_AUGMENTED = Data("voc2012", num_classes=21, train="trainaug")', 'VOC_AUGMENTED = Data("voc2012", num_classes=21)'),
    _recipe("sanet", "the plain stem", 'R101 = Architecture(Backbone("resnet101", stem="deep64"))', 'R101 = Architecture(Backbone("resnet101"))'),
    _recipe("sanet", "the short schedule everywhere", "EPOCHS = 80\n", "EPOCHS = 20\n"),
    _recipe("sanet", "the last stage starts from ImageNet", "starts_from=start.name", "starts_from=None"),
    _recipe("sanet", "merging by softmax", '1.75), flip=True, merge="exp")', '1.75), flip=True)'),
    _model("sanet", "no groups", "GROUPS = 2\n", "GROUPS = 1\n"),
    _model("sanet", "half of the channels", "REDUCTION = 4\n", "REDUCTION = 2\n"),
    _model("sanet", "another squeeze", "SQUEEZE = 4\n", "SQUEEZE = 16\n"),
    _model("sanet", "no addition in Eq. (4)", "return X_attn * X_res + X_attn  # Eq. (4)", "return X_attn * X_res  # Eq. (4)"),
    _model("sanet", "a factor of Eq. (4) gets no gradient", "return X_attn * X_res + X_attn  # Eq. (4)", "return X_attn.detach() * X_res + X_attn  # Eq. (4)", GRADIENTS),
    _model("sanet", "w gets no gradient", "return w * X_in + self.residual(X_in)", "return w.detach() * X_in + self.residual(X_in)", GRADIENTS),
    _model("sanet", "downsampling ignored", "SqueezeAndAttention(c, num_classes, r,", "SqueezeAndAttention(c, num_classes, 8,"),
    _model("sanet", "the pooling ignored", 'kind = nn.AvgPool2d if pooling == "average" else nn.MaxPool2d', "kind = nn.AvgPool2d"),
    _model("sanet", "the fourth head is not in the prediction", "prediction = self._enlarge(Y_den + Y_SA[-1], size)", "prediction = self._enlarge(Y_den + Y_SA[-1].detach(), size)", GRADIENTS),
    _model("sanet", "the masks reach no head", "self.fuse(torch.cat([self._enlarge(maps, largest) for maps in Y_SA], dim=1))", "self.fuse(torch.cat([self._enlarge(maps, largest).detach() for maps in Y_SA], dim=1))", GRADIENTS),
    _model("sanet", "the categorical loss has its own classifier's pool", 'reduce(Y_den, "b k h w -> b k", "mean")', 'reduce(Y_den.detach(), "b k h w -> b k", "mean")', GRADIENTS),
    _loss("sanet", "the two weights exchanged", "alpha * categorical(output.presence, labels)", "beta * categorical(output.presence, labels)", ("tests/test_sanet.py", "-k", "weighted")),
)  # fmt: skip

MISTAKES = (*SHARED, *DANET, *DFDAM, *PDANET, *RANET, *SANET)
