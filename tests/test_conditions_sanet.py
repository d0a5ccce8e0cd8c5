"""SANet's rows under the conditions of the paper; its authors published no code.

T       the text (arXiv:1909.03402), Sections 3.3 and 4
PE      PyTorch-Encoding v1.0, with which the networks were apparently trained: rates, epochs and weights of
        the losses are its defaults, and its stem and crop have the multiply-adds of Table 6
"""

from dataclasses import replace

from conditions import Row, augmentation, backbone, data, departures, of_the_paper, optimisation, protocol

from papers.sanet.recipes import RECIPES

CONTEXT_59 = data("pascal_context_59", 59, "train", "val", "val")  # T: Table 1; PE: the background is ignored
CONTEXT_60 = data("pascal_context", 60, "train", "val", "val")  # T: Table 2
AUGMENTED = data("voc2012", 21, "trainaug", "val", "val")  # T: 10,582 images
TRAINVAL = data("voc2012", 21, "trainval", "val", "val")  # PE: before the test server
COCO = data("coco_voc", 21, "train", "val", "val")  # PE: COCO with VOC's classes

CROPS = augmentation(  # PE: the long edge of 520 times 0.5 to 2.0, crop 480, flip
    crop=480, base=520, edge="long", scale=[0.5, 2.0], flip=True
)
SIX = protocol(  # PE: six scales, mirrored, windows of 480 in steps of two thirds
    crop=480, stride=320, base=520, edge="long", scales=[0.5, 0.75, 1.0, 1.25, 1.5, 1.75], flip=True, merge="exp"
)
CONTEXT = optimisation(  # T: 0.001, 80 epochs, poly; PE: batch 16, x10, decay 1e-4
    learning_rate=0.001, batch=16, length=80, unit="epochs", head_multiplier=10.0, weight_decay=0.0001
)
SHORT = {**CONTEXT, "length": 20}  # T: Table 3 and Figure 4
VOC_FIRST = {**CONTEXT, "length": 80}  # T: "using augmented data for 80 epochs"; PE: 0.001
VOC_LAST = {**CONTEXT, "learning_rate": 0.0001, "length": 50}  # T
COCO_FIRST = {**CONTEXT, "learning_rate": 0.004, "length": 30}  # PE

R50 = backbone("resnet50", stem="deep64", output_stride=8)  # T: dilated; PE: the stem 64-64-128
R101 = backbone("resnet101", stem="deep64", output_stride=8)
B7 = backbone("tf_efficientnet_b7", output_stride=8)


def network(features: dict, head: str = "sanet", alpha: float = 0.2, beta: float = 0.8) -> dict:
    """T: alpha 0.2 and beta 0.8 are best (Section 4.2), average pooling (Eq. (5)), ratio 8 (Section 3.3).

    Eq. (9) judges the prediction of Section 3.3, by a reading of ours.
    """
    return {
        "backbone": features,
        "head": head,
        "downsampling": [8, 8, 8, 8],
        "dense_loss": "prediction",
        "pooling": "average",
        "alpha": alpha,
        "beta": beta,
        "align_corners": True,
    }


def context(architecture: dict, training: dict = CONTEXT, where: dict = CONTEXT_59) -> Row:
    return Row(architecture, where, CROPS, training, SIX)


def on_voc(architecture: dict, suffix: str, before: str | None = None) -> dict[str, Row]:
    """The stages of a row of the test server: augmented images, both halves of VOC, the test."""
    first, last = f"sanet-r101-voc2012-aug{suffix}", f"sanet-r101-voc2012{suffix}"
    second = Row(architecture, TRAINVAL, CROPS, VOC_LAST, SIX, starts_from=first)
    return {
        first: Row(architecture, AUGMENTED, CROPS, VOC_FIRST, SIX, starts_from=before),
        last: second,
        f"{last}-test": replace(second, data={**TRAINVAL, "test": "test"}, starts_from=None, same_weights_as=last),
    }


TABLE = {
    # Table 1
    "sanet-r50-pascal-context-fcn": context(network(R50, "fcn")),
    "sanet-r50-pascal-context-sa": context(network(R50, alpha=0.0, beta=0.0)),
    "sanet-r50-pascal-context-sa-categorical": context(network(R50, beta=0.0)),
    "sanet-r50-pascal-context": context(network(R50)),
    "sanet-r101-pascal-context": context(network(R101)),
    "sanet-b7-pascal-context": context(network(B7)),
    # Table 2
    "sanet-r101-pascal-context-60": context(network(R101), where=CONTEXT_60),
    "sanet-b7-pascal-context-60": context(network(B7), where=CONTEXT_60),
    # Table 3
    "sanet-r50-pascal-context-short-fcn": context(network(R50, "fcn"), SHORT),
    "sanet-r101-pascal-context-short-fcn": context(network(R101, "fcn"), SHORT),
    "sanet-r50-pascal-context-short-fcn-se": context(network(R50, "fcn-se"), SHORT),
    "sanet-r101-pascal-context-short-fcn-se": context(network(R101, "fcn-se"), SHORT),
    "sanet-r50-pascal-context-short": context(network(R50), SHORT),
    "sanet-r101-pascal-context-short": context(network(R101), SHORT),
    # Figure 4: one weight from 0 to 1, the other the best one
    **{
        f"sanet-r50-pascal-context-short-alpha-{value:g}": context(network(R50, alpha=value), SHORT)
        for value in (0.0, 0.4, 0.6, 0.8, 1.0)
    },
    **{
        f"sanet-r50-pascal-context-short-beta-{value:g}": context(network(R50, beta=value), SHORT)
        for value in (0.0, 0.2, 0.4, 0.6, 1.0)
    },
    # Tables 4 and 6
    **on_voc(network(R101, "fcn"), "-fcn"),
    **on_voc(network(R101, "deeplab-v3+"), "-deeplab"),
    **on_voc(network(R101), ""),
    # Table 5
    "sanet-r101-coco": Row(network(R101), COCO, CROPS, COCO_FIRST, SIX),
    **on_voc(network(R101), "-coco", before="sanet-r101-coco"),
}


def test_every_row_is_under_the_conditions_of_its_sources() -> None:
    assert departures(RECIPES, TABLE) == []


def test_no_row_is_without_conditions() -> None:
    assert of_the_paper(RECIPES) <= set(TABLE)
