"""RANet's rows under the conditions of the paper and of its authors' code.

    T       the text (NeurIPS 2020), Section 4 unless another is named
    C       the authors' code, which has ResNet-101 on Cityscapes only

Where they differ (rate 0.001 falling linearly in T; 0.01 by the poly rule and no change of brightness in C), T counts.
"""

from dataclasses import replace

from conditions import Row, augmentation, backbone, data, departures, of_the_paper, optimisation, protocol

from papers.ranet.recipes import RECIPES

CITYSCAPES = data("cityscapes", 19, "train", "val", "val")
COARSE = {**CITYSCAPES, "train": "train+coarse"}  # T: Table 5, "w/ coarse"; C: the list of 2,975 + 19,998
PASCAL_CONTEXT = data("pascal_context", 60, "train", "val", "val")  # T: 59 categories and the background
COCO_STUFF = data("coco_stuff10k", 171, "train", "test", "test")  # T: 9,000 / 1,000 images, 171 categories

SCALES = [0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1]  # C: 0.7 + {0 .. 14} / 10
SIX = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]  # T


def crops(side: int) -> dict:
    """T: flip, brightness, scaling; 769 on Cityscapes and 520 elsewhere. The strength of brightness is ours."""
    return augmentation(crop=side, base=None, edge="short", scale=SCALES, listed=True, flip=True, brightness=0.2)


def windows(side: int, stride: int) -> dict:
    """T: six scales. C: windows of the crop that share a third, not mirrored."""
    return protocol(crop=side, stride=stride, base=None, edge="long", scales=SIX, flip=False, merge="softmax")


TRAINING = optimisation(  # T: SGD, 0.001, "decayed linearly", batch 8, 40,000; C: momentum 0.9, decay 5e-4, one group
    learning_rate=0.001,
    batch=8,
    length=40_000,
    unit="steps",
    schedule="linear",
    head_multiplier=1.0,
    weight_decay=0.0005,
)
LONGER = {**TRAINING, "length": 60_000}  # T: PASCAL Context and COCO-Stuff

R101 = backbone("resnet101", stem="deep64", output_stride=8)  # T: dilated, stride 8; C: CSAIL's deep stem
HRNET = backbone("hrnet_w48", output_stride=32)  # T: Table 5


def network(features: dict = R101, **changed: object) -> dict:
    """T: Eq. (1) to (8) as printed, both maps, all three steps of RIB, K = 8, score maps by two layers on A.

    T: baselines "remove RCB" (Section 5.1), and with it what its losses train. C: W^g of 1x1.
    """
    return {
        "backbone": features,
        "context": "regions",
        "reading": "paper",
        "supervised": "regions",
        "score_maps": "A",
        "other_regions": "sum",
        "region_kernel": 1,
        "boundary_map": True,
        "semantic_map": True,
        "intra": True,
        "inter": True,
        "representatives": 8,
        "align_corners": True,
        **changed,
    }


OWN_WEIGHTS = ["csail"]  # C: of its ResNet-101; the Hub has others of the same stem


def row(**changed: object) -> Row:
    own = [] if "features" in changed else OWN_WEIGHTS
    return Row(network(**changed), CITYSCAPES, crops(769), TRAINING, windows(769, 513), also_weights=own)


def context(where: dict) -> Row:
    return Row(network(), where, crops(520), LONGER, windows(520, 347), also_weights=OWN_WEIGHTS)


def retested(lender: str, like: Row, split: str = "val") -> Row:
    return replace(like, data={**like.data, "test": split}, same_weights_as=lender)


CITYSCAPES_ROW, HRNET_ROW = row(), row(features=HRNET)
WITH_COARSE, HRNET_WITH_COARSE = replace(CITYSCAPES_ROW, data=COARSE), replace(HRNET_ROW, data=COARSE)
ON_CONTEXT, ON_COCO = context(PASCAL_CONTEXT), context(COCO_STUFF)

TABLE = {
    # Table 1 and Section 5.1
    "ranet-r101-cityscapes-backbone": row(context="none"),
    "ranet-r101-cityscapes-spp": row(context="spp"),
    "ranet-r101-cityscapes-nonlocal": row(context="non-local"),
    "ranet-r101-cityscapes-boundary": row(semantic_map=False),
    "ranet-r101-cityscapes-semantic": row(boundary_map=False),
    "ranet-r101-cityscapes": CITYSCAPES_ROW,
    "ranet-r101-cityscapes-no-intra": row(intra=False),
    "ranet-r101-cityscapes-no-inter": row(inter=False),
    # Table 2
    **{f"ranet-r101-cityscapes-k{number}": row(representatives=number) for number in (2, 4, 6, 10, 12)},
    # Table 3: 21 M are the layers of the code
    "ranet-r101-cityscapes-21m": row(reading="released"),
    # Table 4
    "ranet-r101-cityscapes-coarse-segmentation": retested("ranet-r101-cityscapes", CITYSCAPES_ROW),
    "ranet-r101-pascal-context-coarse-segmentation": retested("ranet-r101-pascal-context", ON_CONTEXT),
    "ranet-r101-cocostuff-coarse-segmentation": retested("ranet-r101-cocostuff", ON_COCO, "test"),
    # Table 5
    "ranet-r101-cityscapes-test": retested("ranet-r101-cityscapes", CITYSCAPES_ROW, "test"),
    "ranet-r101-cityscapes-with-coarse": WITH_COARSE,
    "ranet-r101-cityscapes-with-coarse-test": retested("ranet-r101-cityscapes-with-coarse", WITH_COARSE, "test"),
    "ranet-hrnet-w48-cityscapes": HRNET_ROW,
    "ranet-hrnet-w48-cityscapes-test": retested("ranet-hrnet-w48-cityscapes", HRNET_ROW, "test"),
    "ranet-hrnet-w48-cityscapes-with-coarse": HRNET_WITH_COARSE,
    "ranet-hrnet-w48-cityscapes-with-coarse-test": retested(
        "ranet-hrnet-w48-cityscapes-with-coarse", HRNET_WITH_COARSE, "test"
    ),
    # Table 6
    "ranet-r101-pascal-context": ON_CONTEXT,
    "ranet-r101-cocostuff": ON_COCO,
}


def test_every_row_is_under_the_conditions_of_its_sources() -> None:
    assert departures(RECIPES, TABLE) == []


def test_no_row_is_without_conditions() -> None:
    assert set(TABLE) == of_the_paper(RECIPES)
