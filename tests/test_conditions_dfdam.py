"""DF-DAM's rows under the conditions of the paper; its authors published no code.

T       the text (arXiv:1911.08149), Section 4.1 unless another is named
B       the budget of Tables 4 and 6: which architectures have the printed parameters and multiply-adds
TS      TorchSeg, whose recipes for BiSeNet (Cityscapes) and DFN (VOC) share what the text does say
"""

from dataclasses import replace

from conditions import Row, augmentation, backbone, data, departures, of_the_paper, optimisation, protocol

from papers.dfdam.recipes import RECIPES

CITYSCAPES = data("cityscapes", 19, "train", "val", "val")  # T: fine data only (Section 4.4)
VOC = data("voc2012", 21, "trainaug", "val", "val")  # T: 10,582 images with SBD, not the 1,464
TRAINVAL = {**VOC, "train": "trainval"}  # T: "we fine-tune our model on PASCAL VOC 2012 trainval set" (Section 4.5)

SCALES = [0.75, 1.0, 1.25, 1.5, 1.75, 2.0]  # T


def crops(side: int) -> dict:
    """T: flip, scales of a list, a crop; of the image's own size, as TS."""
    return augmentation(crop=side, base=None, edge="short", scale=SCALES, listed=True, flip=True)


ON_CITYSCAPES = optimisation(  # T: batch 8, 0.01, momentum 0.9, decay 5e-4, power 0.9; TS: x10 outside the backbone
    learning_rate=0.01, batch=8, length=160_000, unit="steps", head_multiplier=10.0, weight_decay=0.0005
)  # TS: 80 epochs of 1,000 steps of 16 images: 160,000 of 8
ON_VOC = optimisation(  # T: batch 16, 0.001, momentum 0.9, decay 1e-5; TS (DFN): 120 epochs, x10
    learning_rate=0.001, batch=16, length=120, unit="epochs", head_multiplier=10.0, weight_decay=0.00001
)
FINE_TUNING = {**ON_VOC, "length": 30}  # ours: as many images as 8 epochs of the first stage


def whole(scales: list[float], flip: bool) -> dict:
    """The whole image at its own size; probabilities averaged. T: the scales (Section 4.4)."""
    return protocol(crop=None, stride=None, base=None, edge="long", scales=scales, flip=flip, merge="softmax")


SINGLE = whole([1.0], flip=False)
SEVEN = whole([0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0], flip=False)
SEVEN_FLIP = {**SEVEN, "flip": True}


def network(name: str, fusion: bool = True, position: bool = True) -> dict:
    """B: ordinary strides to 32, the plain stem; T: 128 channels."""
    return {
        "backbone": backbone(name, output_stride=32),
        "dual_attention_fusion": "converted" if fusion else "none",
        "position_attention": position,
        "channels": 128,
        "align_corners": True,
    }


def on_cityscapes(fusion: bool = True, position: bool = True) -> Row:
    return Row(network("resnet18", fusion, position), CITYSCAPES, crops(1024), ON_CITYSCAPES, SINGLE)


def on_voc(name: str, fusion: bool = True, position: bool = True) -> Row:
    return Row(network(name, fusion, position), VOC, crops(512), ON_VOC, SINGLE)


R18, R101 = on_cityscapes(), on_voc("resnet101")
FINE_TUNED = replace(R101, data=TRAINVAL, optimisation=FINE_TUNING, starts_from="dfdam-r101-voc2012")

TABLE = {
    # Table 1
    "dfdam-r50-voc2012-sum": on_voc("resnet50", fusion=False, position=False),
    "dfdam-r50-voc2012-dafm": on_voc("resnet50", position=False),
    "dfdam-r50-voc2012": on_voc("resnet50"),
    "dfdam-r101-voc2012-sum": on_voc("resnet101", fusion=False, position=False),
    "dfdam-r101-voc2012-dafm": on_voc("resnet101", position=False),
    "dfdam-r101-voc2012": R101,
    # Table 2
    "dfdam-r18-cityscapes-sum": on_cityscapes(fusion=False, position=False),
    "dfdam-r18-cityscapes-dafm": on_cityscapes(position=False),
    "dfdam-r18-cityscapes": R18,
    # Tables 3 and 4
    "dfdam-r18-cityscapes-ms": replace(R18, protocol=SEVEN, same_weights_as="dfdam-r18-cityscapes"),
    "dfdam-r18-cityscapes-ms-flip": replace(R18, protocol=SEVEN_FLIP, same_weights_as="dfdam-r18-cityscapes"),
    "dfdam-r18-cityscapes-test": replace(
        R18, data={**CITYSCAPES, "test": "test"}, protocol=SEVEN_FLIP, same_weights_as="dfdam-r18-cityscapes"
    ),
    # Table 5
    "dfdam-r101-voc2012-ms": replace(R101, protocol=SEVEN, same_weights_as="dfdam-r101-voc2012"),
    "dfdam-r101-voc2012-ms-flip": replace(R101, protocol=SEVEN_FLIP, same_weights_as="dfdam-r101-voc2012"),
    # Tables 6 and 7
    "dfdam-r101-voc2012-trainval": FINE_TUNED,
    "dfdam-r101-voc2012-trainval-test": replace(
        FINE_TUNED,
        data={**TRAINVAL, "test": "test"},
        protocol=SEVEN_FLIP,
        starts_from=None,
        same_weights_as="dfdam-r101-voc2012-trainval",
    ),
}


def test_every_row_is_under_the_conditions_of_its_sources() -> None:
    assert departures(RECIPES, TABLE) == []


def test_no_row_is_without_conditions() -> None:
    assert set(TABLE) == of_the_paper(RECIPES)
