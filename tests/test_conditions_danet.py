"""DANet's rows under the conditions of the paper and of its authors' code.

    T       the text (arXiv:1809.02983v1)
    O5      the authors' code at its tag v0.5.0, the only one that trains DANet
    A       an author's answer to a user of that code, by issue
    PE      PyTorch-Encoding, which an author names for all but Cityscapes (A20)
    MM      mmsegmentation's configuration files

Each value stands beside its source.
"""

from dataclasses import replace

from conditions import Row, augmentation, backbone, data, departures, of_the_paper, optimisation, protocol

from papers.danet.recipes import RECIPES

CITYSCAPES = data("cityscapes", 19, "train", "val", "val")  # T: 2,979 [2,975] / 500 / 1,525 images, 19 classes
PASCAL_CONTEXT = data("pascal_context", 60, "train", "val", "val")  # T: 59 classes and the background
COCO_STUFF = data("coco_stuff10k", 171, "train", "test", "test")  # T: 9,000 and 1,000 images, 171 categories
VOC_MM = data("voc2012", 21, "trainaug", "val", "val")  # MM: pascal_voc12_aug
ADE20K_MM = data("ade20k", 150, "train", "val", "val")  # MM

NO_SCALING = augmentation(  # T: "random cropping and random left-right flipping" in the ablation; O5: 768 of 1024
    crop=768, base=1024, edge="short", scale=None, flip=True
)
SCALING = augmentation(  # O5: the short edge of 1024 times 0.75 to 2.0
    crop=768, base=1024, edge="short", scale=[0.75, 2.0], flip=True
)
CONTEXT_SCALING = augmentation(  # PE v1.0: the long edge of 520 times 0.5 to 2.0, crop 480
    crop=480, base=520, edge="long", scale=[0.5, 2.0], flip=True
)

ONE_LOSS = (
    optimisation(  # T: 0.01, momentum 0.9, decay 0.0001; A30: 0.01 with one loss; A27: batch 8, 180 epochs; O5: x10
        learning_rate=0.01, batch=8, length=180, unit="epochs", head_multiplier=10.0, weight_decay=0.0001
    )
)
THREE_LOSSES = {**ONE_LOSS, "learning_rate": 0.003}  # A30, and O5's command
FINAL = {**THREE_LOSSES, "length": 240}  # O5's command
CONTEXT = optimisation(  # T: 0.001 for other data; PE: batch 16, 80 epochs, x10
    learning_rate=0.001, batch=16, length=80, unit="epochs", head_multiplier=10.0, weight_decay=0.0001
)

SINGLE = protocol(  # O5: windows of 768 in steps of int(768 * 2 / 3), mirrored, exp of the summed scores
    crop=768, stride=512, base=None, edge="long", scales=[1.0], flip=True, merge="exp"
)
EIGHT = protocol(  # O5: --multi-scales with a crop of 1024; the text names six scales
    crop=1024,
    stride=512,
    base=None,
    edge="long",
    scales=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.2],
    flip=True,
    merge="exp",
)
CONTEXT_SIX = protocol(  # PE: six scales of the long edge, mirrored, two thirds of a crop from window to window
    crop=480, stride=320, base=520, edge="long", scales=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75], flip=True, merge="exp"
)

R50 = backbone("resnet50", output_stride=8)  # T: dilated in the last two blocks, to 1/8; O5: the plain stem
R101 = backbone("resnet101", output_stride=8)
R50_GRID = backbone("resnet50", output_stride=8, multi_grid=[4, 8, 16])  # O5; A2: used for all best numbers
R101_GRID = backbone("resnet101", output_stride=8, multi_grid=[4, 8, 16])


def network(features: dict, position: bool, channel: bool) -> dict:
    """As released: the inverted channel attention, bare projections to an eighth, three losses, corners aligned."""
    return {
        "backbone": features,
        "position_attention": "released" if position else "none",
        "channel_attention": "released" if channel else "none",
        "reduction": 8,
        "side_scores": True,
        "align_corners": True,
        "deep_supervision": False,
    }


BETTER_WEIGHTS = {"also_weights": ["gluon"]}  # O5: its own, stronger than torchvision's; no longer there


def ablation(features: dict, position: bool, channel: bool) -> Row:
    rates = THREE_LOSSES if position and channel else ONE_LOSS
    return Row(network(features, position, channel), CITYSCAPES, NO_SCALING, rates, SINGLE, **BETTER_WEIGHTS)


def context(features: dict, where: dict, dual: bool = True) -> Row:
    return Row(network(features, dual, dual), where, CONTEXT_SCALING, CONTEXT, CONTEXT_SIX, **BETTER_WEIGHTS)


WHOLE = Row(network(R101_GRID, True, True), CITYSCAPES, SCALING, FINAL, SINGLE, **BETTER_WEIGHTS)
OTHER_TESTS = {"same_weights_as": "danet-r101-cityscapes"}

TABLE = {
    # Table 1
    "danet-r50-cityscapes-fcn": ablation(R50, False, False),
    "danet-r50-cityscapes-pam": ablation(R50, True, False),
    "danet-r50-cityscapes-cam": ablation(R50, False, True),
    "danet-r50-cityscapes-pam-cam": ablation(R50, True, True),
    "danet-r101-cityscapes-fcn": ablation(R101, False, False),
    "danet-r101-cityscapes-pam": ablation(R101, True, False),
    "danet-r101-cityscapes-cam": ablation(R101, False, True),
    "danet-r101-cityscapes-pam-cam": ablation(R101, True, True),
    # Table 2
    "danet-r101-cityscapes-da": replace(WHOLE, architecture=network(R101, True, True)),
    "danet-r101-cityscapes": WHOLE,
    "danet-r101-cityscapes-ms": replace(WHOLE, protocol=EIGHT, **OTHER_TESTS),
    # Table 3
    "danet-r101-cityscapes-test": replace(WHOLE, protocol=EIGHT, data={**CITYSCAPES, "test": "test"}, **OTHER_TESTS),
    # Table 4
    "danet-r50-pascal-context-fcn": context(R50, PASCAL_CONTEXT, dual=False),
    "danet-r50-pascal-context": context(R50_GRID, PASCAL_CONTEXT),
    "danet-r101-pascal-context": context(R101_GRID, PASCAL_CONTEXT),
    # Table 5
    "danet-r50-cocostuff-fcn": context(R50, COCO_STUFF, dual=False),
    "danet-r50-cocostuff": context(R50_GRID, COCO_STUFF),
    "danet-r101-cocostuff": context(R101_GRID, COCO_STUFF),
    # O5's README, by its windows
    "danet-r101-cityscapes-released": replace(WHOLE, protocol={**SINGLE, "border": "padded"}, **OTHER_TESTS),
    "danet-r101-cityscapes-released-ms": replace(WHOLE, protocol={**EIGHT, "border": "padded"}, **OTHER_TESTS),
}


def public(depth: int, where: dict, steps: int, crop: int) -> Row:
    """A file of mmsegmentation: its own stem 32-32-64, no multi-grid, 0.01 for all, decay 5e-4, test at one scale."""
    cityscapes = where is CITYSCAPES
    corners = crop == 769
    tests = protocol(crop=None, stride=None, base=None, edge="long", scales=[1.0], flip=False, merge="softmax")
    if corners:
        tests |= {"crop": 769, "stride": 513, "base": 2049, "merge": "scores"}
    if not cityscapes:
        tests |= {"base": 512, "edge": "short", "limit": 2048}
    return Row(
        network(backbone(f"resnet{depth}", stem="deep32", output_stride=8), True, True) | {"align_corners": corners},
        where,
        augmentation(crop=crop, base=None if cityscapes else 512, edge="short", scale=[0.5, 2.0], flip=True),
        optimisation(
            learning_rate=0.01,
            batch=8 if cityscapes else 16,
            length=steps,
            unit="steps",
            head_multiplier=1.0,
            weight_decay=0.0005,
        ),
        tests,
    )


for layers in (50, 101):
    for ending, arguments in {
        "cityscapes-mmseg": (CITYSCAPES, 40_000, 512),
        "cityscapes-mmseg-769": (CITYSCAPES, 40_000, 769),
        "cityscapes-mmseg-80k": (CITYSCAPES, 80_000, 512),
        "cityscapes-mmseg-769-80k": (CITYSCAPES, 80_000, 769),
        "ade20k-mmseg": (ADE20K_MM, 80_000, 512),
        "ade20k-mmseg-160k": (ADE20K_MM, 160_000, 512),
        "voc2012-mmseg": (VOC_MM, 20_000, 512),
        "voc2012-mmseg-40k": (VOC_MM, 40_000, 512),
    }.items():
        TABLE[f"danet-r{layers}-{ending}"] = public(layers, *arguments)


def test_every_row_is_under_the_conditions_of_its_sources() -> None:
    assert departures(RECIPES, TABLE) == []


def test_no_row_is_without_conditions() -> None:
    assert set(TABLE) == of_the_paper(RECIPES)
