"""What networks answer to a picture: labels, probabilities, and what a pixel attends to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from PIL import Image

import papers
from core import datasets
from core.errors import require, unknown
from core.images.panels import Attended, Point
from core.images.pixels import LOOKED_AT, scaled_size
from core.images.reading import STREET, Embedded, header, open_rgb
from core.networks.network import Network
from core.networks.prediction import Prediction
from core.recipe import Protocol
from hub.networks import from_pretrained

SIDES = (240, 480, LOOKED_AT)
"""The longest sides in pixels that a network may be given."""

MOST_PIXELS = 50_000_000
"""The pixels of a picture that is taken."""

SCENES = 5
"""How many drawn scenes there are to choose from, beside a real street."""


@dataclass
class Shelf:
    """The networks that can be chosen, each loaded when it is first asked.

    Attributes:
        names: run folders, names of bundled networks, or org/name of Hub repositories.
        device: where they compute.
    """

    names: tuple[str, ...]
    device: torch.device = torch.device("cpu")
    loaded: dict[str, Network] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = tuple(dict.fromkeys(self.names))

    def network(self, name: str) -> Network:
        """Return a network by its name.

        Raises:
            ValueError: if it is none of these, or can't be loaded.
            OSError: if the Hub can't be reached.
        """
        require(name in self.names, unknown("network", name, self.names))
        if name not in self.loaded:
            self.loaded[name] = from_pretrained(name).to(self.device)
        return self.loaded[name]


@dataclass(frozen=True)
class Answer:
    """What a network says to a picture.

    Attributes:
        name: of the network.
        prediction: labels and probabilities.
        attend: says what a point attends to. It raises ValueError if the network has no part that attends.
    """

    name: str
    prediction: Prediction
    attend: Callable[[Point], Attended]


def answer(shelf: Shelf, name: str, picture: Image.Image) -> Answer:
    """Ask a network, with the whole picture at once, as it is; what attends is looked at with the first point.

    Raises:
        ValueError: if there is no such network, or it can't be loaded.
        OSError: if the Hub can't be reached.
    """
    network = shelf.network(name)
    prediction = network.predict(picture, Protocol())
    paper = next(paper for paper in papers.every() if isinstance(network, paper.network))

    @cache
    def attention() -> Callable[[Point], Attended]:
        return paper.attention(network, picture)

    return Answer(name, prediction, lambda point: attention()(point))


def read(file: Path) -> Image.Image:
    """Decode a picture that was uploaded, and reduce it to the largest size that networks are given.

    Raises:
        ValueError: in a sentence that calls it by its own name, if it can't be read or is too large.
    """
    source = Embedded(file.read_bytes(), file.name)
    width, height, *_ = header(source)
    require(
        width * height <= MOST_PIXELS,
        f"{file.name} has {width} x {height} pixels; at most {MOST_PIXELS // 1_000_000} million are taken; reduce it",
    )
    return reduced(open_rgb(source), LOOKED_AT)


def reduced(picture: Image.Image, side: int) -> Image.Image:
    """A picture whose longest side is at most that long, in pixels; never enlarged."""
    height, width = scaled_size(picture.height, picture.width, "long", None, 1.0, limit=side)
    return picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.LANCZOS)


@cache
def offered() -> tuple[Image.Image, ...]:
    """What can be taken instead of a photograph of one's own: a street of CamVid, and drawn scenes."""
    rows = datasets.read("scenes", None, "test").rows
    return (open_rgb(STREET), *(open_rgb(row.image) for row in rows[:SCENES]))
