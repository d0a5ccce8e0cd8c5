"""All pairs of pixels of a batch, each taken once: the half that lies further apart along y, and the other half."""

from collections.abc import Iterator

import torch
from torch import Tensor

from papers.ranet.regions.divergence import JensenShannon, TopClass
from papers.ranet.regions.lines import Lines
from papers.ranet.regions.tiles import Tile, box, entries, tiles

Form = tuple[str, bool, bool]
"""What D and E are: reading, boundary and semantic of `RegionConstruction`."""


class Half:
    """Half of the pairs of some images: those further apart along y, or else along x.

    Maps are turned to have this major axis last. Pairs equally far apart on both axes count as further along y.
    """

    def __init__(self, B: Tensor, C: Tensor, images: slice, along_y: bool, form: Form) -> None:
        self.images, self.along_y = images, along_y
        reading, self.boundary, semantic = form
        self.B, C = self.turn(B).contiguous(), self.turn(C).contiguous()
        self.divergence = TopClass(C) if reading == "released" and semantic else JensenShannon(C, semantic)

    def turn(self, x: Tensor) -> Tensor:
        """Return the view of maps (b ... h w) of this half's images with the major axis last."""
        return x[self.images].mT if self.along_y else x[self.images]

    def lengths(self) -> Iterator[tuple[Lines, Iterator[Tile]]]:
        """Yield the lines of each length, the longest first, with the tiles of all pairs of that length."""
        images, width, height = self.B.shape
        for length in range(height - 1, 0, -1):  # long ones first: they find the earliest matches
            lines = Lines(self.B, length if self.boundary else 1)
            yield lines, tiles(images, width, height, length, entries(self.B))

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
    together = max(1, entries(B) // (B[0].numel() * max(B.shape[1:])))
    for first in range(0, len(B), together):
        for along_y in (True, False):
            yield Half(B, C, slice(first, first + together), along_y, form)
