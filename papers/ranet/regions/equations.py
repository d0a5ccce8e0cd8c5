"""Eq. (1) to (5) in plain PyTorch. i and j are pixels; of n = h * w pixels there are n * n pairs.

    B    b h w      boundary scores: how probably a pixel lies on a boundary
    C    b k h w    semantic scores: class probabilities
    D    n x n      how probably there is a boundary between two pixels
    E    n x n      how differently two pixels are classified
    F    n x n      region attention maps
    F^g  n x n      the same, regularised by W^g, which is a weight w and a bias b
    G    n x n      region decision maps: whether two pixels are grouped
    J    b h w      representative scores

        D_ij   = max(B on the line between i and j)                                                     Eq. (1)
        E_ij   = divergence(C_i, C_j)                                                                   Eq. (2)
        F_ij   = (1 - D_ij) (1 - E_ij)                                                                  Eq. (3)
        F^g_ij = w F_ij + b,  G_ij = [(F^g_ij + F^g_ji) / 2 > threshold]                                Eq. (4)
        J_i    = mean of F^g_ij over the pixels j of i's region, i included                             Eq. (5)

Three passes go over all pairs: `first_matches` finds what regions are made from, `region_means` the mean of F for J,
and `region_means_backward` the gradients. Each computes D and E again, for one tile of pairs at a time (`pairs.py`),
which it cuts on a CPU to the pairs that can still matter.
"""

import torch
from torch import Tensor

from papers.ranet.regions.pairs import halves
from papers.ranet.regions.tiles import Tile, box, wide


def first_matches(
    B: Tensor, C: Tensor, w: Tensor, b: Tensor, threshold: float, reading: str, boundary: bool, semantic: bool
) -> Tensor:
    """Return for each pixel the number of the first pixel, itself at the latest, that it is grouped with."""
    number = torch.arange(B[0].numel(), dtype=torch.int32, device=B.device).view(1, *B.shape[1:]).expand_as(B)
    follow = number.clone()
    for half in halves(B, C, (reading, boundary, semantic)):
        numbers, first = half.turn(number), half.turn(follow)
        for lines, tiles in half.lengths():
            for tile in tiles:
                # If grouped, a pair must lower what one of its pixels follows, which never has a higher number.
                lower = (tile.start(numbers) < tile.end(first)) | (tile.end(numbers) < tile.start(first))
                matters = lower & half.pairs(tile)
                if not (kept := box(matters)):
                    continue
                tile, matters = tile.cut(kept), matters[kept]
                D = lines.maxima(tile)  # Eq. (1)
                matters = matters & (torch.maximum(w * (1 - D) + b, b) > threshold)  # F^g is not above this
                if not (kept := box(matters)):
                    continue
                tile, matters, D = tile.cut(kept), matters[kept], D[kept]
                E, reverse = half.divergence.tile(tile)  # Eq. (2)
                F = (1 - D) * (1 - E)  # Eq. (3)
                if reverse is not E:
                    F = (F + (1 - D) * (1 - reverse)) / 2
                G = (w * F + b > threshold) & matters  # Eq. (4)
                _lower(first, numbers, tile, G)
    return follow.long()


def _lower(first: Tensor, numbers: Tensor, tile: Tile, grouped: Tensor) -> None:
    """Lower `first` of either pixel of each grouped pair to the number of the other one."""
    starts, ends = first[:, tile.starts, tile.rows], first[:, tile.ends, tile.end_rows]
    none = numbers[0].numel()
    torch.minimum(ends, torch.where(grouped, tile.start(numbers), none).amin(dim=1), out=ends)
    torch.minimum(starts, torch.where(grouped, tile.end(numbers), none).amin(dim=2), out=starts)


def region_means(B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool) -> Tensor:
    """Return the mean of F_ij over the pixels j of the region of i."""
    total = torch.ones_like(B, dtype=wide(B))  # F_ii = 1
    for half in halves(B, C, (reading, boundary, semantic)):
        regions, totals = half.turn(index.int()), half.turn(total)
        for lines, tiles in half.lengths():
            for tile, same in half.within_regions(regions, tiles):
                D, (E, reverse) = lines.maxima(tile), half.divergence.tile(tile)
                inside = (1 - D) * same
                tile.add(totals, inside * (1 - E), inside * (1 - reverse))  # Eq. (3) and the sum in Eq. (5)
    return (total / pixels_of_region(index)).to(B.dtype)  # Eq. (5)


def region_means_backward(
    dF: Tensor, B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for B and C, given those for the means of F."""
    dB, dC = torch.zeros_like(B), torch.zeros_like(C)
    share = (dF / pixels_of_region(index)).to(B.dtype)  # of each F_ij in the mean of i
    for half in halves(B, C, (reading, boundary, semantic)):
        regions, shares = half.turn(index.int()), half.turn(share).contiguous()
        for lines, tiles in half.lengths():
            for tile, same in half.within_regions(regions, tiles):
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
