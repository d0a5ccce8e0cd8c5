"""The rows of RANet: every number of its own that the paper prints, on the data and by the schedule of its table."""

import dataclasses

import pytest

from core.networks.backbones import Backbone
from papers.ranet.model import Architecture
from papers.ranet.recipes import RECIPES

TINY = Backbone("resnet10_tiny")


ROWS = [  # the paper's own rows: table, row, value, and what the network differs in from the whole one
    ("Section 5.1", "backbone", 77.5, {"context": "none"}),
    ("Table 1", "SPP", 79.6, {"context": "spp"}),
    ("Table 1", "non-local attention", 80.5, {"context": "non-local"}),
    ("Table 1", "boundary map", 80.8, {"semantic_map": False}),
    ("Table 1", "semantic map", 81.3, {"boundary_map": False}),
    ("Table 1", "w/ both", 81.9, {}),
    ("Table 2", "K = 8", 81.9, {}),
    ("Table 4", "fine segmentation", 81.9, {}),
    ("Section 5.1", "without intra-region communication", 79.2, {"intra": False}),
    ("Section 5.1", "without inter-region interaction", 81.1, {"inter": False}),
    ("Table 2", "K = 2", 81.2, {"representatives": 2}),
    ("Table 2", "K = 4", 81.6, {"representatives": 4}),
    ("Table 2", "K = 6", 81.7, {"representatives": 6}),
    ("Table 2", "K = 10", 81.8, {"representatives": 10}),
    ("Table 2", "K = 12", 81.6, {"representatives": 12}),
    ("Table 3", "RANet", 81.9, {"reading": "released"}),
    ("Table 4", "coarse segmentation", 77.3, {}),
    ("Table 4", "coarse segmentation", 51.2, {}),
    ("Table 4", "coarse segmentation", 37.9, {}),
    ("Table 5", "RANet ResNet-101 w/o coarse", 82.4, {}),
    ("Table 5", "RANet ResNet-101 w/ coarse", 83.0, {}),
    ("Table 5", "RANet HRNetV2-W48+ASPP w/o coarse", 83.4, {"backbone": Backbone("hrnet_w48", output_stride=32)}),
    ("Table 5", "RANet HRNetV2-W48+ASPP w/ coarse", 84.0, {"backbone": Backbone("hrnet_w48", output_stride=32)}),
    ("Table 6", "RANet", 54.9, {}),
    ("Table 4", "fine segmentation", 54.9, {}),
    ("Table 6", "RANet", 40.7, {}),
    ("Table 4", "fine segmentation", 40.7, {}),
]


def test_every_reported_row_has_its_recipe() -> None:
    given = [
        (row.table, row.row, row.value, recipe.architecture) for recipe in RECIPES.values() for row in recipe.reported
    ]
    whole = Architecture(Backbone("resnet101", stem="deep64"))
    assert given == [(*row, dataclasses.replace(whole, **changed)) for *row, changed in ROWS]
    for recipe in RECIPES.values():
        for row in recipe.reported:
            split = "test" if row.table == "Table 5" else "val"
            assert (row.paper, row.split, row.metric) == ("RANet", split, "mIoU")
            assert recipe.data.test == (row.split if recipe.data.name != "coco_stuff10k" else "test")


def test_reported_rows_are_trained_and_tested_as_the_text_says() -> None:
    for recipe in RECIPES.values():
        if not recipe.reported:
            continue
        cityscapes = recipe.data.name == "cityscapes"
        optimisation = recipe.optimisation
        assert (optimisation.learning_rate, optimisation.schedule, optimisation.batch) == (0.001, "linear", 8)
        assert (optimisation.length, optimisation.unit) == (40_000 if cityscapes else 60_000, "steps")
        assert recipe.augmentation.crop == recipe.protocol.crop == (769 if cityscapes else 520)
        assert recipe.augmentation.scale == pytest.approx([0.7 + 0.1 * number for number in range(15)])
        assert recipe.augmentation.listed
        assert recipe.augmentation.flip
        assert recipe.augmentation.brightness > 0
        assert recipe.protocol.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
        assert (
            recipe.data.num_classes == {"cityscapes": 19, "pascal_context": 60, "coco_stuff10k": 171}[recipe.data.name]
        )
        coarse = "with-coarse" in recipe.name
        assert recipe.data.train == ("train+coarse" if coarse else "train")
        assert coarse == (" w/ coarse" in recipe.reported[0].row)


def test_the_released_recipe_has_the_rate_and_the_test_of_its_code() -> None:
    recipe = RECIPES["ranet-r101-cityscapes-released"]
    assert (recipe.optimisation.learning_rate, recipe.optimisation.schedule, recipe.optimisation.power) == (
        *(0.01, "poly", 0.9),
    )
    assert (recipe.protocol.scales, recipe.protocol.merge, recipe.augmentation.brightness) == ((1.0,), "scores", 0.0)
    assert recipe.architecture.backbone.multi_grid == (4, 8, 16)
    assert RECIPES["ranet-r101-cityscapes-released-1x1"].architecture.kernel == 1


@pytest.mark.parametrize("name", ["ranet-r18-camvid", "ranet-r18-camvid-small"])
def test_ours_differ_in_their_networks_alone(name: str) -> None:
    whole = RECIPES[name]
    changed = {
        "backbone": {"context": "none"},
        "nonlocal": {"context": "non-local"},
        "boundary": {"semantic_map": False},
        "semantic": {"boundary_map": False},
    }
    for suffix, fields in changed.items():
        other = RECIPES[f"{name}-{suffix}"]
        assert other.architecture == dataclasses.replace(whole.architecture, **fields)
        for field in ("data", "augmentation", "optimisation", "protocol", "backbone_weights"):
            assert getattr(other, field) == getattr(whole, field)
