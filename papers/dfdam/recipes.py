"""The recipes of DF-DAM: one value for each row that Tables 1-7 report for the paper's own networks and baselines.

No code of the authors is public. Where the text is silent, the values are those of TorchSeg, whose recipes for BiSeNet
(Cityscapes) and DFN (VOC) share what the text does say; the table "Where the paper is silent" in README.md says which
is which.
"""

from dataclasses import replace

from core.conditions import CITYSCAPES, VOC, beacons, camvid, demo, small, tiny
from core.networks.backbones import Backbone
from core.networks.complexity import Convention
from core.paper import Paper
from core.recipe import Augmentation, Optimisation, Protocol, Recipe, Reported
from papers.dfdam.attention import attention
from papers.dfdam.complexity import SIZE, columns
from papers.dfdam.loss import loss
from papers.dfdam.model import DFDAM, Architecture

DEMO = "dfdam-demo"

VOC_AUGMENTED = replace(VOC, train="trainaug")
"""Training on the 10,582 images of VOC and the Semantic Boundaries Dataset together."""

SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

WHOLE = Protocol()
SEVEN_SCALES = Protocol(scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0))
SEVEN_SCALES_FLIP = replace(SEVEN_SCALES, flip=True)


def _on(name: str) -> Architecture:
    """Both modules, at the ordinary strides."""
    return Architecture(Backbone(name, output_stride=32))


def _sum(architecture: Architecture) -> Architecture:
    """The baseline "Sum": additions in the place of both modules."""
    return replace(architecture, dual_attention_fusion="none", position_attention=False)


def _dafm(architecture: Architecture) -> Architecture:
    """The Dual Attention Fusion Module alone."""
    return replace(architecture, position_attention=False)


LENGTH_NOT_SAID = (
    "The text does not say how long it trains: 160,000 steps on Cityscapes and 120 epochs on VOC are TorchSeg's for "
    "networks like it, 30 epochs on trainval are ours. No code or weights were published."
)


def _reported(table: str, row: str, value: float, split: str = "val", per_class: tuple[float, ...] = ()) -> Reported:
    return Reported("DF-DAM", table, row, split, value, per_class=per_class, caveat=LENGTH_NOT_SAID)


R18, R50, R101 = _on("resnet18"), _on("resnet50"), _on("resnet101")

_VOC_R101 = Recipe(
    name="dfdam-r101-voc2012",
    summary="PASCAL VOC 2012, Res101, DAFM + 2DPAM",
    architecture=R101,
    data=VOC_AUGMENTED,
    augmentation=Augmentation(crop=512, scale=SCALES, listed=True),
    optimisation=Optimisation(0.001, batch=16, length=120, head_multiplier=10.0, weight_decay=1e-5),
    protocol=WHOLE,
    reported=(_reported("Table 1", "Res101 DAFM + 2DPAM", 77.9), _reported("Table 5", "Ours (Res101)", 77.90)),
)

_CITYSCAPES_R18 = Recipe(
    name="dfdam-r18-cityscapes",
    summary="Cityscapes, Res18, DAFM + 2DPAM",
    architecture=R18,
    data=CITYSCAPES,
    augmentation=Augmentation(crop=1024, scale=SCALES, listed=True),
    optimisation=Optimisation(0.01, batch=8, length=160_000, unit="steps", head_multiplier=10.0, weight_decay=5e-4),
    protocol=WHOLE,
    reported=(_reported("Table 2", "Res18 DAFM + 2DPAM", 73.1), _reported("Table 3", "Ours (Res18)", 73.1)),
)

FINE_TUNING = 30
"""Epochs on VOC's own 2,913 images of trainval: as many images as 8 epochs of the first stage. Not in the text."""

TEST_PER_CLASS = (
    *(95.6, 70.7, 91.1, 73.0, 76.1, 94.1, 91.3, 93.7, 37.8, 90.2),  # aero to cow
    *(72.1, 91.0, 93.0, 90.6, 88.7, 72.3, 92.6, 59.7, 86.6, 72.5),  # table to tv
)
"""The 20 objects of VOC, as printed. The background is not; a mean of 82.3 needs about 95.6 for it."""


_VOC_R101_TRAINVAL = replace(
    _VOC_R101,
    name="dfdam-r101-voc2012-trainval",
    summary=f"{_VOC_R101.summary}, fine-tuned on trainval",
    data=replace(VOC, train="trainval"),
    optimisation=replace(_VOC_R101.optimisation, length=FINE_TUNING),
    reported=(),
    starts_from=_VOC_R101.name,
)
"""The second stage for the test server. Its own score is on images that it was trained on, and tells nothing."""


def _ablation(
    base: Recipe[Architecture], name: str, method: str, architecture: Architecture, table: str, value: float
) -> Recipe[Architecture]:
    """A row of Table 1 or 2: another network, everything else as in the full one."""
    network = architecture.backbone.name.replace("resnet", "Res")
    return replace(
        base,
        name=name,
        summary=f"{base.summary.split(',')[0]}, {network}, {method}",
        architecture=architecture,
        reported=(_reported(table, f"{network} {method}", value),),
    )


def _harder(
    base: Recipe[Architecture], suffix: str, what: str, protocol: Protocol, *reported: Reported
) -> Recipe[Architecture]:
    """A row that tests the weights of another at several scales."""
    return replace(
        base,
        name=f"{base.name}-{suffix}",
        summary=f"{base.summary}, {what}",
        protocol=protocol,
        same_weights_as=base.name,
        reported=reported,
    )


def _on_test_server(recipe: Recipe[Architecture]) -> Recipe[Architecture]:
    return replace(recipe, data=replace(recipe.data, test="test"))


def _squeezed(base: Recipe[Architecture]) -> Recipe[Architecture]:
    """Ours: the form of the channel weights that meets Tables 4 and 6 to the printed digit."""
    return replace(
        base,
        name=f"{base.name}-squeezed",
        summary=f"{base.summary}, channel weights of the stage itself, squeezed",
        architecture=replace(base.architecture, dual_attention_fusion="squeezed"),
        reported=(),
    )


def _camvid(name: str, what: str, architecture: Architecture) -> Recipe[Architecture]:
    """Ours: the rates of Cityscapes."""
    optimisation, augmentation = _CITYSCAPES_R18.optimisation, _CITYSCAPES_R18.augmentation
    return camvid(name, f"Res18, {what}", architecture, optimisation, augmentation)


_CAMVID_R18 = _camvid("dfdam-r18-camvid", "DAFM + 2DPAM", R18)
_CAMVID_R18_SUM = _camvid("dfdam-r18-camvid-sum", "Sum (baseline)", _sum(R18))
_CAMVID_R18_DAFM = _camvid("dfdam-r18-camvid-dafm", "DAFM", _dafm(R18))


_TINY_NETWORK = Architecture(Backbone("resnet16_tiny", output_stride=32), channels=64)
_TINY = (
    tiny("dfdam-tiny-camvid", "DAFM + 2DPAM Res16-tiny", _TINY_NETWORK, 0.05),
    tiny("dfdam-tiny-camvid-sum", "Sum (baseline) Res16-tiny", _sum(_TINY_NETWORK), 0.05),
)

_DEMO_NETWORK = Architecture(Backbone("resnet10_tiny", output_stride=32), channels=64)
_DRAWN = ("DF-DAM", _DEMO_NETWORK), ("sum", "Sum (baseline)", _sum(_DEMO_NETWORK))
_DEMO = demo(DEMO, *_DRAWN, 0.05, base=None)
_BEACONS = beacons("dfdam-beacons", *_DRAWN, 0.05)

_ALL: tuple[Recipe[Architecture], ...] = (
    *_DEMO,
    *_BEACONS,
    # Table 1
    _ablation(_VOC_R101, "dfdam-r50-voc2012-sum", "Sum (baseline)", _sum(R50), "Table 1", 68.2),
    _ablation(_VOC_R101, "dfdam-r50-voc2012-dafm", "DAFM", _dafm(R50), "Table 1", 73.7),
    _ablation(_VOC_R101, "dfdam-r50-voc2012", "DAFM + 2DPAM", R50, "Table 1", 74.6),
    _ablation(_VOC_R101, "dfdam-r101-voc2012-sum", "Sum (baseline)", _sum(R101), "Table 1", 72.9),
    _ablation(_VOC_R101, "dfdam-r101-voc2012-dafm", "DAFM", _dafm(R101), "Table 1", 76.8),
    _VOC_R101,
    # Table 2
    _ablation(_CITYSCAPES_R18, "dfdam-r18-cityscapes-sum", "Sum (baseline)", _sum(R18), "Table 2", 70.3),
    _ablation(_CITYSCAPES_R18, "dfdam-r18-cityscapes-dafm", "DAFM", _dafm(R18), "Table 2", 72.8),
    _CITYSCAPES_R18,
    # Table 3
    _harder(_CITYSCAPES_R18, "ms", "seven scales", SEVEN_SCALES, _reported("Table 3", "Ours (Res18) MS", 74.6)),
    _harder(
        _CITYSCAPES_R18,
        "ms-flip",
        "seven scales, mirrored",
        SEVEN_SCALES_FLIP,
        _reported("Table 3", "Ours (Res18) MS Flip", 74.9),
    ),
    # Table 4
    _on_test_server(
        _harder(
            _CITYSCAPES_R18,
            "test",
            "test server, seven scales, mirrored",
            SEVEN_SCALES_FLIP,
            _reported("Table 4", "Ours(ResNet18)", 73.6, "test"),
        )
    ),
    # Table 5
    _harder(_VOC_R101, "ms", "seven scales", SEVEN_SCALES, _reported("Table 5", "Ours (Res101) MS", 79.55)),
    _harder(
        _VOC_R101,
        "ms-flip",
        "seven scales, mirrored",
        SEVEN_SCALES_FLIP,
        _reported("Table 5", "Ours (Res101) MS Flip", 79.83),
    ),
    # Tables 6 and 7
    _VOC_R101_TRAINVAL,
    _on_test_server(
        replace(
            _VOC_R101_TRAINVAL,
            name="dfdam-r101-voc2012-trainval-test",
            summary=f"{_VOC_R101_TRAINVAL.summary}, test server, seven scales, mirrored",
            protocol=SEVEN_SCALES_FLIP,
            reported=(
                _reported("Table 6", "Ours(ResNet101)", 82.3, "test"),
                _reported("Table 7", "Ours", 82.3, "test", TEST_PER_CLASS),
            ),
            starts_from=None,
            same_weights_as=_VOC_R101_TRAINVAL.name,
        )
    ),
    # ours
    _squeezed(_VOC_R101),
    _squeezed(_CITYSCAPES_R18),
    _CAMVID_R18_SUM,
    _CAMVID_R18_DAFM,
    _CAMVID_R18,
    small(_CAMVID_R18_SUM, 10),
    small(_CAMVID_R18_DAFM, 10),
    small(_CAMVID_R18, 10),
    *_TINY,
)

RECIPES: dict[str, Recipe[Architecture]] = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by name, in the order of the paper's tables."""

PAPER = Paper(
    name="DF-DAM",
    network=DFDAM,
    loss=loss,
    attention=attention,
    recipes=RECIPES,
    ladders=(_DEMO, _BEACONS, _TINY),
    ablations=("Table 1", "Table 2"),
    convention=Convention("thop", SIZE),
    columns=columns,
    speeds={"dfdam-r101-voc2012": 156.0},  # commit f974dca
)
