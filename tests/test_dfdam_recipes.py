"""The rows of DF-DAM: every number of its own that the paper prints, on the data and by the schedule of its table."""

from papers.dfdam.model import Architecture
from papers.dfdam.recipes import RECIPES

ROWS = [  # table, mean IoU, backbone, DAFM, 2DPAM, several scales, mirrored: the rows that the paper gives for its own
    ("Table 1", 68.2, "resnet50", False, False, False, False),
    ("Table 1", 73.7, "resnet50", True, False, False, False),
    ("Table 1", 74.6, "resnet50", True, True, False, False),
    ("Table 1", 72.9, "resnet101", False, False, False, False),
    ("Table 1", 76.8, "resnet101", True, False, False, False),
    ("Table 1", 77.9, "resnet101", True, True, False, False),
    ("Table 2", 70.3, "resnet18", False, False, False, False),
    ("Table 2", 72.8, "resnet18", True, False, False, False),
    ("Table 2", 73.1, "resnet18", True, True, False, False),
    ("Table 3", 73.1, "resnet18", True, True, False, False),
    ("Table 3", 74.6, "resnet18", True, True, True, False),
    ("Table 3", 74.9, "resnet18", True, True, True, True),
    ("Table 4", 73.6, "resnet18", True, True, True, True),
    ("Table 5", 77.90, "resnet101", True, True, False, False),
    ("Table 5", 79.55, "resnet101", True, True, True, False),
    ("Table 5", 79.83, "resnet101", True, True, True, True),
    ("Table 6", 82.3, "resnet101", True, True, True, True),
    ("Table 7", 82.3, "resnet101", True, True, True, True),
]

DATA = {
    "Table 1": ("voc2012", 21, "val"),
    "Table 2": ("cityscapes", 19, "val"),
    "Table 3": ("cityscapes", 19, "val"),
    "Table 4": ("cityscapes", 19, "test"),
    "Table 5": ("voc2012", 21, "val"),
    "Table 6": ("voc2012", 21, "test"),
    "Table 7": ("voc2012", 21, "test"),
}

PER_CLASS = {  # the last row of Table 7
    "aero": 95.6,
    "bike": 70.7,
    "bird": 91.1,
    "boat": 73.0,
    "bottle": 76.1,
    "bus": 94.1,
    "car": 91.3,
    "cat": 93.7,
    "chair": 37.8,
    "cow": 90.2,
    "table": 72.1,
    "dog": 91.0,
    "horse": 93.0,
    "mbike": 90.6,
    "person": 88.7,
    "plant": 72.3,
    "sheep": 92.6,
    "sofa": 59.7,
    "train": 86.6,
    "tv": 72.5,
}

SCHEDULES = {  # Section 4.1: rate, batch, weight decay, crop
    "cityscapes": (0.01, 8, 5e-4, 1024),
    "voc2012": (0.001, 16, 1e-5, 512),
}


def test_every_reported_row_has_its_recipe() -> None:
    given = [
        (
            reported.table,
            reported.value,
            recipe.architecture.backbone.name,
            recipe.architecture.dual_attention_fusion == "converted",
            recipe.architecture.position_attention,
            recipe.protocol.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
            recipe.protocol.flip,
        )
        for recipe in RECIPES.values()
        for reported in recipe.reported
    ]
    assert sorted(given) == sorted(ROWS)


def test_rows_are_tested_on_the_data_of_their_tables() -> None:
    for recipe in RECIPES.values():
        for reported in recipe.reported:
            assert (recipe.data.name, recipe.data.num_classes, recipe.data.test) == DATA[reported.table]
            assert (reported.paper, reported.split, reported.metric) == ("DF-DAM", recipe.data.test, "mIoU")


def test_rows_are_trained_as_section_4_1_says() -> None:
    for recipe in RECIPES.values():
        if recipe.data.name in SCHEDULES:
            optimisation = recipe.optimisation
            given = (
                optimisation.learning_rate,
                optimisation.batch,
                optimisation.weight_decay,
                recipe.augmentation.crop,
            )
            assert given == SCHEDULES[recipe.data.name]
            assert (optimisation.schedule, optimisation.power, optimisation.momentum) == ("poly", 0.9, 0.9)
            assert (recipe.augmentation.scale, recipe.augmentation.listed) == ((0.75, 1.0, 1.25, 1.5, 1.75, 2.0), True)
            assert recipe.augmentation.flip


def test_the_test_server_of_voc_is_a_second_stage_on_trainval() -> None:
    first, second, test = (RECIPES[f"dfdam-r101-voc2012{end}"] for end in ("", "-trainval", "-trainval-test"))
    assert second.starts_from == first.name
    assert test.same_weights_as == second.name
    assert (second.data.train, second.data.test, test.data.test) == ("trainval", "val", "test")
    assert second.architecture == first.architecture
    assert second.optimisation.learning_rate == first.optimisation.learning_rate


def test_table_7_has_every_object() -> None:
    (row,) = [row for recipe in RECIPES.values() for row in recipe.reported if row.table == "Table 7"]
    assert row.per_class == tuple(PER_CLASS.values())
    background = 21 * row.value - sum(row.per_class)
    assert 94 < background < 97  # what every network of that time reaches on it


def test_ablations_differ_in_their_modules_alone() -> None:
    whole = ["dfdam-r50-voc2012", "dfdam-r101-voc2012", "dfdam-r18-cityscapes"]
    whole += ["dfdam-r18-camvid", "dfdam-r18-camvid-small"]
    for name in whole:
        for suffix, form, position in (("sum", "none", False), ("dafm", "converted", False)):
            ablation = RECIPES[f"{name}-{suffix}"]
            for field in ("data", "augmentation", "optimisation", "protocol", "backbone_weights"):
                assert getattr(ablation, field) == getattr(RECIPES[name], field)
            assert ablation.architecture == Architecture(RECIPES[name].architecture.backbone, form, position)


def test_both_readings_of_the_channel_weights_are_recipes() -> None:
    for name in ("dfdam-r18-cityscapes", "dfdam-r101-voc2012"):
        assert RECIPES[name].architecture.dual_attention_fusion == "converted"
        assert RECIPES[f"{name}-squeezed"].architecture.dual_attention_fusion == "squeezed"
