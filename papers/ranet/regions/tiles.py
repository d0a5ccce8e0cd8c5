"""Pairs of pixels of a map, a tile at a time, so that no table of all pairs is ever kept.

The length of a pair is how far apart its pixels are along its major axis, the one on which they are further apart.
Maps have the major axis last, as (images, x, y): a pair begins in (x, y) and ends in (x', y + length), where
|x' - x| <= length.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CPU_ENTRIES = 2**17  # of a tile: the few tables in use stay in the cache of a core
DEVICE_ENTRIES = 2**23  # elsewhere tiles are as few as memory allows: 34 MB for each table in float32

Box = tuple[slice, slice, slice, slice]
"""A part of a table over a tile."""


class Tile(NamedTuple):
    """Pairs of one length: those that begin in some columns x and rows y and end in some columns x' of row y + length.

    Tables over a tile have the shape (images, x, x', y). Where |x' - x| is too large, an entry is no pair.
    """

    length: int
    starts: slice
    ends: slice
    rows: slice

    @property
    def end_rows(self) -> slice:
        """The rows in which the pairs end."""
        return slice(self.rows.start + self.length, self.rows.stop + self.length)

    def size(self, images: int) -> tuple[int, int, int, int]:
        """Return the shape of a table over the tile."""
        x, end, y = (part.stop - part.start for part in (self.starts, self.ends, self.rows))
        return images, x, end, y

    def start(self, x: Tensor) -> Tensor:
        """Return the view of a map (... x y) at the start of each pair, ready to broadcast over x'."""
        return x[..., self.starts, None, self.rows]

    def end(self, x: Tensor) -> Tensor:
        """Return the view of a map (... x y) at the end of each pair, ready to broadcast over x."""
        return x[..., None, self.ends, self.end_rows]

    def add(self, total: Tensor, at_start: Tensor, at_end: Tensor) -> None:
        """Add the entries of two tables to a map (images x y): of one at the start of each pair, of one at its end."""
        total[:, self.starts, self.rows] += at_start.sum(dim=2)
        total[:, self.ends, self.end_rows] += at_end.sum(dim=1)

    def cut(self, box: Box) -> "Tile":
        """Return the tile of a part of its tables."""
        wholes = self.starts, self.ends, self.rows
        parts = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(wholes, box[1:], strict=True))
        return Tile(self.length, *parts)


def box(wanted: Tensor) -> Box | None:
    """Return the smallest part of a table over a tile that has all wanted entries; None if there are none.

    Only on a CPU: elsewhere waiting for the answer would cost more than it saves, and the whole table is returned.
    """
    if wanted.device.type != "cpu":
        images, starts, ends, rows = (slice(0, size) for size in wanted.shape)
        return images, starts, ends, rows
    table = wanted.view(torch.uint8).amax(dim=0)  # much faster than any()
    across = table.amax(dim=0)
    parts = []
    for kept in (table.flatten(1).amax(dim=1), across.amax(dim=1), across.amax(dim=0)):
        places = kept.nonzero().flatten().tolist()
        if not places:
            return None
        parts.append(slice(places[0], places[-1] + 1))
    return slice(0, len(wanted)), parts[0], parts[1], parts[2]


def entries(x: Tensor) -> int:
    """Return how many entries a tile should have where x is."""
    return CPU_ENTRIES if x.device.type == "cpu" else DEVICE_ENTRIES


def wide(x: Tensor) -> torch.dtype:
    """Return the dtype of sums over all pixels where x is: float64, or float32 on Apple's GPUs, which lack it."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def tiles(images: int, width: int, height: int, length: int, size: int) -> Iterator[Tile]:
    """Cut the pairs of a length on maps (images, width, height) into tiles of about `size` entries."""
    rows = height - length
    step = max(1, min(width, size // (images * width * rows)))
    for first in range(0, width, step):
        last = min(first + step, width)
        yield Tile(length, slice(first, last), slice(max(0, first - length), min(width, last + length)), slice(0, rows))
