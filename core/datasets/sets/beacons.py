"""The embedded data set that asks for context: what a block is, only a beacon at the other end of the picture says.

A picture has a beacon near one end and blocks near the other, on rough ground. Where the beacon is orange, its blocks
are of the class "warned", where it is blue, of the class "clear"; a block's own looks say nothing. More than `APART`
pixels lie between them. A network whose scores at a pixel depend on no more than `APART` pixels to either side must
guess what a block is, and one that carries context across the picture need not.

A picture is drawn from a seed and an index, as in `core.datasets.sets.scenes`.
"""

import functools
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from core.datasets.dataset import DataSet, Licence
from core.datasets.samples import Pairs
from core.datasets.sets.scenes import SPLITS, drawn
from core.errors import require
from core.images.classes import Classes

CLASSES = Classes(
    ("ground", "beacon", "warned", "clear"), ((110, 100, 90), (250, 220, 60), (215, 50, 40), (60, 160, 90))
)
GROUND, BEACON, WARNED, CLEAR = range(len(CLASSES))
COLOURS = {WARNED: (230, 110, 30), CLEAR: (40, 110, 230)}
"""Of the beacon, by the class of the blocks."""

HEIGHT, WIDTH, END, APART = 32, 288, 32, 184
"""Of a picture, of the end that holds the beacon, and of what lies between that end and the blocks, in pixels."""


def draw(seed: int, index: int) -> tuple[UInt8[np.ndarray, "32 288 3"], UInt8[np.ndarray, "32 288"]]:
    """Return the image and the labels of one picture, a pure function of the arguments; no pixel is ignored.

    Raises:
        ValueError: if `seed` or `index` is negative.
    """
    require(min(seed, index) >= 0, f"a picture needs seed and index of 0 or more, got seed {seed}, index {index}")
    rng = np.random.default_rng((seed, index))
    image = np.full((HEIGHT, WIDTH, 3), rng.uniform(60, 190, 3), np.float32)
    image += rng.uniform(-17, 17, (HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1)
    labels = np.full((HEIGHT, WIDTH), GROUND, np.uint8)

    def paint(rows: range, columns: range, place: range, kind: int, colour: np.ndarray) -> None:
        """Paint a rectangle of a random height and width at a random place."""
        height, width = int(rng.choice(rows)), int(rng.choice(columns))
        top, left = int(rng.integers(HEIGHT - height + 1)), int(rng.integers(place.start, place.stop - width + 1))
        image[top : top + height, left : left + width] = colour
        labels[top : top + height, left : left + width] = kind

    kind = int(rng.choice((WARNED, CLEAR)))
    paint(range(20, 33), range(24, 33), range(END), BEACON, np.array(COLOURS[kind]) * rng.uniform(0.8, 1.05))
    for _ in range(int(rng.integers(1, 4))):
        paint(range(12, 28), range(16, 50), range(END + APART, WIDTH), kind, rng.uniform(20, 240, 1))
    image += rng.uniform(-12, 12, image.shape)
    step = 1 if rng.random() < 0.5 else -1  # the beacon is on the left or on the right
    return np.clip(image[:, ::step], 0, 255).astype(np.uint8), np.ascontiguousarray(labels[:, ::step])


@functools.cache
def read(folder: Path | None, split: str) -> Pairs:
    """Return a split, drawn once; nothing lies in a folder."""
    return drawn(split, CLASSES, draw)


DATASET = DataSet(
    "beacons",
    "pictures that this package draws itself, 4 classes, two of which only far context tells apart",
    "nothing to download",
    read,
    Licence("Beacons", "Drawn by the code that trains on them, under Apache-2.0.", name="apache-2.0"),
    CLASSES,
    {split: (count,) for split, (_, count) in SPLITS.items()},
    size=(WIDTH, HEIGHT),
    unseen="a photograph: its pictures are drawn",
    in_folder=False,
)
