"""The recipes of PDANet: one value for each row of Tables 1 and 2.

The paper's code is built on CSAILVision/semantic-segmentation-pytorch of early 2019. Where the text is silent, the
values are those of that code with the author's changes; the table "Where the paper is silent" in README.md says which,
and what of it is done otherwise here.
"""

from dataclasses import replace
from typing import Literal

from core.conditions import ADE20K, beacons, camvid, demo, small, tiny
from core.networks.backbones import Backbone
from core.networks.complexity import Convention
from core.paper import Paper
from core.recipe import Augmentation, Optimisation, Protocol, Recipe, Reported
from papers.pdanet import public
from papers.pdanet.attention import attention
from papers.pdanet.loss import loss
from papers.pdanet.model import Architecture, PDANet

DEMO = "pdanet-demo"

SHORT_SIDE = 450
SHORT_SIDES = tuple(side / SHORT_SIDE for side in (300, 375, 450, 525, 600))
"""Training images: one of five short sides, as factors of 450, the one of testing."""

MULTI_SIZE = tuple(side / SHORT_SIDE for side in (300, 400, 500, 600))
"""The sizes of the code's test at several sizes; its evaluation, and so every row of the paper, has 450 alone."""

STEPS = 100_000
"""20 epochs of 5,000 steps in the code; the text says nothing."""

LENGTH_NOT_SAID = (
    "The text does not say how long it trains: 100,000 steps are those of the author's code, which has twice the rate "
    "of the text and 8 images on each of four GPUs. No weights were published."
)

Head = Literal["pdanet", "psp", "danet", "fcn"]

TITLES: dict[Head, str] = {"fcn": "FCN", "psp": "PSP", "danet": "DANet", "pdanet": "PDANet(ours)"}


def _ade20k(head: Head, largest: int, accuracy: float, mean_iou: float) -> Recipe[Architecture]:
    """A row of Table 1 (imgMaxSize 1000) or Table 2 (600): two numbers, accuracy first."""
    table = {1000: "Table 1", 600: "Table 2"}[largest]
    title = TITLES[head].removesuffix("(ours)")
    return Recipe(
        name=f"pdanet-r18-ade20k-{largest}" + ("" if head == "pdanet" else f"-{head}"),
        summary=f"ADE20K, imgMaxSize {largest}, {title} dilated-Resnet18",
        architecture=Architecture(head=head, loss_size="features"),
        data=ADE20K,
        augmentation=Augmentation(
            crop=None, base=SHORT_SIDE, scale=SHORT_SIDES, listed=True, shared=True, limit=largest, multiple=8
        ),
        optimisation=Optimisation(0.01, batch=8, length=STEPS, unit="steps"),
        protocol=Protocol(base=SHORT_SIDE, edge="short", limit=largest, multiple=8),
        reported=(
            Reported("PDANet", table, TITLES[head], "val", mean_iou, caveat=LENGTH_NOT_SAID),
            Reported("PDANet", table, TITLES[head], "val", accuracy, "pixel accuracy", caveat=LENGTH_NOT_SAID),
        ),
        backbone_weights="csail",
    )


def _camvid(name: str, what: str, head: Head) -> Recipe[Architecture]:
    """Ours: the rate of ADE20K; the plain stem, which has public weights."""
    architecture, augmentation = Architecture(Backbone("resnet18"), head), Augmentation(crop=360, scale=(0.75, 2.0))
    return camvid(name, f"{what} Res18", architecture, _LARGE.optimisation, augmentation)


def _multi_size(recipe: Recipe[Architecture]) -> Recipe[Architecture]:
    """Ours: a row of the paper tested at the four sizes of the code's second test, on the same weights."""
    return replace(
        recipe,
        name=f"{recipe.name}-ms",
        summary=f"{recipe.summary}, tested at four sizes",
        protocol=replace(recipe.protocol, scales=MULTI_SIZE),
        reported=(),
        same_weights_as=recipe.name,
    )


_LARGE = _ade20k("pdanet", 1000, 78.44, 37.68)
_SMALLER = _ade20k("pdanet", 600, 77.86, 36.66)

_CAMVID = (
    _camvid("pdanet-r18-camvid", "PDANet", "pdanet"),
    _camvid("pdanet-r18-camvid-fcn", "FCN", "fcn"),
    _camvid("pdanet-r18-camvid-psp", "PSP", "psp"),
    _camvid("pdanet-r18-camvid-danet", "DANet", "danet"),
)


_TINY_BACKBONE = Backbone("resnet16_tiny")
_TINY = (
    tiny("pdanet-tiny-camvid", "PDANet Res16-tiny", Architecture(_TINY_BACKBONE, reduction=4), 0.15),
    tiny("pdanet-tiny-camvid-fcn", "FCN Res16-tiny", Architecture(_TINY_BACKBONE, "fcn"), 0.15),
)

_DEMO_BACKBONE = Backbone("resnet10_tiny")
_DRAWN = ("PDANet", Architecture(_DEMO_BACKBONE)), ("fcn", "FCN", Architecture(_DEMO_BACKBONE, "fcn"))
_DEMO = demo(DEMO, *_DRAWN, 0.1)
_BEACONS = beacons("pdanet-beacons", *_DRAWN, 0.1)

_ALL: tuple[Recipe[Architecture], ...] = (
    *_DEMO,
    *_BEACONS,
    # Table 1
    _ade20k("fcn", 1000, 75.61, 33.05),
    _ade20k("psp", 1000, 77.78, 36.28),
    _LARGE,
    # Table 2
    _ade20k("fcn", 600, 74.70, 31.41),
    _ade20k("psp", 600, 77.59, 35.75),
    _ade20k("danet", 600, 77.18, 34.70),
    _SMALLER,
    # ours
    _multi_size(_LARGE),
    _multi_size(_SMALLER),
    replace(
        _LARGE,
        name="pdanet-r18-ade20k-1000-text",
        summary=f"{_LARGE.summary}, as the text alone has it: Eq. (8), queries and keys of full width",
        architecture=replace(_LARGE.architecture, channel_attention="paper", reduction=1),
        reported=(),
    ),
    replace(
        _LARGE,
        name="pdanet-r18-ade20k-1000-deep-supervision",
        summary=f"{_LARGE.summary}, a second classifier on C3",
        architecture=replace(_LARGE.architecture, deep_supervision=True),
        reported=(),
    ),
    *_CAMVID,
    *(small(recipe, 6) for recipe in _CAMVID),
    *_TINY,
)

RECIPES: dict[str, Recipe[Architecture]] = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by name, in the order of the paper's tables."""

PAPER = Paper(
    name="PDANet",
    network=PDANet,
    loss=loss,
    attention=attention,
    recipes=RECIPES,
    ladders=(_DEMO, _BEACONS, _TINY),
    convention=Convention("products", (600, 600)),
    public=public.LAYOUTS,
)
