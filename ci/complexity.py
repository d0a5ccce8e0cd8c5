"""Parameters and multiply-adds of every recipe, and each number that the papers print of them beside ours.

    python -m ci.complexity

First what the papers print (DF-DAM's Tables 4 and 6, RANet's Table 3, SANet's Table 6), then every recipe; each by the
convention of its paper (core/networks/complexity.py). The exit code is 1 if a printed number that has a target is
missed.
"""

import math
import sys
from collections.abc import Iterator
from typing import Any

import papers
from core.networks.complexity import Complexity, Printed
from core.paper import Paper


def columns(paper: Paper) -> list[Printed]:
    """What a paper prints, beside ours."""
    return [] if paper.columns is None else list(paper.columns())


def recipe_lines(paper: Paper) -> Iterator[str]:
    """A line for each recipe: its parameters and multiply-adds; a network that several share is counted once."""
    height, width = paper.convention.size
    yield f"{paper.name}, {paper.convention.rules} at 3 x {height} x {width}: parameters / 1e6, multiply-adds / 1e9"
    counted: dict[tuple[int, Any], Complexity] = {}
    for recipe in paper.recipes.values():
        key = recipe.data.num_classes, recipe.architecture
        if key not in counted:
            counted[key] = paper.convention.count(lambda recipe=recipe: paper.build(recipe))  # type: ignore[misc]
        found = counted[key]
        operations = "depends on the image" if math.isnan(found.multiply_adds) else f"{found.multiply_adds:9.3f}"
        yield f"{recipe.name:46} {found.parameters:8.3f}  {operations}"


def main() -> int:
    """Print ours beside the papers'; return 1 if a target is missed."""
    missed = 0
    for paper in papers.every():
        lines = columns(paper)
        missed += sum(line.met is False for line in lines)
        sys.stdout.writelines(f"{paper.name}, {line}\n" for line in lines)
    for paper in papers.every():
        sys.stdout.writelines(f"{line}\n" for line in recipe_lines(paper))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
