"""PDANet's rows under the conditions of the paper and of its author's code.

    T       the text, Section 4
    C       the author's code (a fork of CSAILVision/semantic-segmentation-pytorch of early 2019)

Where they differ (rate 0.01 in T and 0.02 in C, a batch of 8 in T and 8 on each of four GPUs in C), T counts.
"""

import pytest
from conditions import Row, augmentation, backbone, data, departures, of_the_paper, optimisation, protocol

from papers.pdanet.recipes import RECIPES

ADE20K = data("ade20k", 150, "train", "val", "val")  # T: 20,210 / 2,000 images of 150 classes
TRAINING = optimisation(  # T: 1e-2, momentum 0.9, decay 0.0001, power 0.9, batch 8; C: 20 x 5,000 steps, one rate
    learning_rate=0.01, batch=8, length=100_000, unit="steps", head_multiplier=1.0, weight_decay=0.0001
)
SHORT_SIDES = [300, 375, 450, 525, 600]  # C: one of them for all images of a step


def row(head: str, largest: int) -> Row:
    """T: imgMaxSize 1000 in Table 1 and 600 in Table 2. C: the deep stem, sides rounded up to 8, no crop, flip."""
    return Row(
        {
            "backbone": backbone("resnet18", stem="deep64", output_stride=8),
            "head": head,
            "channel_attention": "released",
            "reduction": 8,
            "deep_supervision": False,  # C: the decoder has none
            "loss_size": "features",  # C: labels at an eighth
            "align_corners": False,  # C
        },
        ADE20K,
        augmentation(
            crop=None,
            base=450,
            edge="short",
            scale=[side / 450 for side in SHORT_SIDES],
            listed=True,
            flip=True,
            shared=True,
            limit=largest,
            multiple=8,
        ),
        TRAINING,
        protocol(  # C: eval with imgSize 450 alone, not mirrored
            crop=None,
            stride=None,
            base=450,
            edge="short",
            scales=[1.0],
            flip=False,
            merge="softmax",
            limit=largest,
            multiple=8,
        ),
        backbone_weights="csail",  # C: models/resnet.py downloads it
    )


TABLE = {
    "pdanet-r18-ade20k-1000-fcn": row("fcn", 1000),
    "pdanet-r18-ade20k-1000-psp": row("psp", 1000),
    "pdanet-r18-ade20k-1000": row("pdanet", 1000),
    "pdanet-r18-ade20k-600-fcn": row("fcn", 600),
    "pdanet-r18-ade20k-600-psp": row("psp", 600),
    "pdanet-r18-ade20k-600-danet": row("danet", 600),
    "pdanet-r18-ade20k-600": row("pdanet", 600),
}


def test_every_row_is_under_the_conditions_of_its_sources() -> None:
    assert departures(RECIPES, TABLE) == []


def test_no_row_is_without_conditions() -> None:
    assert set(TABLE) == of_the_paper(RECIPES)


def test_factors_are_the_short_sides_of_the_code() -> None:
    """As numbers of pixels, which is how the code has them."""
    factors = RECIPES["pdanet-r18-ade20k-600"].augmentation.scale
    assert factors is not None
    assert [450 * factor for factor in factors] == pytest.approx(SHORT_SIDES)
