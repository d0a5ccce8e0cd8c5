"""The recipes of DANet: one value for each row that Tables 1-5 report for the paper's own networks and baselines.

Where the text is silent, the values are those of the authors' released code and of their answers to users; the table
"Where the paper is silent" in README.md says which is which. Costs are the authors': four P40 GPUs with 14.5 GB each
for a batch of 8 crops of 768 x 768. Beside the paper's rows stand those of mmsegmentation's 16 public files of weights,
which `python -m hub.convert` turns into ours, so that anyone who has the data can test the chain of evaluation.
"""

from dataclasses import replace

from core.conditions import ADE20K, CITYSCAPES, COCO_STUFF, PASCAL_CONTEXT, VOC, beacons, camvid, demo, small, tiny
from core.networks.backbones import Backbone
from core.paper import Paper
from core.recipe import SAME_WEIGHTS, Augmentation, Data, Optimisation, Protocol, Recipe, Reported, WeightsSource
from papers.danet import public
from papers.danet.attention import attention
from papers.danet.loss import loss
from papers.danet.model import Architecture, DANet

DEMO = "danet-demo"

R50 = Backbone("resnet50")
R101 = Backbone("resnet101")
R101_MULTI_GRID = Backbone("resnet101", multi_grid=(4, 8, 16))

DUAL = Architecture(R101)
"""Both modules as released, without multi-grid."""

NEARER: tuple[WeightsSource, ...] = ("gluon",)
"""ImageNet weights that a row may begin with beside torchvision's: GluonCV's, of the same plain ResNets.

The authors began with PyTorch-Encoding's own, which are gone and were stronger than torchvision's of the time. So are
GluonCV's, which makes them the nearer ones that can still be had.
"""

ONE_LOSS = 0.01
THREE_LOSSES = 0.003
"""The rates for Cityscapes, by an author's answer: 0.01 with one loss, 0.003 with three. The text says 0.01."""

FIXED_SCALE = Augmentation(crop=768, base=1024)
RANDOM_SCALE = Augmentation(crop=768, base=1024, scale=(0.75, 2.0))

SLIDING = Protocol(crop=768, stride=512, flip=True, merge="exp")
"""What the released code calls single-scale: windows of 768 in steps of 512, and their mirror images."""

MULTI_SCALE = Protocol(
    crop=1024, stride=512, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.2), flip=True, merge="exp"
)
"""The released code's eight scales; the text names six."""


NEVER_RELEASED = (
    "What trained this row was never released. The authors refer to PyTorch-Encoding, whose settings this recipe has; "
    "a user who took crops of 576 with ResNet-50 on PASCAL Context and published the result reached 44.95 at one scale "
    "where 50.10 is reported (issue 72 of the authors' repository, without an answer). Expect to fall short."
)
USERS_FALL_SHORT = (
    "With the released command users report 75.05 and 77 to 78 (issues 41 and 14 of the authors' repository) where "
    "79.94 is printed at one scale; mmsegmentation reaches 80.5 with settings of its own. "
    "The tolerance stays 0.5 points all the same."
)


def _reported(
    table: str,
    row: str,
    value: float,
    split: str = "val",
    per_class: tuple[float, ...] = (),
    caveat: str | None = None,
) -> Reported:
    return Reported("DANet", table, row, split, value, per_class=per_class, caveat=caveat)


def _ablation(name: str, value: float, architecture: Architecture, *also: Reported) -> Recipe[Architecture]:
    """A row of Table 1: no random scaling, 180 epochs."""
    position, channel = architecture.position_attention != "none", architecture.channel_attention != "none"
    modules = " + ".join([label for label, used in (("PAM", position), ("CAM", channel)) if used])
    network = architecture.backbone.name.replace("resnet", "Res")
    row = f"DANet {network} {modules}" if modules else f"Dilated FCN {network}"
    rate = THREE_LOSSES if position and channel else ONE_LOSS
    return Recipe(
        name=name,
        summary=f"Cityscapes ablation, {row}",
        architecture=architecture,
        data=CITYSCAPES,
        augmentation=FIXED_SCALE,
        optimisation=Optimisation(rate, batch=8, length=180, head_multiplier=10.0),
        protocol=SLIDING,
        reported=(_reported("Table 1", row, value), *also),
        also_weights=NEARER,
    )


def _only(backbone: Backbone, position: bool = False, channel: bool = False) -> Architecture:
    """A network with the given modules, as released."""
    return Architecture(
        backbone,
        position_attention="released" if position else "none",
        channel_attention="released" if channel else "none",
    )


_FINAL = Recipe(
    name="danet-r101-cityscapes",
    summary="Cityscapes, the final network: random scaling and multi-grid",
    architecture=replace(DUAL, backbone=R101_MULTI_GRID),
    data=CITYSCAPES,
    augmentation=RANDOM_SCALE,
    optimisation=Optimisation(THREE_LOSSES, batch=8, length=240, head_multiplier=10.0),
    protocol=SLIDING,
    reported=(_reported("Table 2", "DANet-101 DA + Multi-Grid", 79.94, caveat=USERS_FALL_SHORT),),
    also_weights=NEARER,
)

TEST_PER_CLASS = (
    *(98.6, 86.1, 93.5, 56.1, 63.3, 69.7, 77.3, 81.3, 93.9, 72.9),  # road to terrain
    *(95.7, 87.3, 72.9, 96.2, 76.8, 89.4, 86.5, 72.2, 78.2),  # sky to bicycle
)

_FINAL_MS = replace(
    _FINAL,
    name="danet-r101-cityscapes-ms",
    summary="Cityscapes, the final network at eight scales",
    protocol=MULTI_SCALE,
    same_weights_as="danet-r101-cityscapes",
    reported=(_reported("Table 2", "DANet-101 DA + Multi-Grid + MS", 81.50, caveat=USERS_FALL_SHORT),),
)

_FINAL_TEST = replace(
    _FINAL,
    name="danet-r101-cityscapes-test",
    summary="Cityscapes test server, eight scales",
    data=replace(CITYSCAPES, test="test"),
    protocol=MULTI_SCALE,
    same_weights_as="danet-r101-cityscapes",
    reported=(
        _reported(
            "Table 3",
            "DANet",
            81.5,
            "test",
            per_class=TEST_PER_CLASS,
            caveat=USERS_FALL_SHORT,
        ),
    ),
)


def _released(recipe: Recipe[Architecture], value: float, what: str) -> Recipe[Architecture]:
    """A row by the very windows of the authors' code, whose README has the result of the weights that they released."""
    return replace(
        recipe,
        name=recipe.name.replace("cityscapes", "cityscapes-released"),
        summary=f"{recipe.summary}, last windows cut off and padded as in the authors' code",
        protocol=replace(recipe.protocol, border="padded"),
        same_weights_as=_FINAL.name,
        reported=(
            Reported("the authors' code", "its README", f"DANet101, {what}", "val", value, tolerance=SAME_WEIGHTS),
        ),
    )


_TEXT = replace(
    _FINAL,
    name="danet-r101-cityscapes-text",
    summary="Cityscapes, the final network as the text alone has it: Eq. (3), one loss, rate 0.01, six scales",
    architecture=Architecture(
        R101_MULTI_GRID, position_attention="paper", channel_attention="paper", reduction=1, side_scores=False
    ),
    optimisation=Optimisation(0.01, batch=8, length=240),
    protocol=Protocol(crop=768, stride=512, scales=(0.75, 1.0, 1.25, 1.5, 1.75, 2.0)),
    reported=(),
)


_CONTEXT_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def _context(name: str, what: str, architecture: Architecture, data: Data, reported: Reported) -> Recipe[Architecture]:
    """A row of Table 4 or 5, whose training was never released: as PyTorch-Encoding v1.0, which an author names.

    Scale, crop and test are what that code had when he answered: the long edge of 520 times 0.5 to 2.0, crops of 480.
    The networks with attention have multi-grid and the Dilated FCN has none, as in Tables 1 and 2.
    """
    return Recipe(
        name=name,
        summary=what,
        architecture=architecture,
        data=data,
        augmentation=Augmentation(crop=480, base=520, edge="long", scale=(0.5, 2.0)),
        optimisation=Optimisation(0.001, batch=16, length=80, head_multiplier=10.0),
        protocol=Protocol(crop=480, stride=320, base=520, scales=_CONTEXT_SCALES, flip=True, merge="exp"),
        reported=(replace(reported, caveat=NEVER_RELEASED),),
        also_weights=NEARER,
    )


def _option_py(recipe: Recipe[Architecture]) -> Recipe[Architecture]:
    """Ours: a row of Table 4 or 5 by the defaults of the authors' own option.py: crops of 576, the short edge of 608.

    Half of the test scales are then smaller than any in training.
    """
    return replace(
        recipe,
        name=f"{recipe.name}-576",
        summary=f"{recipe.summary}, crops and scales of the authors' option.py",
        augmentation=Augmentation(crop=576, base=608, scale=(0.75, 2.0)),
        protocol=replace(recipe.protocol, crop=576, stride=384, base=608),
        reported=(),
    )


def _camvid(name: str, what: str, architecture: Architecture, rate: float = THREE_LOSSES) -> Recipe[Architecture]:
    """Ours: the schedule of the final network at the size of CamVid's frames."""
    optimisation = replace(_FINAL.optimisation, learning_rate=rate)
    return camvid(name, what, architecture, optimisation, _FINAL.augmentation)


def _public(name: str, file: str, value: float, length: int, crop: int = 512) -> Recipe[Architecture]:
    """The recipe that tests a public file of mmsegmentation in its own way; `file` is its configuration there.

    What makes the weights is theirs as far as a recipe can say it. Unlike here, their crops for 512x1024 are that, not
    512 x 512; they change colours, keep the rate above 1e-4, and train a second classifier on C3.
    """
    trained = {"cityscapes": CITYSCAPES, "ade20k": ADE20K, "voc12aug": replace(VOC, train="trainaug")}
    data = trained[file.split("_")[-1]]
    sliding = crop == 769
    if data.name == "cityscapes":
        protocol = Protocol(crop=769, stride=513, base=2049, merge="scores") if sliding else Protocol()
    else:
        protocol = Protocol(base=512, edge="short", limit=2048)
    backbone = Backbone("resnet50" if "r50" in file else "resnet101", stem="deep32")
    return Recipe(
        name=name,
        summary=f"mmsegmentation's {file}",
        architecture=Architecture(backbone, align_corners=sliding),
        data=data,
        augmentation=Augmentation(crop=crop, base=None if data.name == "cityscapes" else 512, scale=(0.5, 2.0)),
        optimisation=Optimisation(
            0.01, batch=8 if data.name == "cityscapes" else 16, length=length, unit="steps", weight_decay=5e-4
        ),
        protocol=protocol,
        reported=(Reported("mmsegmentation", "configs/danet", file, "val", value, tolerance=SAME_WEIGHTS),),
    )


_MULTI_GRID_R50 = Backbone("resnet50", multi_grid=(4, 8, 16))
_CAMVID_R18 = _camvid("danet-r18-camvid", "DANet Res18", Architecture(Backbone("resnet18")))
_CAMVID_R18_FCN = _camvid("danet-r18-camvid-fcn", "Dilated FCN Res18", _only(Backbone("resnet18")), ONE_LOSS)


_TINY_BACKBONE = Backbone("resnet16_tiny")
_TINY = (
    tiny("danet-tiny-camvid", "DANet Res16-tiny", Architecture(_TINY_BACKBONE, reduction=4), 0.05),
    tiny("danet-tiny-camvid-fcn", "Dilated FCN Res16-tiny", _only(_TINY_BACKBONE), 0.15),
)


_CONTEXT_R50 = _context(
    "danet-r50-pascal-context",
    "PASCAL Context, DANet Res50",
    Architecture(_MULTI_GRID_R50),
    PASCAL_CONTEXT,
    _reported("Table 4", "DANet (Res50)", 50.1),
)

_COCO_R50 = _context(
    "danet-r50-cocostuff",
    "COCO-Stuff 10k, DANet Res50",
    Architecture(_MULTI_GRID_R50),
    COCO_STUFF,
    _reported("Table 5", "DANet (Res50)", 37.2, "test"),
)

_DEMO_BACKBONE = Backbone("resnet10_tiny")
_DRAWN = ("DANet", Architecture(_DEMO_BACKBONE)), ("fcn", "Dilated FCN", _only(_DEMO_BACKBONE))
_DEMO = demo(DEMO, *_DRAWN, 0.1)
_BEACONS = beacons("danet-beacons", *_DRAWN, 0.1)

_ALL: tuple[Recipe[Architecture], ...] = (
    *_DEMO,
    *_BEACONS,
    # Table 1
    _ablation("danet-r50-cityscapes-fcn", 70.03, _only(R50)),
    _ablation("danet-r50-cityscapes-pam", 75.74, _only(R50, position=True)),
    _ablation("danet-r50-cityscapes-cam", 74.28, _only(R50, channel=True)),
    _ablation("danet-r50-cityscapes-pam-cam", 76.34, _only(R50, position=True, channel=True)),
    _ablation("danet-r101-cityscapes-fcn", 72.54, _only(R101)),
    _ablation("danet-r101-cityscapes-pam", 77.03, _only(R101, position=True)),
    _ablation("danet-r101-cityscapes-cam", 76.55, _only(R101, channel=True)),
    _ablation("danet-r101-cityscapes-pam-cam", 77.57, DUAL, _reported("Table 2", "DANet-101", 77.57)),
    # Table 2
    replace(
        _FINAL,
        name="danet-r101-cityscapes-da",
        summary="Cityscapes, random scaling, no multi-grid",
        architecture=DUAL,
        reported=(_reported("Table 2", "DANet-101 DA", 78.83),),
    ),
    _FINAL,
    _FINAL_MS,
    # Table 3
    _FINAL_TEST,
    # Tables 4 and 5
    _context(
        "danet-r50-pascal-context-fcn",
        "PASCAL Context, Dilated FCN Res50",
        _only(R50),
        PASCAL_CONTEXT,
        _reported("Table 4", "Dilated FCN(Res50)", 44.3),
    ),
    _CONTEXT_R50,
    _context(
        "danet-r101-pascal-context",
        "PASCAL Context, DANet Res101",
        Architecture(R101_MULTI_GRID),
        PASCAL_CONTEXT,
        _reported("Table 4", "DANet (Res101)", 52.6),
    ),
    _context(
        "danet-r50-cocostuff-fcn",
        "COCO-Stuff 10k, Dilated FCN Res50",
        _only(R50),
        COCO_STUFF,
        _reported("Table 5", "Dilated FCN (Res50)", 31.9, "test"),
    ),
    _COCO_R50,
    _context(
        "danet-r101-cocostuff",
        "COCO-Stuff 10k, DANet Res101",
        Architecture(R101_MULTI_GRID),
        COCO_STUFF,
        _reported("Table 5", "DANet (Res101)", 39.7, "test"),
    ),
    # the authors' weights, by their code
    _released(_FINAL, 79.93, "single scale"),
    _released(_FINAL_MS, 81.49, "multi-scale"),
    # the public files of mmsegmentation
    _public("danet-r50-cityscapes-mmseg", "danet_r50-d8_512x1024_40k_cityscapes", 78.74, 40_000),
    _public("danet-r101-cityscapes-mmseg", "danet_r101-d8_512x1024_40k_cityscapes", 80.52, 40_000),
    _public("danet-r50-cityscapes-mmseg-769", "danet_r50-d8_769x769_40k_cityscapes", 78.88, 40_000, crop=769),
    _public("danet-r101-cityscapes-mmseg-769", "danet_r101-d8_769x769_40k_cityscapes", 79.88, 40_000, crop=769),
    _public("danet-r50-cityscapes-mmseg-80k", "danet_r50-d8_512x1024_80k_cityscapes", 79.34, 80_000),
    _public("danet-r101-cityscapes-mmseg-80k", "danet_r101-d8_512x1024_80k_cityscapes", 80.41, 80_000),
    _public("danet-r50-cityscapes-mmseg-769-80k", "danet_r50-d8_769x769_80k_cityscapes", 79.27, 80_000, crop=769),
    _public("danet-r101-cityscapes-mmseg-769-80k", "danet_r101-d8_769x769_80k_cityscapes", 80.47, 80_000, crop=769),
    _public("danet-r50-ade20k-mmseg", "danet_r50-d8_512x512_80k_ade20k", 41.66, 80_000),
    _public("danet-r101-ade20k-mmseg", "danet_r101-d8_512x512_80k_ade20k", 43.64, 80_000),
    _public("danet-r50-ade20k-mmseg-160k", "danet_r50-d8_512x512_160k_ade20k", 42.45, 160_000),
    _public("danet-r101-ade20k-mmseg-160k", "danet_r101-d8_512x512_160k_ade20k", 44.17, 160_000),
    _public("danet-r50-voc2012-mmseg", "danet_r50-d8_512x512_20k_voc12aug", 74.45, 20_000),
    _public("danet-r101-voc2012-mmseg", "danet_r101-d8_512x512_20k_voc12aug", 76.02, 20_000),
    _public("danet-r50-voc2012-mmseg-40k", "danet_r50-d8_512x512_40k_voc12aug", 76.37, 40_000),
    _public("danet-r101-voc2012-mmseg-40k", "danet_r101-d8_512x512_40k_voc12aug", 76.51, 40_000),
    # ours
    _TEXT,
    _option_py(_CONTEXT_R50),
    _option_py(_COCO_R50),
    _CAMVID_R18,
    _CAMVID_R18_FCN,
    _camvid("danet-r50-camvid", "DANet Res50", Architecture(Backbone("resnet50"))),
    small(_CAMVID_R18, 12),
    small(_CAMVID_R18_FCN, 12),
    *_TINY,
)

RECIPES: dict[str, Recipe[Architecture]] = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by name, in the order of the paper's tables."""

PAPER = Paper(
    name="DANet",
    network=DANet,
    loss=loss,
    attention=attention,
    recipes=RECIPES,
    ladders=(_DEMO, _BEACONS, _TINY),
    ablations=("Table 1", "configs/danet", "its README"),
    public=public.LAYOUTS,
    golden_merge="exp",
    speeds={"danet-r101-cityscapes": 51.7},  # commit 0983fcf, ci/bench/README.md
)
