"""The training conditions of a recipe, compared with a table that was written from the papers and the authors' code.

Nothing here comes from the recipes or from their defaults: every value of a condition is spelled out. A condition that
is new in `core.recipe` is one more argument here, so that somebody decides it for every row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.recipe import Recipe
from core.values import differences, to_json

Values = dict[str, Any]


def backbone(name: str, *, stem: str = "plain", output_stride: int, multi_grid: list[int] | None = None) -> Values:
    """A feature extractor; without multi-grid the last stage is dilated by what keeps its stride."""
    return {"name": name, "stem": stem, "output_stride": output_stride, "multi_grid": multi_grid, "in_channels": 3}


def augmentation(
    *,
    crop: int | None,
    base: int | None,
    edge: str,
    scale: list[float] | None,
    listed: bool = False,
    flip: bool,
    brightness: float = 0.0,
    shared: bool = False,
    limit: int | None = None,
    multiple: int = 1,
) -> Values:
    """How a training sample is made."""
    return dict(locals())


def optimisation(
    *,
    learning_rate: float,
    batch: int,
    length: int,
    unit: str,
    schedule: str = "poly",
    power: float = 0.9,
    head_multiplier: float,
    momentum: float = 0.9,
    weight_decay: float,
    ema: float = 0.0,
    optimiser: str = "sgd",
    warmup: int = 0,
    clip: float | None = None,
    class_weights: str = "none",
    freeze: str = "none",
) -> Values:
    """Stochastic gradient descent. All five papers name SGD; four of them 'poly' with power 0.9 and momentum 0.9.

    None of the texts and of the released codes warms up, clips gradients, weighs classes or freezes anything.
    """
    return dict(locals())


def protocol(
    *,
    crop: int | None,
    stride: int | None,
    base: int | None,
    edge: str,
    scales: list[float],
    flip: bool,
    merge: str,
    border: str = "shifted",
    limit: int | None = None,
    multiple: int = 1,
) -> Values:
    """How an image is tested."""
    return dict(locals())


def data(name: str, num_classes: int, train: str, validation: str, test: str) -> Values:
    """Which images."""
    return dict(locals())


@dataclass(frozen=True)
class Row:
    """All conditions of one row of a paper."""

    architecture: Values
    data: Values
    augmentation: Values
    optimisation: Values
    protocol: Values
    same_weights_as: str | None = None
    starts_from: str | None = None
    backbone_weights: str = "hub"
    also_weights: list[str] = field(default_factory=list)


def departures(recipes: Mapping[str, Recipe[Any]], table: Mapping[str, Row]) -> list[str]:
    """Return a line for each condition in which a recipe is not the row of its name."""
    lines = []
    for name, row in table.items():
        given = to_json(recipes[name])
        for part, expected in vars(row).items():
            found = given[part]
            if part == "architecture":  # the table says what the paper says; a reading of our own may add to it
                found = {key: value for key, value in found.items() if key in expected}
            for place, (ours, theirs) in differences({part: found}, {part: expected}).items():
                lines.append(f"{name}: {place} is {ours}, and should be {theirs}")
    return lines


def of_the_paper(recipes: Mapping[str, Recipe[Any]]) -> set[str]:
    """Return the recipes that bear a printed number, and those whose weights they need."""
    names = {name for name, recipe in recipes.items() if recipe.reported}
    while True:
        needed = {other for name in names for other in (recipes[name].same_weights_as, recipes[name].starts_from)}
        larger = names | {other for other in needed if other is not None}
        if larger == names:
            return names
        names = larger
