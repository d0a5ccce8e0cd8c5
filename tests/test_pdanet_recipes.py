"""The rows of PDANet: every number of its own that the paper prints, on the data and by the schedule of its table."""

import pytest

from core.networks.backbones import Backbone
from core.recipe import Protocol
from papers.pdanet.model import (
    Architecture,
)
from papers.pdanet.recipes import RECIPES

DEEP_STEM = Backbone("resnet18", stem="deep64")

ROWS = [  # table, row, batch, imgMaxSize, pixel accuracy, mean IoU
    ("Table 1", "FCN", 8, 1000, 75.61, 0.3305),
    ("Table 1", "PSP", 8, 1000, 77.78, 0.3628),
    ("Table 1", "PDANet(ours)", 8, 1000, 78.44, 0.3768),
    ("Table 2", "FCN", 8, 600, 74.70, 0.3141),
    ("Table 2", "PSP", 8, 600, 77.59, 0.3575),
    ("Table 2", "DANet", 8, 600, 77.18, 0.3470),
    ("Table 2", "PDANet(ours)", 8, 600, 77.86, 0.3666),
]


def test_every_reported_row_has_its_recipe() -> None:
    given = [
        (reported.table, reported.row, recipe.optimisation.batch, recipe.augmentation.limit, reported.metric, value)
        for recipe in RECIPES.values()
        for reported in recipe.reported
        for value in [reported.value]
    ]
    expected = []
    for table, row, batch, largest, accuracy, mean_iou in ROWS:
        expected.append((table, row, batch, largest, "mIoU", pytest.approx(100 * mean_iou, abs=1e-9)))
        expected.append((table, row, batch, largest, "pixel accuracy", accuracy))
    assert given == expected  # in the paper's order too


def test_rows_are_trained_and_tested_alike() -> None:
    for recipe in RECIPES.values():
        for reported in recipe.reported:
            assert reported.paper == "PDANet"
            assert (recipe.data.name, recipe.data.num_classes, recipe.data.test) == ("ade20k", 150, reported.split)
            optimisation = recipe.optimisation
            assert (optimisation.learning_rate, optimisation.power, optimisation.schedule) == (0.01, 0.9, "poly")
            assert (optimisation.momentum, optimisation.weight_decay) == (0.9, 1e-4)
            assert (optimisation.length, optimisation.unit, optimisation.head_multiplier) == (100_000, "steps", 1.0)
            head = {"FCN": "fcn", "PSP": "psp", "DANet": "danet", "PDANet(ours)": "pdanet"}[reported.row]
            assert recipe.architecture == Architecture(DEEP_STEM, head, loss_size="features")
            largest = {"Table 1": 1000, "Table 2": 600}[reported.table]
            assert recipe.protocol == Protocol(base=450, edge="short", limit=largest, multiple=8)
            sides = [recipe.augmentation.base * factor for factor in recipe.augmentation.scale]
            assert sides == pytest.approx([300, 375, 450, 525, 600])
            assert recipe.augmentation.listed
            assert recipe.augmentation.shared
            assert (recipe.augmentation.crop, recipe.augmentation.multiple) == (None, 8)
            assert recipe.augmentation.edge == "short"


@pytest.mark.parametrize("name", ["pdanet-r18-camvid", "pdanet-r18-camvid-small"])
def test_ours_differ_in_their_heads_alone(name: str) -> None:
    whole = RECIPES[name]
    for head in ("fcn", "psp", "danet"):
        other = RECIPES[f"{name}-{head}"]
        for field in ("data", "augmentation", "optimisation", "protocol", "backbone_weights"):
            assert getattr(other, field) == getattr(whole, field)
        assert other.architecture == Architecture(Backbone("resnet18"), head)
    assert whole.architecture == Architecture(Backbone("resnet18"))


def test_deep_supervision_is_off_in_every_row_of_the_paper() -> None:
    used = {name for name, recipe in RECIPES.items() if recipe.architecture.deep_supervision}
    assert used == {"pdanet-r18-ade20k-1000-deep-supervision"}
