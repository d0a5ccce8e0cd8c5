"""Our own rows on CamVid, which no paper has: the conditions of what is compared in READMEs and `ci/measured.toml`.

Written out, so that a change of what recipes share is seen here. Don't change a row that has been measured, for its
number would then be that of another training: add a recipe.
"""

import re
from typing import NamedTuple

import pytest

import papers
from core.recipe import Recipe

UNIFORM = (0.75, 2.0)
SIX = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
FIFTEEN = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1)


class Row(NamedTuple):
    """Conditions of training and testing."""

    rate: float
    heads: float  # what the rate of the layers outside the backbone is multiplied by
    schedule: str
    decay: float
    average: float
    batch: int
    epochs: int
    crop: int
    base: int | None
    scales: tuple[float, ...]
    listed: bool
    brightness: float
    tested_base: int | None
    tested_limit: int | None


TABLE = {
    "danet-r(18|50)-camvid": Row(0.003, 10, "poly", 1e-4, 0, 8, 120, 360, None, UNIFORM, False, 0, None, None),
    "danet-r18-camvid-fcn": Row(0.01, 10, "poly", 1e-4, 0, 8, 120, 360, None, UNIFORM, False, 0, None, None),
    "danet-r18-camvid-small": Row(0.003, 10, "poly", 1e-4, 0, 8, 12, 240, 240, UNIFORM, False, 0, 320, None),
    "danet-r18-camvid-small-fcn": Row(0.01, 10, "poly", 1e-4, 0, 8, 12, 240, 240, UNIFORM, False, 0, 320, None),
    "dfdam-r18-camvid(-sum|-dafm)?": Row(0.01, 10, "poly", 5e-4, 0, 8, 120, 360, None, SIX, True, 0, None, None),
    "dfdam-r18-camvid-small(-sum|-dafm)?": Row(0.01, 10, "poly", 5e-4, 0, 8, 10, 240, 240, SIX, True, 0, 320, None),
    "pdanet-r18-camvid(-fcn|-psp|-danet)?": Row(
        0.01, 1, "poly", 1e-4, 0, 8, 120, 360, None, UNIFORM, False, 0, None, None
    ),
    "pdanet-r18-camvid-small(-fcn|-psp|-danet)?": Row(
        0.01, 1, "poly", 1e-4, 0, 8, 6, 240, 240, UNIFORM, False, 0, 320, None
    ),
    "ranet-r18-camvid(?!-small).*": Row(0.01, 1, "linear", 5e-4, 0, 8, 120, 360, None, FIFTEEN, True, 0.2, None, None),
    "ranet-r18-camvid-small.*": Row(0.01, 1, "linear", 5e-4, 0, 8, 6, 192, 240, FIFTEEN, True, 0.2, 320, None),
    "sanet-r(18|50)-camvid(?!-small).*": Row(
        0.001, 10, "poly", 1e-4, 0, 8, 120, 360, None, UNIFORM, False, 0, None, None
    ),
    "sanet-r18-camvid-small.*": Row(0.001, 10, "poly", 1e-4, 0, 8, 3, 192, 240, UNIFORM, False, 0, 320, None),
    # from scratch: 0.15 with one loss, 0.05 with several
    "(danet|ranet|sanet)-tiny-camvid|dfdam-tiny-camvid(-sum)?": Row(
        0.05, 1, "poly", 5e-4, 0.99, 12, 120, 320, None, UNIFORM, False, 0.2, None, 480
    ),
    "(danet|sanet)-tiny-camvid-fcn|ranet-tiny-camvid-backbone|pdanet-tiny-camvid(-fcn)?": Row(
        0.15, 1, "poly", 5e-4, 0.99, 12, 120, 320, None, UNIFORM, False, 0.2, None, 480
    ),
}
"""By the names of recipes."""

EVERY = {name: recipe for paper in papers.every() for name, recipe in paper.recipes.items()}


def found(recipe: Recipe) -> Row:
    optimisation, seen, protocol = recipe.optimisation, recipe.augmentation, recipe.protocol
    assert (optimisation.unit, optimisation.momentum, optimisation.power) == ("epochs", 0.9, 0.9)
    assert (seen.edge, seen.flip, seen.shared, seen.limit) == ("short", True, False, None)
    assert (protocol.scales, protocol.flip, protocol.crop) == ((1.0,), False, None)
    assert (recipe.data.train, recipe.data.validation) == ("train", "val")
    assert (recipe.data.test, recipe.data.num_classes) == ("test", 11)
    return Row(
        optimisation.learning_rate,
        optimisation.head_multiplier,
        optimisation.schedule,
        optimisation.weight_decay,
        optimisation.ema,
        optimisation.batch,
        optimisation.length,
        seen.crop or 0,
        seen.base,
        seen.scale or (),
        seen.listed,
        seen.brightness,
        protocol.base,
        protocol.limit,
    )


@pytest.mark.parametrize("paper", papers.NAMES)
def test_rows_on_camvid_are_trained_as_written(paper: str) -> None:
    own = [name for name, recipe in EVERY.items() if recipe.data.name == "camvid" and name.startswith(f"{paper}-")]
    assert len(own) >= 6
    for name in own:
        rows = [row for pattern, row in TABLE.items() if re.fullmatch(pattern, name)]
        assert len(rows) == 1, f"{name}: {len(rows)} rows of the table are its"
        assert found(EVERY[name]) == rows[0], name


def test_each_row_of_the_table_is_a_recipes() -> None:
    assert [pattern for pattern in TABLE if not any(re.fullmatch(pattern, name) for name in EVERY)] == []
