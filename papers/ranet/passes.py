"""RANet's region construction: the passes over all pairs of pixels, in plain PyTorch.

The names are those of `construction.py`. Tables of pairs only ever exist for one tile at a time (`lines.py`). The first
pass finds what each pixel follows, the second one the means of F, and the backward pass computes D, E and F once more.
On a CPU each cuts its tiles to those pairs that can matter: in the first pass, pairs whose earlier pixel comes before
the one that the later pixel already follows, and of these, for E, those whose D allows a match; afterwards, pairs of
one region.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from papers.ranet.divergence import Divergence, JensenShannon, NoDivergence, TopClass
from papers.ranet.lines import Lines, NoLines, Tile, box, tile_entries, tiles


class Form(NamedTuple):
    """What D and E are: the arguments of `RegionConstruction`."""

    reading: str
    boundary: bool
    semantic: bool


class Half:
    """Half of the pairs of some images: those further apart along y, or else along x.

    Maps are turned to have this major axis last. Pairs equally far apart on both axes count as further along y.
    """

    def __init__(self, B: Tensor, C: Tensor, images: slice, along_y: bool, form: Form) -> None:
        self.images, self.along_y, self.boundary = images, along_y, form.boundary
        self.B, C = self.turn(B).contiguous(), self.turn(C).contiguous()
        self.divergence: Divergence
        if not form.semantic:
            self.divergence = NoDivergence(C)
        else:
            self.divergence = JensenShannon(C) if form.reading == "paper" else TopClass(C)

    def turn(self, x: Tensor) -> Tensor:
        """Return the view of maps (b ... h w) of this half's images with the major axis last."""
        return x[self.images].mT if self.along_y else x[self.images]

    def lengths(self) -> Iterator[tuple[Lines | NoLines, Iterator[Tile]]]:
        """Yield the lines of each length, the longest first, with the tiles of all pairs of that length."""
        images, width, height = self.B.shape
        for length in range(height - 1, 0, -1):  # long ones first: they find the earliest matches
            lines = Lines(self.B, length) if self.boundary and length > 1 else NoLines(self.B)
            yield lines, tiles(images, width, height, length, tile_entries(self.B))

    def pairs(self, tile: Tile) -> Tensor:
        """Return whether an entry of a tile is a pair of this half, as (x, x', 1)."""
        start, end = (torch.arange(s.start, s.stop, device=self.B.device) for s in (tile.starts, tile.ends))
        return ((end - start[:, None]).abs() < tile.length + self.along_y)[..., None]

    def within_regions(self, regions: Tensor, all_tiles: Iterator[Tile]) -> Iterator[tuple[Tile, Tensor]]:
        """Yield tiles, cut to the pairs of which both pixels are of one region, and which entries these are."""
        for tile in all_tiles:
            same = (tile.start(regions) == tile.end(regions)) & self.pairs(tile)
            if kept := box(same):
                yield tile.cut(kept), same[kept]


def halves(B: Tensor, C: Tensor, form: Form) -> Iterator[Half]:
    """Yield both halves of the pairs of a batch, of as many images at a time as fit a tile."""
    together = max(1, tile_entries(B) // (B[0].numel() * max(B.shape[1:])))
    for first in range(0, len(B), together):
        for along_y in (True, False):
            yield Half(B, C, slice(first, first + together), along_y, form)


def first_matches(
    B: Tensor, C: Tensor, w: Tensor, b: Tensor, threshold: float, reading: str, boundary: bool, semantic: bool
) -> Tensor:
    """Return for each pixel the number of the first pixel, itself at the latest, that it is grouped with."""
    number = torch.arange(B[0].numel(), dtype=torch.int32, device=B.device).view(1, *B.shape[1:]).expand_as(B)
    follow = number.clone()
    for half in halves(B, C, Form(reading, boundary, semantic)):
        numbers, first = half.turn(number), half.turn(follow)
        for lines, all_tiles in half.lengths():
            for whole in all_tiles:
                open_pairs = _could_lower(first, numbers, whole) & half.pairs(whole)
                if not (kept := box(open_pairs)):
                    continue
                tile = whole.cut(kept)
                D = lines.maxima(tile)
                open_pairs = open_pairs[kept] & (torch.maximum(w * (1 - D) + b, b) > threshold)  # F^g is not above this
                if not (kept := box(open_pairs)):
                    continue
                tile, D = tile.cut(kept), D[kept]
                E, reverse = half.divergence.tile(tile)
                F = (1 - D) * (1 - E)  # Eq. (3)
                if reverse is not E:
                    F = (F + (1 - D) * (1 - reverse)) / 2
                _lower(first, numbers, tile, (w * F + b > threshold) & open_pairs[kept])  # Eq. (4)
    return follow.long()


def _could_lower(first: Tensor, numbers: Tensor, tile: Tile) -> Tensor:
    """Return which pairs, if grouped, would lower `first` of a pixel; it never exceeds the pixel's own number."""
    return (tile.start(numbers) < tile.end(first)) | (tile.end(numbers) < tile.start(first))


def _lower(first: Tensor, numbers: Tensor, tile: Tile, grouped: Tensor) -> None:
    """Lower `first` of either pixel of each grouped pair to the number of the other one."""
    starts, ends = first[:, tile.starts, tile.rows], first[:, tile.ends, tile.end_rows]
    none = numbers[0].numel()
    torch.minimum(ends, torch.where(grouped, tile.start(numbers), none).amin(dim=1), out=ends)
    torch.minimum(starts, torch.where(grouped, tile.end(numbers), none).amin(dim=2), out=starts)


def region_means(B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool) -> Tensor:
    """Return the mean of F_ij over the pixels j of the region of i."""
    total = torch.ones_like(B, dtype=torch.float64)  # F_ii = 1
    for half in halves(B, C, Form(reading, boundary, semantic)):
        regions, totals = half.turn(index.int()), half.turn(total)
        for lines, all_tiles in half.lengths():
            for tile, same in half.within_regions(regions, all_tiles):
                kept, (E, reverse) = (1 - lines.maxima(tile)) * same, half.divergence.tile(tile)
                tile.add_to_starts(totals, kept * (1 - E))  # Eq. (3) and the sum in Eq. (5)
                tile.add_to_ends(totals, kept * (1 - reverse))
    return (total / pixels_of_region(index)).to(B.dtype)


def region_means_backward(
    dF: Tensor, B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for B and C."""
    dB, dC = torch.zeros_like(B), torch.zeros_like(C)
    share = (dF / pixels_of_region(index)).to(B.dtype)  # of each F_ij in the mean of i
    for half in halves(B, C, Form(reading, boundary, semantic)):
        regions, shares = half.turn(index.int()), half.turn(share).contiguous()
        for lines, all_tiles in half.lengths():
            for tile, same in half.within_regions(regions, all_tiles):
                D, place = lines.maxima_and_places(tile)
                dF_start, dF_end = tile.start(shares) * same, tile.end(shares) * same
                E, reverse = half.divergence.pull(tile, dF_start * (D - 1), dF_end * (D - 1))
                lines.pull(place, dF_start * (E - 1) + dF_end * (reverse - 1))
            half.turn(dB).add_(lines.gradient())
        half.turn(dC).add_(half.divergence.gradient())
    return dB, dC


def pixels_of_region(index: Tensor) -> Tensor:
    """Return for each pixel how many pixels its region has."""
    flat = index.flatten(1)
    count = torch.zeros_like(flat).scatter_add_(1, flat, torch.ones_like(flat))
    return count.gather(1, flat).view_as(index)
