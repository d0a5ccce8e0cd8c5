"""The recipes of SANet: one value for each row that Tables 1-6 and Figure 4 report for the paper's own networks.

No code of the authors is public. Where the text is silent, the values are those of PyTorch-Encoding, in which the
networks were apparently trained; the table "Where the paper is silent" in README.md says which is which.

The paper trains on VOC in stages, each a recipe that starts from the one before: COCO reduced to the classes of VOC,
the augmented training images, and both halves of VOC itself.
"""

from dataclasses import replace

from core.conditions import PASCAL_CONTEXT, PASCAL_CONTEXT_59, VOC, beacons, camvid, demo, small, tiny
from core.networks.backbones import Backbone
from core.networks.complexity import Convention
from core.paper import Paper
from core.recipe import Augmentation, Data, Optimisation, Protocol, Recipe, Reported
from papers.sanet.attention import attention
from papers.sanet.complexity import SIZE, columns
from papers.sanet.loss import loss
from papers.sanet.model import Architecture, SANet

DEMO = "sanet-demo"

VOC_AUGMENTED = replace(VOC, train="trainaug")
VOC_BOTH = replace(VOC, train="trainval")
COCO = Data("coco_voc", num_classes=21)

R50 = Architecture(Backbone("resnet50", stem="deep64"))
R101 = Architecture(Backbone("resnet101", stem="deep64"))
B7 = Architecture(Backbone("tf_efficientnet_b7"))

EPOCHS = 80
SHORT_EPOCHS = 20
"""Of Table 3 and Figure 4."""

AUGMENTATION = Augmentation(crop=480, base=520, edge="long", scale=(0.5, 2.0))

SIX_SCALES = Protocol(crop=480, stride=320, base=520, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True, merge="exp")

TEST_PER_CLASS = (95.1, 65.9, 95.4, 72.0, 80.5, 93.5, 86.8, 94.5, 40.5, 93.3, 74.6, 94.1)
"""Table 4 prints the first 12 objects of VOC, aeroplane to dog; neither the other 8 nor the background."""

WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Those of Figure 4: "from 0 to 1.0"; the step is ours."""


def _optimisation(rate: float, length: int) -> Optimisation:
    return Optimisation(rate, batch=16, length=length, head_multiplier=10.0)


NO_CODE = (
    "No code or weights were published. What the text leaves open is PyTorch-Encoding's, with which the networks were "
    "apparently trained."
)
BETTER_SOONER = (
    "The paper prints 43.2 for this FCN after 80 epochs (Table 1) and 44.9 after 20 (Table 3), and does not say why."
)


def _reported(table: str, row: str, value: float, accuracy: float, caveat: str = NO_CODE) -> tuple[Reported, ...]:
    """A row on PASCAL Context: mean IoU and pixel accuracy."""
    return (
        Reported("SANet", table, row, "val", value, caveat=caveat),
        Reported("SANet", table, row, "val", accuracy, "pixel accuracy", caveat=caveat),
    )


MISSED_BACKGROUND = (
    "The paper apparently multiplies its number for 59 classes by 59/60, as if the background had been missed "
    "everywhere: 53.0 becomes 52.1, and 55.3 becomes 54.4. This recipe trains on 60 classes and does not."
)
NOT_COUNTED = (
    "Table 6 also prints 204.7 G multiply-adds, which the text cannot reach: with its downsampling of 8 at all four "
    "stages they are 8.4 % fewer; 8, 4, 2 and 1 reaches them within 0.5 % (`python -m ci.complexity`)."
)


def _tested(table: str, row: str, value: float, per_class: tuple[float, ...] = (), caveat: str = NO_CODE) -> Reported:
    """A row of the test server of VOC."""
    return Reported("SANet", table, row, "test", value, per_class=per_class, caveat=caveat)


def _fcn(architecture: Architecture) -> Architecture:
    return replace(architecture, head="fcn")


def _fcn_se(architecture: Architecture) -> Architecture:
    return replace(architecture, head="fcn-se")


def _deeplab(architecture: Architecture) -> Architecture:
    return replace(architecture, head="deeplab-v3+")


def _sa(architecture: Architecture) -> Architecture:
    """The four heads and the loss of their masks alone."""
    return replace(architecture, alpha=0.0, beta=0.0)


def _sa_categorical(architecture: Architecture) -> Architecture:
    return replace(architecture, beta=0.0)


def _context(
    name: str, what: str, architecture: Architecture, *reported: Reported, length: int = EPOCHS
) -> Recipe[Architecture]:
    """A row on PASCAL Context with 59 classes, the background ignored."""
    return Recipe(
        name=name,
        summary=f"PASCAL Context, 59 classes, {what}" + (f", {length} epochs" if length != EPOCHS else ""),
        architecture=architecture,
        data=PASCAL_CONTEXT_59,
        augmentation=AUGMENTATION,
        optimisation=_optimisation(0.001, length),
        protocol=SIX_SCALES,
        reported=reported,
    )


def _context_60(recipe: Recipe[Architecture], row: str, value: float) -> Recipe[Architecture]:
    """A row of Table 2: the background is a class as any other. The paper apparently multiplies by 59/60."""
    return replace(
        recipe,
        name=f"{recipe.name}-60",
        summary=recipe.summary.replace("59 classes", "60 classes with background"),
        data=PASCAL_CONTEXT,
        reported=(Reported("SANet", "Table 2", row, "val", value, caveat=MISSED_BACKGROUND),),
    )


def _short(name: str, what: str, architecture: Architecture, *reported: Reported) -> Recipe[Architecture]:
    """A row of Table 3 or a point of Figure 4."""
    return _context(name, what, architecture, *reported, length=SHORT_EPOCHS)


_R50 = _context("sanet-r50-pascal-context", "SANet Res50", R50, *_reported("Table 1", "SANet Res50", 51.9, 79.3))
_R101 = _context("sanet-r101-pascal-context", "SANet Res101", R101, *_reported("Table 1", "SANet Res101", 53.0, 80.6))
_B7 = _context("sanet-b7-pascal-context", "SANet EffNet-b7", B7, *_reported("Table 1", "SANet EffNet-b7", 55.3, 81.6))

_SHORT_R50 = _short(
    "sanet-r50-pascal-context-short", "SANet Res50", R50, *_reported("Table 3", "SANet50 (ours)", 49.0, 78.9)
)


def _swept(weight: str, value: float, architecture: Architecture) -> Recipe[Architecture]:
    """A point of Figure 4: one weight varies, the other is the best one; the best point of both is in Table 3."""
    return _short(
        f"{_SHORT_R50.name}-{weight}-{value:g}", f"SANet Res50, {weight} = {value:g} (Figure 4)", architecture
    )


def _reading(suffix: str, what: str, architecture: Architecture) -> Recipe[Architecture]:
    """Ours: the network of Table 1 in another reading of the text."""
    return replace(
        _R101,
        name=f"{_R101.name}-{suffix}",
        summary=f"{_R101.summary}, {what}",
        architecture=architecture,
        reported=(),
    )


def _augmented(name: str, what: str, architecture: Architecture) -> Recipe[Architecture]:
    """The stage before the last of a row on VOC."""
    return Recipe(
        name=name,
        summary=f"PASCAL VOC 2012, {what}, first on the augmented images",
        architecture=architecture,
        data=VOC_AUGMENTED,
        augmentation=AUGMENTATION,
        optimisation=_optimisation(0.001, EPOCHS),
        protocol=SIX_SCALES,
    )


def _fine_tuned(start: Recipe[Architecture], name: str, what: str) -> Recipe[Architecture]:
    """The last stage of a row on VOC. Its own score is no result: the images of val are trained on."""
    return replace(
        start,
        name=name,
        summary=f"PASCAL VOC 2012, {what}, then on train and val, which it can't be tested on",
        data=VOC_BOTH,
        optimisation=_optimisation(0.0001, 50),
        starts_from=start.name,
    )


def _test_server(recipe: Recipe[Architecture], what: str, *reported: Reported) -> Recipe[Architecture]:
    return replace(
        recipe,
        name=f"{recipe.name}-test",
        summary=f"PASCAL VOC 2012, {what}, test server",
        data=replace(VOC_BOTH, test="test"),
        same_weights_as=recipe.name,
        starts_from=None,
        reported=reported,
    )


_VOC_FCN_AUGMENTED = _augmented("sanet-r101-voc2012-aug-fcn", "Dilated FCN Res101", _fcn(R101))
_VOC_FCN = _fine_tuned(_VOC_FCN_AUGMENTED, "sanet-r101-voc2012-fcn", "Dilated FCN Res101")
_VOC_DEEPLAB_AUGMENTED = _augmented("sanet-r101-voc2012-aug-deeplab", "DeepLab V3+ Res101", _deeplab(R101))
_VOC_DEEPLAB = _fine_tuned(_VOC_DEEPLAB_AUGMENTED, "sanet-r101-voc2012-deeplab", "DeepLab V3+ Res101")
_VOC_AUGMENTED = _augmented("sanet-r101-voc2012-aug", "SANet Res101", R101)
_VOC = _fine_tuned(_VOC_AUGMENTED, "sanet-r101-voc2012", "SANet Res101")

_COCO = Recipe(
    name="sanet-r101-coco",
    summary="COCO with the classes of VOC, SANet Res101, the first stage of Table 5",
    architecture=R101,
    data=COCO,
    augmentation=AUGMENTATION,
    optimisation=_optimisation(0.004, 30),
    protocol=SIX_SCALES,
)
_COCO_AUGMENTED = replace(
    _augmented("sanet-r101-voc2012-aug-coco", "SANet Res101 from COCO", R101), starts_from=_COCO.name
)
_COCO_VOC = _fine_tuned(_COCO_AUGMENTED, "sanet-r101-voc2012-coco", "SANet Res101 from COCO")


def _camvid(name: str, what: str, architecture: Architecture) -> Recipe[Architecture]:
    """Ours: the plain stem, which has public weights for a ResNet-18 too.

    The rate is that of Tables 1 to 3. At three times it the whole network diverged within 40 steps of 8.
    """
    return camvid(name, what, architecture, _optimisation(0.001, EPOCHS), Augmentation(crop=360, scale=(0.75, 2.0)))


_PLAIN_R18 = Architecture(Backbone("resnet18"))
_CAMVID_LADDER = (
    _camvid("sanet-r18-camvid-fcn", "FCN Res18", _fcn(_PLAIN_R18)),
    _camvid("sanet-r18-camvid-sa", "Res18, SA", _sa(_PLAIN_R18)),
    _camvid("sanet-r18-camvid-sa-categorical", "Res18, SA + categorical", _sa_categorical(_PLAIN_R18)),
    _camvid("sanet-r18-camvid", "SANet Res18: SA + categorical + dense", _PLAIN_R18),
)

_8421 = replace(_PLAIN_R18, downsampling=(8, 4, 2, 1))
"""The only downsampling of the attention channel that has the multiply-adds of Table 6."""
_CAMVID_8421 = (
    _camvid("sanet-r18-camvid-sa-8421", "Res18, SA, downsampled by 8, 4, 2 and 1", _sa(_8421)),
    _camvid("sanet-r18-camvid-8421", "SANet Res18, downsampled by 8, 4, 2 and 1", _8421),
)


_TINY_NETWORK = Architecture(Backbone("resnet16_tiny"))
_TINY = (
    tiny("sanet-tiny-camvid", "SANet Res16-tiny", _TINY_NETWORK, 0.05),
    tiny("sanet-tiny-camvid-fcn", "FCN Res16-tiny", _fcn(_TINY_NETWORK), 0.15),
)

_DEMO_NETWORK = Architecture(Backbone("resnet10_tiny"))
_DRAWN = ("SANet", _DEMO_NETWORK), ("fcn", "FCN", _fcn(_DEMO_NETWORK))
_DEMO = demo(DEMO, *_DRAWN, 0.05)
_BEACONS = beacons("sanet-beacons", *_DRAWN, 0.05)

_ALL: tuple[Recipe[Architecture], ...] = (
    *_DEMO,
    *_BEACONS,
    # Table 1
    _context(
        "sanet-r50-pascal-context-fcn",
        "FCN Res50",
        _fcn(R50),
        *_reported("Table 1", "FCN Res50", 43.2, 74.5, BETTER_SOONER),
    ),
    _context("sanet-r50-pascal-context-sa", "Res50, SA", _sa(R50), *_reported("Table 1", "SANet Res50", 49.2, 77.2)),
    _context(
        "sanet-r50-pascal-context-sa-categorical",
        "Res50, SA + categorical",
        _sa_categorical(R50),
        *_reported("Table 1", "SANet Res50", 50.7, 79.0),
    ),
    _R50,
    _R101,
    _B7,
    # Table 2
    _context_60(_R101, "SANet (ours) ResNet101", 52.1),
    _context_60(_B7, "SANet (ours) EffNet-b7", 54.4),
    # Table 3
    _short(
        "sanet-r50-pascal-context-short-fcn",
        "FCN Res50",
        _fcn(R50),
        *_reported("Table 3", "FCN50", 44.9, 76.2, BETTER_SOONER),
    ),
    _short(
        "sanet-r101-pascal-context-short-fcn", "FCN Res101", _fcn(R101), *_reported("Table 3", "FCN101", 45.6, 76.7)
    ),
    _short(
        "sanet-r50-pascal-context-short-fcn-se",
        "FCN-SE Res50",
        _fcn_se(R50),
        *_reported("Table 3", "FCN50-SE", 44.6, 76.0),
    ),
    _short(
        "sanet-r101-pascal-context-short-fcn-se",
        "FCN-SE Res101",
        _fcn_se(R101),
        *_reported("Table 3", "FCN101-SE", 45.7, 76.6),
    ),
    _SHORT_R50,
    _short(
        "sanet-r101-pascal-context-short", "SANet Res101", R101, *_reported("Table 3", "SANet101 (ours)", 50.1, 79.2)
    ),
    # Figure 4
    *(_swept("alpha", value, replace(R50, alpha=value)) for value in WEIGHTS if value != R50.alpha),
    *(_swept("beta", value, replace(R50, beta=value)) for value in WEIGHTS if value != R50.beta),
    # Tables 4 and 6
    _VOC_FCN_AUGMENTED,
    _VOC_FCN,
    _test_server(_VOC_FCN, "Dilated FCN Res101", _tested("Table 6", "Dilated FCN", 78.7)),
    _VOC_DEEPLAB_AUGMENTED,
    _VOC_DEEPLAB,
    _test_server(_VOC_DEEPLAB, "DeepLab V3+ Res101", _tested("Table 6", "Deeplab V3+ (our implementation)", 81.5)),
    _VOC_AUGMENTED,
    _VOC,
    _test_server(
        _VOC,
        "SANet Res101",
        _tested("Table 4", "SANet(ours)", 83.2, TEST_PER_CLASS),
        _tested("Table 6", "SANet (ours)", 83.2, caveat=NOT_COUNTED),
    ),
    # Table 5
    _COCO,
    _COCO_AUGMENTED,
    _COCO_VOC,
    _test_server(_COCO_VOC, "SANet Res101 from COCO", _tested("Table 5", "SANet (ours) ResNet101", 86.1)),
    # ours
    _reading("8421", "the attention channel downsampled by 8, 4, 2 and 1", replace(R101, downsampling=(8, 4, 2, 1))),
    _reading("max", "maximum pooling", replace(R101, pooling="max")),
    _reading("dense-alone", "Eq. (9) judges the dense head alone", replace(R101, dense_loss="alone")),
    *_CAMVID_LADDER,
    *_CAMVID_8421,
    _camvid("sanet-r50-camvid", "SANet Res50", Architecture(Backbone("resnet50"))),
    *(small(recipe, 3, crop=192) for recipe in _CAMVID_LADDER),
    *_TINY,
)

RECIPES: dict[str, Recipe[Architecture]] = {recipe.name: recipe for recipe in _ALL}
"""Every recipe by name, in the order of the paper's tables."""


def _loss_weights(architecture: Architecture) -> dict[str, float]:
    """Those of Eq. (6)."""
    return {"alpha": architecture.alpha, "beta": architecture.beta}


def with_missed_background(mean_iou: float, num_classes: int) -> float:
    """Return the mean IoU over one class more, whose IoU is 0."""
    return mean_iou * num_classes / (num_classes + 1)


def remark(data: Data, mean_iou: float) -> str:
    """What the paper calls 60 classes with background, on PASCAL Context with 59 classes."""
    if data.name != PASCAL_CONTEXT_59.name:
        return ""
    value = 100 * with_missed_background(mean_iou, data.num_classes)
    return f"mIoU x 59/60, the paper's 60 classes with background: {value:.2f}\n"


PAPER = Paper(
    name="SANet",
    network=SANet,
    loss=loss,
    attention=attention,
    recipes=RECIPES,
    ladders=(_DEMO, _BEACONS, _TINY),
    ablations=("Table 3",),
    convention=Convention("ptflops", SIZE),
    columns=columns,
    loss_weights=_loss_weights,
    golden_merge="scores",
    remark=remark,
    speeds={"sanet-r101-pascal-context": 117.0, "sanet-b7-pascal-context": 17.3},  # commit f974dca
)
