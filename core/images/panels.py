"""What a network attends to in a picture, as panels: values and their meaning, which `painting.py` draws."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

Point = tuple[int, int]
"""A pixel of an image: x to the right, y down."""

Colours = Literal["viridis", "gray", "jet", "jet_r", "numbers"]
"""From low to high values; "numbers" gives each whole number a colour of its own, and -1 black."""


@dataclass(frozen=True)
class Panel:
    """A map that covers the picture: each position has the same share of its width and height.

    Attributes:
        title: what it shows, in a few words.
        values: one for each position.
        colours: of the values.
        low, high: the values of the first and the last colour; None: the least and the largest of the map.
        smooth: interpolate between positions, instead of showing each as a block.
        frame: row and column of a position that gets a frame.
        dots: a row for each dot: x and y as shares of the picture's width and height, and a weight from 0 to 1, which
            decides how bright it is.
    """

    title: str
    values: Float[Tensor, "h w"] | Int64[Tensor, "h w"]
    colours: Colours = "viridis"
    low: float | None = None
    high: float | None = None
    smooth: bool = True
    frame: tuple[int, int] | None = None
    dots: Float[Tensor, "d 3"] | None = None


@dataclass(frozen=True)
class Curves:
    """Values from 0 to 1 that have no place in the picture: named lines over the numbers 1, 2, 3, ... of `axis`."""

    title: str
    axis: str
    lines: Mapping[str, Float[Tensor, " c"]]


@dataclass(frozen=True)
class Attended:
    """What a point of a picture attends to: a sentence that says how to read the panels, and the panels."""

    sentence: str
    panels: tuple[Panel | Curves, ...]


Attention = Callable[[Any, Image.Image], Callable[[Point], Attended]]
"""Looks at a picture with a network; what it returns says what a point of that picture attends to.

It raises ValueError if the network has no part that attends.
"""


def position_of(point: Point, picture: Image.Image, maps: Tensor) -> tuple[int, int]:
    """Row and column of the position of maps (... h w) that a pixel of a picture falls into."""
    (x, y), (h, w) = point, maps.shape[-2:]
    return y * h // picture.height, x * w // picture.width
