"""The rows of SANet: every number of its own that the paper prints, on the data and by the schedule of its table."""

import sys
from typing import Any

import pytest
import torch

from core import launch
from core.images.classes import Classes
from core.recipe import Recipe
from core.testing.metrics import Score
from papers.sanet.model import Architecture
from papers.sanet.recipes import DEMO, PAPER, RECIPES, with_missed_background

MIOU, ACCURACY = "mIoU", "pixel accuracy"

ROWS = [  # table, metric, value, backbone, what stands on it: the paper's own networks and baselines
    ("Table 1", ACCURACY, 74.5, "resnet50", "fcn"),
    ("Table 1", MIOU, 43.2, "resnet50", "fcn"),
    ("Table 1", ACCURACY, 77.2, "resnet50", "SA"),
    ("Table 1", MIOU, 49.2, "resnet50", "SA"),
    ("Table 1", ACCURACY, 79.0, "resnet50", "SA + Cat"),
    ("Table 1", MIOU, 50.7, "resnet50", "SA + Cat"),
    ("Table 1", ACCURACY, 79.3, "resnet50", "SA + Cat + Den"),
    ("Table 1", MIOU, 51.9, "resnet50", "SA + Cat + Den"),
    ("Table 1", ACCURACY, 80.6, "resnet101", "SA + Cat + Den"),
    ("Table 1", MIOU, 53.0, "resnet101", "SA + Cat + Den"),
    ("Table 1", ACCURACY, 81.6, "tf_efficientnet_b7", "SA + Cat + Den"),
    ("Table 1", MIOU, 55.3, "tf_efficientnet_b7", "SA + Cat + Den"),
    ("Table 2", MIOU, 52.1, "resnet101", "SA + Cat + Den"),
    ("Table 2", MIOU, 54.4, "tf_efficientnet_b7", "SA + Cat + Den"),
    ("Table 3", ACCURACY, 76.2, "resnet50", "fcn"),
    ("Table 3", MIOU, 44.9, "resnet50", "fcn"),
    ("Table 3", ACCURACY, 76.7, "resnet101", "fcn"),
    ("Table 3", MIOU, 45.6, "resnet101", "fcn"),
    ("Table 3", ACCURACY, 76.0, "resnet50", "fcn-se"),
    ("Table 3", MIOU, 44.6, "resnet50", "fcn-se"),
    ("Table 3", ACCURACY, 76.6, "resnet101", "fcn-se"),
    ("Table 3", MIOU, 45.7, "resnet101", "fcn-se"),
    ("Table 3", ACCURACY, 78.9, "resnet50", "SA + Cat + Den"),
    ("Table 3", MIOU, 49.0, "resnet50", "SA + Cat + Den"),
    ("Table 3", ACCURACY, 79.2, "resnet101", "SA + Cat + Den"),
    ("Table 3", MIOU, 50.1, "resnet101", "SA + Cat + Den"),
    ("Table 4", MIOU, 83.2, "resnet101", "SA + Cat + Den"),
    ("Table 5", MIOU, 86.1, "resnet101", "SA + Cat + Den"),
    ("Table 6", MIOU, 78.7, "resnet101", "fcn"),
    ("Table 6", MIOU, 81.5, "resnet101", "deeplab-v3+"),
    ("Table 6", MIOU, 83.2, "resnet101", "SA + Cat + Den"),
]

CIRCUMSTANCES = {  # data, classes, training split, test split, rate, epochs
    "Table 1": ("pascal_context_59", 59, "train", "val", 0.001, 80),
    "Table 2": ("pascal_context", 60, "train", "val", 0.001, 80),
    "Table 3": ("pascal_context_59", 59, "train", "val", 0.001, 20),
    "Table 4": ("voc2012", 21, "trainval", "test", 0.0001, 50),
    "Table 5": ("voc2012", 21, "trainval", "test", 0.0001, 50),
    "Table 6": ("voc2012", 21, "trainval", "test", 0.0001, 50),
}

PER_CLASS = {  # the last row of Table 4
    "aeroplane": 95.1,
    "bicycle": 65.9,
    "bird": 95.4,
    "boat": 72.0,
    "bottle": 80.5,
    "bus": 93.5,
    "car": 86.8,
    "cat": 94.5,
    "chair": 40.5,
    "cow": 93.3,
    "diningtable": 74.6,
    "dog": 94.1,
}


def parts(architecture: Architecture) -> str:
    """What stands on the backbone, in the words of Table 1."""
    if architecture.head != "sanet":
        return architecture.head
    weights = (("Cat", architecture.alpha, 0.2), ("Den", architecture.beta, 0.8))
    assert all(value in (0.0, best) for _, value, best in weights)
    return " + ".join(["SA", *(name for name, value, _ in weights if value)])


def circumstances(recipe: Recipe[Architecture]) -> tuple[Any, ...]:
    data, optimisation = recipe.data, recipe.optimisation
    assert optimisation.unit == "epochs"
    schedule = (optimisation.learning_rate, optimisation.length)
    return (data.name, data.num_classes, data.train, data.test, *schedule)


def test_every_reported_row_has_its_recipe() -> None:
    given = [
        (row.table, row.metric, row.value, recipe.architecture.backbone.name, parts(recipe.architecture))
        for recipe in RECIPES.values()
        for row in recipe.reported
    ]
    assert sorted(given) == sorted(ROWS)


def test_rows_are_trained_and_tested_as_their_tables_say() -> None:
    for recipe in RECIPES.values():
        for row in recipe.reported:
            assert (row.paper, row.split) == ("SANet", recipe.data.test)
            assert circumstances(recipe) == CIRCUMSTANCES[row.table]
            assert recipe.optimisation.batch == 16
            if recipe.architecture.backbone.name != "tf_efficientnet_b7":
                assert recipe.architecture.backbone.stem == "deep64"


def test_table_4_has_the_classes_that_are_printed() -> None:
    (row,) = [row for recipe in RECIPES.values() for row in recipe.reported if row.table == "Table 4"]
    assert row.per_class == tuple(PER_CLASS.values())


@pytest.mark.parametrize(("weight", "best", "other"), [("alpha", 0.2, ("beta", 0.8)), ("beta", 0.8, ("alpha", 0.2))])
def test_figure_4_varies_one_weight_and_keeps_the_other(weight: str, best: float, other: tuple[str, float]) -> None:
    best_point = RECIPES["sanet-r50-pascal-context-short"]
    swept = [recipe for name, recipe in RECIPES.items() if name.startswith(f"{best_point.name}-{weight}-")]
    values = sorted(getattr(recipe.architecture, weight) for recipe in (best_point, *swept))
    assert values == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert getattr(best_point.architecture, weight) == best
    for recipe in swept:
        assert getattr(recipe.architecture, other[0]) == other[1]
        assert circumstances(recipe) == circumstances(best_point) == CIRCUMSTANCES["Table 3"]
        assert recipe.name.endswith(f"-{getattr(recipe.architecture, weight):g}")


@pytest.mark.parametrize(
    ("tested", "stages"),
    [
        ("sanet-r101-voc2012-test", ["sanet-r101-voc2012", "sanet-r101-voc2012-aug"]),
        ("sanet-r101-voc2012-fcn-test", ["sanet-r101-voc2012-fcn", "sanet-r101-voc2012-aug-fcn"]),
        ("sanet-r101-voc2012-deeplab-test", ["sanet-r101-voc2012-deeplab", "sanet-r101-voc2012-aug-deeplab"]),
        (
            "sanet-r101-voc2012-coco-test",
            ["sanet-r101-voc2012-coco", "sanet-r101-voc2012-aug-coco", "sanet-r101-coco"],
        ),
    ],
)
def test_rows_on_voc_are_trained_in_stages(tested: str, stages: list[str]) -> None:
    name = RECIPES[tested].same_weights_as
    found = []
    while name is not None:
        assert RECIPES[name].architecture == RECIPES[tested].architecture
        found.append(name)
        name = RECIPES[name].starts_from
    assert found == stages
    schedules = [circumstances(RECIPES[name]) for name in stages]
    assert (
        schedules
        == [
            ("voc2012", 21, "trainval", "val", 0.0001, 50),
            ("voc2012", 21, "trainaug", "val", 0.001, 80),
            ("coco_voc", 21, "train", "val", 0.004, 30),
        ][: len(stages)]
    )
    assert "can't be tested" in RECIPES[stages[0]].summary  # trained on val


def test_the_readings_of_the_text_differ_from_the_row_in_one_thing() -> None:
    row = RECIPES["sanet-r101-pascal-context"]
    changed = {
        suffix: {
            name: value
            for name, value in vars(RECIPES[f"{row.name}-{suffix}"].architecture).items()
            if value != getattr(row.architecture, name)
        }
        for suffix in ("8421", "max", "dense-alone")
    }
    assert changed == {
        "8421": {"downsampling": (8, 4, 2, 1)},
        "max": {"pooling": "max"},
        "dense-alone": {"dense_loss": "alone"},
    }
    assert (row.architecture.downsampling, row.architecture.pooling) == ((8, 8, 8, 8), "average")


def test_the_ladder_on_camvid_differs_in_the_network_alone() -> None:
    for size in ("camvid", "camvid-small"):
        names = [f"sanet-r18-{size}{part}" for part in ("-fcn", "-sa", "-sa-categorical", "")]
        ladder = [RECIPES[name] for name in names]
        assert [parts(recipe.architecture) for recipe in ladder] == ["fcn", "SA", "SA + Cat", "SA + Cat + Den"]
        assert len({(recipe.optimisation, recipe.augmentation, recipe.protocol) for recipe in ladder}) == 1


# 59 and 60 classes


def test_table_2_is_table_1_with_a_missed_background() -> None:
    for backbone in ("r101", "b7"):
        first, second = (RECIPES[f"sanet-{backbone}-pascal-context{ending}"] for ending in ("", "-60"))
        (printed,) = [row.value for row in second.reported]
        (ignored,) = [row.value for row in first.reported if row.metric == MIOU]
        assert round(with_missed_background(ignored, 59), 1) == printed


def test_a_missed_background_is_a_class_of_iou_0() -> None:
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    confusion[1:, 1:] = torch.tensor([[6, 2], [1, 3]])
    confusion[1, 0] = 1  # so that the background is counted: taken for, and never found
    three = Score(Classes.coloured(["background", "road", "sky"]), confusion)
    assert three.iou[0] == 0
    of_two = (6 / 10 + 3 / 6) / 2
    assert three.mean_iou == pytest.approx(with_missed_background(of_two, 2))


@pytest.mark.parametrize(
    ("name", "said"),
    [("sanet-r101-pascal-context", True), (DEMO, False), ("sanet-r101-pascal-context-60", False)],
)
def test_the_command_says_both_conventions(
    name: str, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = Classes.coloured([f"class {label}" for label in range(59)])
    confusion = torch.zeros(59, 59, dtype=torch.int64)
    confusion.fill_diagonal_(1)
    confusion[0, 1] = 1  # IoU 1/2 of two classes

    def tested(kind: Any, options: Any) -> Score:
        assert options.recipe.name == name
        return Score(classes, confusion)

    monkeypatch.setattr(launch, "evaluate_checkpoint", tested)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", name])
    launch.evaluate(PAPER)
    expected = f"mIoU x 59/60, the paper's 60 classes with background: {100 * 58 / 60:.2f}\n"
    assert capsys.readouterr().out == (expected if said else "")
