"""All pairs of pixels of a map, a tile at a time, and the maximum of a map along the line between the two of each.

A line of length L makes L unit steps along its major axis, the one on which its ends are further apart. Maps come with
the major axis last, as (images, x, y). A pair then begins in (x, y) and ends in (x', y + L), where |x' - x| <= L, and
its samples t = 1 .. L - 1 lie at x + t (x' - x) / L of row y + t, between two neighbours of that row.

Enlarged L times along x, a map has a pixel at each of these places: x (L - t) + x' t of row y + t. For fixed t that is
linear in x, x' and y. So the samples of all pairs of one length are L - 1 strided views of one enlarged map, and their
maximum needs neither indices nor a table of all pairs. A map of 97 x 97, each pair taken once, has 2 billion samples.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Entries of a tile: on a CPU the tiles in use stay in cache; elsewhere they are as few as memory allows.
CPU_ENTRIES, DEVICE_ENTRIES = 2**17, 2**23


class Tile(NamedTuple):
    """Pairs of one length: those that begin in some columns x and rows y and end in some columns x' of row y + L.

    Tables over a tile have the shape (images, x, x', y). Where |x' - x| is too large, an entry is no pair.
    """

    length: int
    starts: slice
    ends: slice
    rows: slice

    def start(self, x: Tensor) -> Tensor:
        """Return the view of a map (... x y) at the start of each pair, ready to broadcast over x'."""
        return x[..., self.starts, None, self.rows]

    def end(self, x: Tensor) -> Tensor:
        """Return the view of a map (... x y) at the end of each pair, ready to broadcast over x."""
        return x[..., None, self.ends, self.end_rows]

    def add_to_starts(self, total: Tensor, table: Tensor) -> None:
        """Add each pair's entry to the map (images x y) at the pair's start."""
        total[:, self.starts, self.rows] += table.sum(dim=2)

    def add_to_ends(self, total: Tensor, table: Tensor) -> None:
        """Add each pair's entry to the map (images x y) at the pair's end."""
        total[:, self.ends, self.end_rows] += table.sum(dim=1)

    @property
    def end_rows(self) -> slice:
        """The rows in which the pairs end."""
        return slice(self.rows.start + self.length, self.rows.stop + self.length)

    def size(self, images: int) -> tuple[int, int, int, int]:
        """Return the shape of a table over the tile."""
        x, end, y = (part.stop - part.start for part in (self.starts, self.ends, self.rows))
        return images, x, end, y

    def cut(self, box: "Box") -> "Tile":
        """Return a part of the tile, given where its tables have it."""
        starts, ends, rows = (
            slice(whole.start + part.start, whole.start + part.stop)
            for whole, part in zip((self.starts, self.ends, self.rows), box[1:], strict=True)
        )
        return Tile(self.length, starts, ends, rows)


Box = tuple[slice, slice, slice, slice]  # of a table over a tile


def box(wanted: Tensor) -> Box | None:
    """Return the smallest part of a table over a tile that has all wanted entries; None if there are none.

    Only on a CPU: elsewhere waiting for the answer would cost more than it saves, and the whole table is returned.
    """
    if wanted.device.type != "cpu":
        images, starts, ends, rows = (slice(0, size) for size in wanted.shape)
        return images, starts, ends, rows
    table = wanted.view(torch.uint8).amax(dim=0)  # much faster than any()
    parts = [slice(0, len(wanted))]
    for kept in (table.flatten(1).amax(dim=1), (across := table.amax(dim=0)).amax(dim=1), across.amax(dim=0)):
        places = kept.nonzero().flatten().tolist()
        if not places:
            return None
        parts.append(slice(places[0], places[-1] + 1))
    images, starts, ends, rows = parts
    return images, starts, ends, rows


def tile_entries(x: Tensor) -> int:
    """Return how many entries a tile should have where x is."""
    return CPU_ENTRIES if x.device.type == "cpu" else DEVICE_ENTRIES


def tiles(images: int, width: int, height: int, length: int, entries: int) -> Iterator[Tile]:
    """Cut the pairs of a length on maps (images, width, height) into tiles of about as many entries."""
    rows = height - length
    step = max(1, min(width, entries // (images * width * rows)))
    for first in range(0, width, step):
        last = min(first + step, width)
        yield Tile(length, slice(first, last), slice(max(0, first - length), min(width, last + length)), slice(0, rows))


class Lines:
    """The lines of one length, at least 2, over maps B (images, x, y), and the gradient of a sum over their maxima."""

    def __init__(self, B: Tensor, length: int) -> None:
        self.length, self.height = length, B.shape[2]
        self.mask = 2 ** self.height.bit_length() - 1  # of the bits that hold a row
        self.weights = torch.arange(length, dtype=B.dtype, device=B.device)[:, None] / length
        self.fine = B.new_empty(B.shape[0], (B.shape[1] - 1) * length + 1, B.shape[2])
        between = self.fine[:, :-1].unflatten(1, (-1, length))
        torch.lerp(B[:, :-1, None], B[:, 1:, None], self.weights, out=between)
        self.fine[:, -1] = B[:, -1]

    def maxima(self, tile: Tile) -> Tensor:
        """Return D of each pair of a tile: the maximum of its samples."""
        return self._largest(self.fine, tile)

    def maxima_and_places(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return D and where in the enlarged maps, flattened, it was found: at the first of equal samples.

        A sample's bits, as float64, are made to end in the number of its row, so that one maximum finds both. The bits
        that this takes from a float32 are zeros; a float64 loses as many as the height has, less than 1e-13 of itself
        below 512 rows, and samples that agree in the others count as equal.
        """
        keys = self._largest(self._keys, tile)
        row = self.mask - (keys & self.mask)
        D = keys.bitwise_and_(~self.mask).view(torch.float64).to(self.fine.dtype)
        start, end, y = (torch.arange(s.start, s.stop, device=row.device) for s in (tile.starts, tile.ends, tile.rows))
        column = (end - start[:, None])[..., None] * (row - y) + self.length * start[:, None, None]
        image = torch.arange(len(self.fine), device=row.device)[:, None, None, None] * self.fine[0].numel()
        return D, image + column * self.height + row

    def pull(self, place: Tensor, dD: Tensor) -> None:
        """Take in the gradients for D that was found at some places."""
        self._sums.scatter_add_(0, place.flatten(), dD.flatten())

    def gradient(self) -> Tensor:
        """Return the gradient for B of all that was pulled: a sample's goes to the two pixels that it lies between."""
        fine = self._sums.view_as(self.fine)
        between = fine[:, :-1].unflatten(1, (-1, self.length))
        dB = fine.new_zeros(fine.shape[0], between.shape[1] + 1, fine.shape[2])
        dB[:, 1:] += (between * self.weights).sum(dim=2)
        dB[:, :-1] += (between * (1 - self.weights)).sum(dim=2)
        dB[:, -1] += fine[:, -1]
        return dB

    @functools.cached_property
    def _sums(self) -> Tensor:
        """The gradient for the enlarged maps, flattened."""
        return torch.zeros_like(self.fine).flatten()

    @functools.cached_property
    def _keys(self) -> Tensor:
        """The enlarged maps' bits as float64, the last replaced by mask - row, so that earlier rows are larger."""
        row = torch.arange(self.height, device=self.fine.device)
        return self.fine.double().view(torch.int64).bitwise_and_(~self.mask).bitwise_or_(self.mask - row)

    def _largest(self, fine: Tensor, tile: Tile) -> Tensor:
        """Return the maximum over t of the samples of enlarged maps, as (images, x, x', y)."""
        largest = self._sample(fine, tile, 1).clone(memory_format=torch.contiguous_format)
        for t in range(2, self.length):
            torch.maximum(largest, self._sample(fine, tile, t), out=largest)  # Eq. (1)
        return largest

    def _sample(self, fine: Tensor, tile: Tile, t: int) -> Tensor:
        """Return sample t of every pair of a tile, a view of enlarged maps (images, fine x, y)."""
        first = (self.length - t) * tile.starts.start + t * tile.ends.start
        strides = (fine.stride(0), (self.length - t) * self.height, t * self.height, 1)
        return fine.as_strided(tile.size(len(fine)), strides, first * self.height + tile.rows.start + t)


class NoLines:
    """Lines without samples: D is 0, as it is between neighbours, and has no gradient."""

    def __init__(self, B: Tensor) -> None:
        self.B = B

    def maxima(self, tile: Tile) -> Tensor:
        """Return zeros."""
        return self.B.new_zeros(tile.size(len(self.B)))

    def maxima_and_places(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return zeros, and a place that `pull` does not look at."""
        return self.maxima(tile), torch.zeros((), dtype=torch.int64, device=self.B.device)

    def pull(self, place: Tensor, dD: Tensor) -> None:
        """Do nothing."""

    def gradient(self) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(self.B)
