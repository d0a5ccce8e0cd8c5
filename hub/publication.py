"""What is published of a run, as one value: the card, the results and the folder are made from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants

import papers
from core import datasets
from core.datasets.dataset import Licence
from core.errors import require
from core.networks.network import About, Network
from core.paper import Paper
from core.recipe import Recipe
from hub.networks import ORIGIN

METRICS = {"mIoU": ("mean_iou", "mean_iou"), "pixel accuracy": ("pixel_accuracy", "accuracy")}
"""By the metric of a reported number: its name in score.json, and the Hub's."""

STARTS_FROM = "starts_from"
"""What is recorded as changed if the training began with other trained weights than the recipe says."""

BACKBONE_WEIGHTS = "backbone_weights"
"""What is recorded as changed if it began with other weights of the backbone."""

DATA = "data.name"
"""What is recorded as changed if it was trained on another data set."""

CITATION = Path(papers.__path__[0]).parent / "CITATION.cff"
PICTURE = "picture.png"
ONNX = "model.onnx"

Changes = Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Publication:
    """What a card tells of: weights of one recipe, what was changed in it, and their scores.

    `repository` is org/name on the Hub, or the name of a bundled network. `about` is the network's, `recipe` is as it
    was used, `changed` is how that differs from the published one. `scores` holds score.json first, then those of rows
    that test the same weights in another way; each is a pair of the recipe of the row and the JSON that the test wrote.
    `data_name` and `licence` are what the publisher says of data of his own. `files` are further ones of the folder.
    """

    repository: str
    paper: Paper
    recipe: Recipe[Any]
    network: Network
    about: About
    changed: Changes
    scores: tuple[tuple[Recipe[Any], dict[str, Any]], ...]
    data_name: str | None = None
    licence: str | None = None
    files: tuple[str, ...] = ()

    @property
    def data(self) -> str:
        """The data set of the training as the Hub is told of it."""
        name = self.about.recipe["data"]["name"].rpartition(":")[2]
        if self.data_name is None:
            return "own-data" if self.terms.own and "/" not in name else name
        return re.sub(r"[^\w.-]+", "-", self.data_name).strip("-").lower() or "own-data"

    @property
    def on_hub(self) -> bool:
        """Return True if the Hub has the data set under that name."""
        return "/" in self.data

    @property
    def terms(self) -> Licence:
        """The terms of the data that was learned from, in print."""
        dataset = datasets.find(self.about.recipe["data"]["name"])
        terms = dataset.licence
        require(
            terms.own or not (self.data_name or self.licence),
            f"--data-name and --licence are for data of your own; the terms of {terms.title} are known",
        )
        if self.licence is not None:
            terms = replace(terms, name=self.licence, terms=f"Its publisher gives the weights under {self.licence}.")
        return terms if self.data_name is None else replace(terms, title=self.data_name)

    @property
    def unseen(self) -> str:
        """What the network has never seen, in a sentence."""
        return datasets.find(self.about.recipe["data"]["name"]).unseen

    @property
    def drawn(self) -> bool:
        """Return True if it was trained on pictures that anyone may pass on."""
        return datasets.is_drawn(self.about.recipe["data"]["name"])

    @property
    def summary(self) -> str:
        """What the recipe is about, unless it names another data set than was learned from."""
        return "on other data" if DATA in self.changed else self.recipe.summary

    @property
    def began_with(self) -> str | None:
        """Whose trained weights the training began with, if not a backbone's."""
        return self.changed.get(STARTS_FROM, (None, self.recipe.starts_from))[1]

    @property
    def comparable(self) -> bool:
        """Return True if the reported number is one for weights such as these: only their origin was changed."""
        return not self.changed.keys() - {ORIGIN}

    @property
    def url(self) -> str:
        """The page of the repository."""
        return f"{constants.ENDPOINT}/{self.repository}"

    def name_of(self, row: Recipe[Any]) -> str:
        """How a row is called: not by the name of a recipe that was changed."""
        return row.name if self.comparable else f"{row.name}, changed"

    def file_of(self, row: Recipe[Any]) -> str:
        """The file of the repository that holds the score of a row."""
        return "score.json" if row.name == self.recipe.name else f"score-{row.name}.json"


def clone_address() -> str | None:
    """Where this code can be cloned from: `repository-code` of CITATION.cff; None if it does not say."""
    text = CITATION.read_text(encoding="utf-8") if CITATION.is_file() else ""
    found = re.search(r"^repository-code:\s*[\"']?([^\s\"']+)", text, re.MULTILINE)
    return found[1] if found else None
