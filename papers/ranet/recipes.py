"""The recipes of RANet: one value for each own row of Tables 1, 2, 4, 5 and 6, and for the numbers of Section 5.1.

Rate, its decay, batch, crop and length are the text's; what it leaves open is as in the authors' code, of which only
ResNet-101 on Cityscapes exists. The table "Where the paper is silent" in README.md says which is which. All reported
rows are tested at six scales: the text names no other test, and Table 3 sets 81.9 beside the 81.5 that DANet reports at
several scales.
"""

from dataclasses import replace

from core.conditions import CITYSCAPES, COCO_STUFF, PASCAL_CONTEXT, beacons, camvid, demo, small, tiny
from core.networks.backbones import Backbone
from core.paper import Paper
from core.recipe import Augmentation, Data, Optimisation, Protocol, Recipe, Reported
from papers.ranet.attention import attention
from papers.ranet.complexity import columns, without_regions
from papers.ranet.loss import loss
from papers.ranet.model import Architecture, CoarseSegmentation, RANet

DEMO = "ranet-demo"

FINE_AND_COARSE = replace(CITYSCAPES, train="train+coarse")
"""2,975 images with fine labels and 19,998 with coarse ones, as one training set."""

R101 = Backbone("resnet101", stem="deep64")
HRNET = Backbone("hrnet_w48", output_stride=32)
R18 = Backbone("resnet18")

SCALES = tuple(tenths / 10 for tenths in range(7, 22))
"""0.7, 0.8, ..., 2.1."""
BRIGHTNESS = 0.2

LINEAR = Optimisation(
    0.001, batch=8, length=40_000, unit="steps", schedule="linear", weight_decay=5e-4
)  # momentum and weight decay are the code's
POLY = replace(LINEAR, learning_rate=0.01, schedule="poly")
"""The released code's: another rate and another decay than the text's."""

SIX_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def windows(crop: int, scales: tuple[float, ...] = SIX_SCALES) -> Protocol:
    """Windows of a crop, of which neighbours share a third, as in the authors' code."""
    return Protocol(crop=crop, stride=-(-crop * 2 // 3), scales=scales)


NOT_RELEASED = (
    "No weights were published, and the released code is not what the text says: it computes other equations, at "
    "another rate that falls otherwise, for ResNet-101 on Cityscapes alone."
)


def _reported(table: str, row: str, value: float, split: str = "val", caveat: str = NOT_RELEASED) -> Reported:
    return Reported("RANet", table, row, split, value, caveat=caveat)


NOT_COUNTED = (
    "Table 3 also prints 212 G, 21 M and 1893 MB for what the network adds. No convention of counting that was tried "
    "fits two of that table's five rows, its input of 512 channels cannot be the one of its DANet row, and the number "
    "of representatives is not printed; memory depends on the allocator of its day and was not reproduced for any of "
    "the five rows (`python -m ci.complexity`)."
)


def _fine(value: float, *also: Reported) -> tuple[Reported, ...]:
    """The number of a whole network stands in Table 4, beside that of its coarse segmentation, and elsewhere."""
    return (*also, _reported("Table 4", "fine segmentation", value))


_CITYSCAPES = Recipe(
    name="ranet-r101-cityscapes",
    summary="Cityscapes, RANet Res101",
    architecture=Architecture(R101),
    data=CITYSCAPES,
    augmentation=Augmentation(crop=769, scale=SCALES, listed=True, brightness=BRIGHTNESS),
    optimisation=LINEAR,
    protocol=windows(769),
    reported=_fine(
        81.9,
        _reported("Table 1", "w/ both", 81.9),
        _reported("Table 2", "K = 8", 81.9),
    ),
    also_weights=("csail",),  # what the authors' code loads; those of the Hub, of the same stem, need no file
)

_HRNET = replace(
    _CITYSCAPES,
    name="ranet-hrnet-w48-cityscapes",
    summary="Cityscapes, RANet HRNetV2-W48 + ASPP",
    architecture=Architecture(HRNET),
    reported=(),
    also_weights=(),
)


def _ablation(suffix: str, what: str, value: float, table: str = "Table 1", **changed: object) -> Recipe[Architecture]:
    """A row of Table 1 or Section 5.1: another architecture, everything else alike."""
    return replace(
        _CITYSCAPES,
        name=f"{_CITYSCAPES.name}-{suffix}",
        summary=f"Cityscapes ablation, {what} Res101",
        architecture=replace(_CITYSCAPES.architecture, **changed),  # type: ignore[arg-type]
        reported=(_reported(table, what, value),),
    )


def _representatives(number: int, value: float) -> Recipe[Architecture]:
    """A row of Table 2."""
    return replace(
        _CITYSCAPES,
        name=f"{_CITYSCAPES.name}-k{number}",
        summary=f"Cityscapes, RANet Res101, {number} representatives of each region",
        architecture=replace(_CITYSCAPES.architecture, representatives=number),
        reported=(_reported("Table 2", f"K = {number}", value),),
    )


def _coarse_segmentation(recipe: Recipe[Architecture], value: float) -> Recipe[Architecture]:
    """A row "coarse segmentation" of Table 4: the weights of a network, the scores of its RCB."""
    return replace(
        recipe,
        name=f"{recipe.name}-coarse-segmentation",
        summary=f"{recipe.summary}, coarse segmentation",
        same_weights_as=recipe.name,
        reported=(_reported("Table 4", "coarse segmentation", value),),
    )


def _on_test_server(recipe: Recipe[Architecture], row: str, value: float) -> Recipe[Architecture]:
    """A row of Table 5: the weights of a network, on the test server."""
    return replace(
        recipe,
        name=f"{recipe.name}-test",
        summary=f"{recipe.summary}, test server",
        data=replace(recipe.data, test="test"),
        same_weights_as=recipe.name,
        reported=(_reported("Table 5", row, value, "test"),),
    )


def _with_coarse(recipe: Recipe[Architecture]) -> Recipe[Architecture]:
    """The network that a row "w/ coarse" of Table 5 tests: trained on fine and coarse annotations together."""
    return replace(
        recipe,
        name=f"{recipe.name}-with-coarse",
        summary=f"{recipe.summary}, fine and coarse annotations",
        data=FINE_AND_COARSE,
        reported=(),
    )


def _context(name: str, what: str, data: Data, value: float) -> Recipe[Architecture]:
    """A data set of Table 6."""
    return replace(
        _CITYSCAPES,
        name=name,
        summary=f"{what}, RANet Res101",
        data=data,
        augmentation=replace(_CITYSCAPES.augmentation, crop=520),
        optimisation=replace(LINEAR, length=60_000),
        protocol=windows(520),
        reported=_fine(value, _reported("Table 6", "RANet", value)),
    )


def _released(name: str, what: str, architecture: Architecture) -> Recipe[Architecture]:
    """Ours: Cityscapes as the released code has it, with its rate, its decay and its test at one scale."""
    return replace(
        _CITYSCAPES,
        name=name,
        summary=f"Cityscapes, RANet Res101, {what}",
        architecture=architecture,
        augmentation=replace(_CITYSCAPES.augmentation, brightness=0.0),
        optimisation=POLY,
        protocol=replace(windows(769, scales=(1.0,)), merge="scores"),
        reported=(),
    )


RELEASED = Architecture(replace(R101, multi_grid=(4, 8, 16)), reading="released")

_TABLE_3 = replace(
    _CITYSCAPES,
    name="ranet-r101-cityscapes-21m",
    summary="Cityscapes, RANet Res101, the released layers, which add Table 3's 21 M",
    architecture=Architecture(R101, reading="released"),
    reported=(_reported("Table 3", "RANet", 81.9, caveat=NOT_COUNTED),),
)
"""The row of Table 3 by the network that has its parameters, trained and tested as the text says."""


def _camvid(suffix: str, what: str, architecture: Architecture) -> Recipe[Architecture]:
    """Ours: the scales and the decay of Cityscapes, at the rate of the code."""
    optimisation = replace(LINEAR, learning_rate=POLY.learning_rate)
    return camvid(f"ranet-r18-camvid{suffix}", f"Res18, {what}", architecture, optimisation, _CITYSCAPES.augmentation)


_CAMVID = (
    _camvid("", "RANet", Architecture(R18)),
    _camvid("-backbone", "backbone", Architecture(R18, context="none")),
    _camvid("-nonlocal", "non-local attention", Architecture(R18, context="non-local")),
    _camvid("-boundary", "boundary map alone", Architecture(R18, semantic_map=False)),
    _camvid("-semantic", "semantic map alone", Architecture(R18, boundary_map=False)),
)

RES4_JOINT = Architecture(R18, score_maps="res4", other_regions="joint")
"""Two choices of the authors' code with the text's equations: score maps of res4, and one softmax in Eq. (7)."""

_LIKE_FOR_LIKE = (
    # what Table 1 compares, with the losses of RANet in every network, and RANet's layers with O = A
    _camvid("-backbone-supervised", "backbone, RANet's losses", Architecture(R18, context="none", supervised="all")),
    _camvid(
        "-nonlocal-supervised",
        "non-local attention, RANet's losses",
        Architecture(R18, context="non-local", supervised="all"),
    ),
    _camvid("-identity", "O = A", Architecture(R18, context="identity")),
    _camvid("-identity-supervised", "O = A, RANet's losses", Architecture(R18, context="identity", supervised="all")),
    _camvid(
        "-identity-supervised-res4",
        "O = A, RANet's losses at res4",
        Architecture(R18, context="identity", supervised="all", score_maps="res4"),
    ),
    _camvid("-unsupervised", "RANet, score maps trained through J alone", Architecture(R18, supervised="none")),
    # other readings of Eq. (7) and of "two separate convolutional layers"
    _camvid("-joint", "RANet, one softmax over all other regions", Architecture(R18, other_regions="joint")),
    _camvid("-mean", "RANet, the mean over the other regions", Architecture(R18, other_regions="mean")),
    _camvid("-res4", "RANet, score maps from res4", Architecture(R18, score_maps="res4")),
    _camvid("-res4-joint", "RANet, score maps from res4, one softmax", RES4_JOINT),
    _camvid(
        "-res4-joint-unsupervised",
        "RANet, score maps from res4 trained through J alone, one softmax",
        replace(RES4_JOINT, supervised="none"),
    ),
    _camvid("-kernel3", "RANet, W^g of 3x3", Architecture(R18, region_kernel=3)),
    _camvid("-released", "RANet as the released code computes it", Architecture(R18, reading="released")),
)
"""Ours: what RANet's regions are worth on CamVid, and by which reading; README.md has the numbers."""

_PASCAL_CONTEXT = _context("ranet-r101-pascal-context", "PASCAL Context", PASCAL_CONTEXT, 54.9)
_COCO_STUFF = _context("ranet-r101-cocostuff", "COCO-Stuff 10k", COCO_STUFF, 40.7)
_CITYSCAPES_WITH_COARSE = _with_coarse(_CITYSCAPES)
_HRNET_WITH_COARSE = _with_coarse(_HRNET)

_COARSE = (
    _coarse_segmentation(_CITYSCAPES, 77.3),
    _coarse_segmentation(_PASCAL_CONTEXT, 51.2),
    _coarse_segmentation(_COCO_STUFF, 37.9),
)


_TINY_BACKBONE = Backbone("resnet16_tiny")
_TINY = (
    tiny("ranet-tiny-camvid", "RANet Res16-tiny", Architecture(_TINY_BACKBONE), 0.05),
    tiny("ranet-tiny-camvid-backbone", "backbone Res16-tiny", Architecture(_TINY_BACKBONE, context="none"), 0.15),
)

_DEMO_BACKBONE = Backbone("resnet10_tiny")
_DRAWN = (
    ("RANet", Architecture(_DEMO_BACKBONE)),
    ("backbone", "backbone", Architecture(_DEMO_BACKBONE, context="none")),
)
_DEMO = demo(DEMO, *_DRAWN, 0.05, crop=96, epochs=30)
_BEACONS = beacons("ranet-beacons", *_DRAWN, 0.05, epochs=30)

_ALL: tuple[Recipe[Architecture], ...] = (
    *_DEMO,
    *_BEACONS,
    # Table 1 and Section 5.1
    _ablation("backbone", "backbone", 77.5, "Section 5.1", context="none"),
    _ablation("spp", "SPP", 79.6, context="spp"),
    _ablation("nonlocal", "non-local attention", 80.5, context="non-local"),
    _ablation("boundary", "boundary map", 80.8, semantic_map=False),
    _ablation("semantic", "semantic map", 81.3, boundary_map=False),
    _CITYSCAPES,
    _ablation("no-intra", "without intra-region communication", 79.2, "Section 5.1", intra=False),
    _ablation("no-inter", "without inter-region interaction", 81.1, "Section 5.1", inter=False),
    # Table 2
    _representatives(2, 81.2),
    _representatives(4, 81.6),
    _representatives(6, 81.7),
    _representatives(10, 81.8),
    _representatives(12, 81.6),
    # Table 3
    _TABLE_3,
    # Table 4
    *_COARSE,
    # Table 5
    _on_test_server(_CITYSCAPES, "RANet ResNet-101 w/o coarse", 82.4),
    _CITYSCAPES_WITH_COARSE,
    _on_test_server(_CITYSCAPES_WITH_COARSE, "RANet ResNet-101 w/ coarse", 83.0),
    _HRNET,
    _on_test_server(_HRNET, "RANet HRNetV2-W48+ASPP w/o coarse", 83.4),
    _HRNET_WITH_COARSE,
    _on_test_server(_HRNET_WITH_COARSE, "RANet HRNetV2-W48+ASPP w/ coarse", 84.0),
    # Table 6
    _PASCAL_CONTEXT,
    _COCO_STUFF,
    # ours
    _released("ranet-r101-cityscapes-released", "as the released code computes it", RELEASED),
    _released(
        "ranet-r101-cityscapes-released-1x1",
        "as the released code, 1x1 convolutions over representatives",
        replace(RELEASED, kernel=1),
    ),
    *_CAMVID,
    *_LIKE_FOR_LIKE,
    *(small(recipe, 6, crop=192) for recipe in _CAMVID),  # its 24 x 24 positions take less time than the backbone
    *_TINY,
)

RECIPES: dict[str, Recipe[Architecture]] = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by name, in the order of the paper's tables."""

PAPER = Paper(
    name="RANet",
    network=RANet,
    loss=loss,
    attention=attention,
    recipes=RECIPES,
    ladders=(_DEMO, _BEACONS, _TINY),
    ablations=("Section 5.1", "Table 1", "Table 2"),
    columns=columns,
    speeds={"ranet-r101-cityscapes": 21.34, "ranet-hrnet-w48-cityscapes": 12.5},  # commits fd626ed9, f974dca
    uncounted=without_regions,
    tested_by={recipe.name: CoarseSegmentation for recipe in _COARSE},
)
