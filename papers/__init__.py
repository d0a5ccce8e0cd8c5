"""The papers, one folder each, which never import each other.

Every folder keeps the same contracts:

* `model.py`: a network maps an image `b 3 h w` to a NamedTuple whose `.scores` is `b k h w` at input size. Its
  `Architecture` is a frozen dataclass, so that it can stand in a recipe and in `config.json`.
* `loss.py`: `loss(output, labels) -> dict[str, Tensor]` gives named terms, already weighted; their sum is minimised.
* `attention.py`: what a pixel attends to, for the figures and the page.
* `recipes.py`: one value for each row that the paper reports. It ends in `PAPER`, which says all that the Hub, the
  gates and the tests must know of the paper.
* `train.py`, `evaluate.py`, `figures.py`: the commands.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import core

if Path(core.__file__ or "").resolve().parent != Path(__file__).resolve().parents[1] / "core":
    raise ImportError(
        f"`core` is {core.__file__} here, not the package beside {Path(__file__).parent}: a folder or file of that "
        "name lies where Python was started, or earlier on its path; start Python elsewhere, or rename it"
    )

from core.errors import require, unknown

if TYPE_CHECKING:
    from core.paper import Paper

NAMES = ("danet", "dfdam", "pdanet", "ranet", "sanet")
"""The folders, which are the only list of the papers."""


def every() -> Iterator["Paper"]:
    """Load the papers one after another."""
    return (import_module(f"papers.{name}.recipes").PAPER for name in NAMES)


def named(folders: Iterable[str]) -> list["Paper"]:
    """The papers of these folders.

    Raises:
        ValueError: if there is no such paper.
    """
    found = {paper.folder: paper for paper in every()}
    for folder in folders:
        require(folder in found, unknown("paper", folder, found))
    return [found[folder] for folder in folders]


def paper_of(recipe: str) -> "Paper":
    """The paper that has a recipe.

    Raises:
        ValueError: if none has.
    """
    for paper in every():
        if recipe in paper.recipes:
            return paper
    raise ValueError(f"no paper has a recipe {recipe!r}; --help of a paper's train.py lists its recipes")
