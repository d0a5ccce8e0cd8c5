"""Parameters and multiply-adds of DF-DAM, SANet and RANet, beside the tables of their papers.

    python -m ci.complexity

First the readings that decide, then each number that the papers print with ours, its status and the reason
(ci/comparison.py), then every recipe; each by the convention of its paper (ci/counting.py).

DF-DAM, Tables 4 and 6. The columns "Params" and "GFLOPs" are the only place where that paper says how large its layers
are. What they count is known from the rows of networks that are public: with the rules of `cost`, those of the tool
thop as of late 2019, PSPNet, DeepLab and FCN-8s come out as printed. Auxiliary classifiers count. Dilation10, RefineNet
and DUC were not tried.

SANet, Table 6. With the rules of `cost_by_ptflops`, at 480 x 480, Dilated FCN and DeepLab V3+ come out as printed.

RANet, Table 3: what its block adds to a backbone. The 21 M are met on the 512 channels that the header names; the table
as a whole cannot be: no convention of counting that was tried fits two of its five rows, the block of its row DANet has
on 512 channels less than half of the parameters printed, and RANet's multiply-adds grow with the number of
representatives, which is not printed.

The exit code is 1 if DF-DAM's form "budget" is not what the paper prints, or its form "text" is more than 0.25 % off;
or if SANet with the downsampling 8-4-2-1 is more than 0.2 % off in parameters or 0.5 % in multiply-adds. As the text
has it, 8 at every stage, the multiply-adds are 8.4 % below, which is printed and decides nothing.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from ci import comparison
from ci.columns import OVERHEADS, PRINTED, WHOLE
from ci.counting import SIZE, Complexity, complexity, cost, cost_by_ptflops, parameters, products
from ci.overheads import POSITIONS, REPRESENTATIVES, Kernel, ranet_block
from ci.readings import (
    FORMS,
    ROWS,
    SANET_BUDGET,
    SANET_CLASSES,
    SANET_REPORTED,
    SANET_SIZE,
    SANET_TEXT,
    Downsampling,
    Form,
    Row,
    ours,
    sanet,
)
from core.recipe import Recipe
from hub.networks import PAPERS, Paper

TOLERANCE = 0.0025  # of the form "text"


def meets(row: Row, form: Form) -> bool:
    """Whether the form "budget" is what the paper prints, or the form "text" within 0.25 % of it."""
    counted = ours(row, form)
    if form == "budget":
        return counted.printed() == row.reported.printed()
    return max(map(abs, counted.deviation(row.reported))) <= TOLERANCE


def line(row: Row, form: Form) -> str:
    """Return a line of the table that `main` prints."""
    counted, reported = ours(row, form), row.reported
    parameters, multiply_adds = counted.deviation(reported)
    return (
        f"{row.table}  {row.backbone:9}  {row.classes} classes  {form:6}  "
        f"{reported.parameters:7.2f} {counted.parameters:7.3f} {parameters:+7.2%}   "
        f"{reported.multiply_adds:7.2f} {counted.multiply_adds:7.3f} {multiply_adds:+7.2%}   "
        f"{'met' if meets(row, form) else 'NOT met'}"
    )


SANET_TOLERANCES = (0.002, 0.005)  # of parameters and multiply-adds


def sanet_meets(counted: Complexity) -> bool:
    """Whether both numbers are within their tolerances of Table 6."""
    deviations = counted.deviation(SANET_REPORTED)
    return all(abs(part) <= most for part, most in zip(deviations, SANET_TOLERANCES, strict=True))


def sanet_line(downsampling: Downsampling, counted: Complexity) -> str:
    """Return a line of the table that `main` prints."""
    parameters, multiply_adds = counted.deviation(SANET_REPORTED)
    reading = "-".join(map(str, downsampling))
    return (
        f"Table 6  resnet101  {SANET_CLASSES} classes  {reading}  "
        f"{SANET_REPORTED.parameters:5.1f} {counted.parameters:7.3f} {parameters:+7.2%}   "
        f"{SANET_REPORTED.multiply_adds:7.1f} {counted.multiply_adds:7.2f} {multiply_adds:+7.2%}   "
        f"{'met' if sanet_meets(counted) else 'NOT met'}"
    )


RANET_READINGS: tuple[tuple[Kernel, int], ...] = (
    (3, REPRESENTATIVES),
    (3, 500),
    (1, REPRESENTATIVES),
    (1, 600),
)
"""The kernel of the layers over representatives, and a number of representatives in the image: the text's, or one that
meets the multiply-adds."""


def ranet_line(kernel: Kernel, representatives: int) -> str:
    """Return a line of the table that `main` prints."""
    counted = ranet_block(kernel, representatives)
    first, second = (PRINTED[(*OVERHEADS, "RANet", column)] for column in ("parameters", "multiply-adds"))
    return (
        f"Table 3  {kernel}x{kernel} over {representatives} representatives  "
        f"{first.value:3.0f} {counted.parameters:6.2f} {first.deviation(counted.parameters):+7.2%}   "
        f"{second.value:4.0f} {counted.multiply_adds:6.1f} {second.deviation(counted.multiply_adds):+7.2%}"
    )


@dataclass(frozen=True)
class Convention:
    """How a paper counts, or how we do where it prints nothing, and the size of the image in pixels."""

    name: Literal["thop", "ptflops", "products"]
    size: tuple[int, int]

    def count(self, network: Callable[[], nn.Module]) -> Complexity:
        """Count a network.

        Raises:
            RuntimeError: if the number depends on the image.
        """
        if self.name == "products":
            return products(network, self.size)
        return complexity(network, self.size, cost if self.name == "thop" else cost_by_ptflops)


CONVENTIONS: dict[str, Convention] = {
    "danet": Convention("products", (769, 769)),
    "dfdam": Convention("thop", SIZE),
    "pdanet": Convention("products", (600, 600)),
    "ranet": Convention("products", (769, 769)),
    "sanet": Convention("ptflops", SANET_SIZE),
}
"""Of DANet, PDANet and RANet no whole network is in a table."""


def recipe_lines() -> Iterator[str]:
    """A line for each recipe: its parameters and multiply-adds, and what its paper prints."""
    counted: dict[tuple[str, int, Any], Complexity] = {}
    for paper in PAPERS.values():
        convention = CONVENTIONS[paper.folder]
        yield f"{paper.folder}, {convention.name} at 3 x {convention.size[0]} x {convention.size[1]}"
        for recipe in paper.recipes.values():
            key = (paper.folder, recipe.data.num_classes, recipe.architecture)
            if key not in counted:
                counted[key] = recipe_complexity(paper, recipe)
            yield recipe_line(recipe, counted[key])


def recipe_complexity(paper: Paper, recipe: Recipe[Any]) -> Complexity:
    """Count the network of a recipe; multiply-adds are not a number if they depend on the image."""

    def build() -> nn.Module:
        return paper.network(recipe.data.num_classes, recipe.architecture)  # type: ignore[call-arg]

    try:
        return CONVENTIONS[paper.folder].count(build)
    except RuntimeError as error:
        if "meta tensors" not in str(error):
            raise
        with torch.device("meta"):
            return Complexity(parameters(build()), math.nan)


def recipe_line(recipe: Recipe[Any], counted: Complexity) -> str:
    """Return a line of the table of all recipes."""
    operations = "depends on the image" if math.isnan(counted.multiply_adds) else f"{counted.multiply_adds:9.3f}"
    text = f"{recipe.name:46} {counted.parameters:8.3f}  {operations}"
    for row in recipe.reported:
        reported = WHOLE.get((row.paper, row.table, row.row))
        if reported is not None:
            first, second = counted.deviation(reported)
            text += f"  printed {reported.parameters:.2f} {first:+.2%}, {reported.multiply_adds:.2f} {second:+.2%}"
    return text


def main() -> int:
    """Print ours beside the papers'; return 1 if a target is missed."""
    sys.stdout.write(f"3 x {SIZE[0]} x {SIZE[1]}; parameters / 1e6 and multiply-adds / 1e9: paper, ours, difference\n")
    for row in ROWS:
        for form in FORMS:
            sys.stdout.write(line(row, form) + "\n")
    height, width = SANET_SIZE
    sys.stdout.write(f"SANet, 3 x {height} x {width}, by the attention channel's downsampling of each stage\n")
    readings = {downsampling: sanet(downsampling) for downsampling in (SANET_BUDGET, SANET_TEXT)}
    for downsampling, counted in readings.items():
        sys.stdout.write(sanet_line(downsampling, counted) + "\n")
    sys.stdout.write(f"RANet, what the released block adds on {POSITIONS} positions of 2048 channels\n")
    for kernel, representatives in RANET_READINGS:
        sys.stdout.write(ranet_line(kernel, representatives) + "\n")
    sys.stdout.write("Every printed number; parameters / 1e6, multiply-adds / 1e9, memory / 1e6 bytes\n")
    for text in comparison.table():
        sys.stdout.write(text + "\n")
    sys.stdout.write(
        "Every recipe; parameters / 1e6, multiply-adds / 1e9, and by how much they differ from the paper\n"
    )
    for text in recipe_lines():
        sys.stdout.write(text + "\n")
    met = all(meets(row, form) for row in ROWS for form in FORMS) and sanet_meets(readings[SANET_BUDGET])
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
