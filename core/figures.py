"""What the figures of all papers begin with: a photo, weights that are there, and points of the photo."""

import re
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from core import datasets
from core.images.reading import open_rgb

Point = tuple[int, int]
"""A pixel of an image: x to the right, y down."""


def open_photo(photo: Path | None, scene: int = 1) -> Image.Image:
    """Open a photo in RGB; without one, an embedded scene of the test split, by its number.

    Raises:
        ValueError: if there is no such file, or it can't be read.
    """
    if photo is None:
        return open_rgb(datasets.read("scenes", None, "test").rows[scene].image)
    return open_rgb(photo)


def refuse_missing_weights(weights: str, demo: str) -> None:
    """Say that the run of a demo is not there yet; other names may be repositories on the Hub.

    Args:
        weights: a run folder or org/name.
        demo: the run folder that is meant without one.

    Raises:
        ValueError: if the weights are the demo's and there is no such folder.
    """
    if weights == demo and not Path(weights).is_dir():
        raise ValueError(f"there are no weights in {weights}; run train.py first, or pass --weights")


def parse_points(texts: Iterable[str], width: int, height: int) -> list[Point]:
    """Read points, each "x,y".

    Raises:
        ValueError: if one is not two numbers inside the image of `width` x `height` pixels.
    """
    points = []
    for text in texts:
        match = re.fullmatch(r"(\d+),(\d+)", text)
        if match is None or int(match[1]) >= width or int(match[2]) >= height:
            raise ValueError(f"--point must be x,y with x below {width} and y below {height}, got {text!r}")
        points.append((int(match[1]), int(match[2])))
    return points
