"""Eq. (4) and (5) where W^g is a kernel of 3x3: each region attention map F_i is an image of j, and is convolved.

        F^g_ij = sum_d W_d F_i,j+d + b                                                                  Eq. (4)
        J_i    = sum_d W_d (mean of F_i,j+d over the pixels j of i's region) + b                        Eq. (5)

d runs over the nine neighbours; beyond the border F is 0. Unlike with a single number, F^g of a pair needs nine pairs:
the grouping keeps F of one image at a time, 354 MB for 97 x 97 pixels, and is plain PyTorch on any device.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from papers.ranet.regions.equations import pixels_of_region
from papers.ranet.regions.pairs import Form, halves

NOWHERE = -1  # the region of what lies beyond the border


def attention_maps(B: Tensor, C: Tensor, form: Form) -> Tensor:
    """Return F of one image (1 h w, 1 k h w) as n images of h x w."""
    pixels = B[0].numel()
    number = torch.arange(pixels, device=B.device).view(1, *B.shape[1:])
    F = torch.eye(pixels + 1, dtype=B.dtype, device=B.device)  # the last row and column take what is no pair
    for half in halves(B, C, form):
        numbers = half.turn(number)
        for lines, tiles in half.lengths():
            for tile in tiles:
                D, (E, reverse) = lines.maxima(tile), half.divergence.tile(tile)  # Eq. (1), Eq. (2)
                pair = half.pairs(tile).expand_as(D)
                start, end = (torch.where(pair, x, pixels) for x in (tile.start(numbers), tile.end(numbers)))
                F[start, end] = (1 - D) * (1 - E)  # Eq. (3)
                F[end, start] = (1 - D) * (1 - reverse)
    return F[:pixels, :pixels].reshape(pixels, *B.shape[1:])


def first_matches(B: Tensor, C: Tensor, W: Tensor, b: Tensor, threshold: float, form: Form) -> Tensor:
    """Return for each pixel the number of the first pixel, itself at the latest, that it is grouped with."""
    pixels = B[0].numel()
    itself = torch.arange(pixels, device=B.device)
    found = []
    for image in range(len(B)):
        F = attention_maps(B[image : image + 1], C[image : image + 1], form)
        F = functional.conv2d(F[:, None], W[None, None].to(F), padding=1).view(pixels, pixels) + b.to(F)
        symmetric = (F + F.T) / 2
        G = (symmetric > threshold) | torch.eye(pixels, dtype=torch.bool, device=F.device)  # Eq. (4)
        found.append(torch.minimum(G.byte().argmax(dim=1), itself))
    return torch.stack(found).view_as(B)


def shifted(index: Tensor) -> list[Tensor]:
    """Return, for each place d of the kernel in raster order, the region of j' - d at each j'."""
    padded = functional.pad(index, (1, 1, 1, 1), value=NOWHERE)
    h, w = index.shape[1:]
    return [padded[:, 2 - y : 2 - y + h, 2 - x : 2 - x + w] for y in range(3) for x in range(3)]


class NeighbourMeans(torch.autograd.Function):
    """For each d, the mean of F_i,j+d over the pixels j of i's region: nine maps, 9 b h w."""

    @staticmethod
    def forward(ctx: Any, B: Tensor, C: Tensor, index: Tensor, form: Form) -> Tensor:
        """Add F_ij' to i's sum of d where j' - d is in the region of i."""
        ctx.save_for_backward(B, C, index)
        ctx.form = form
        regions = shifted(index)
        totals = [(region == index).double() for region in regions]  # F_ii = 1
        for half in halves(B, C, form):
            own, others = half.turn(index), [half.turn(region) for region in regions]
            sums = [half.turn(total) for total in totals]
            for lines, tiles in half.lengths():
                for tile in tiles:
                    pair = half.pairs(tile)
                    D, (E, reverse) = lines.maxima(tile), half.divergence.tile(tile)
                    there, back = (1 - D) * (1 - E) * pair, (1 - D) * (1 - reverse) * pair
                    for other, total in zip(others, sums, strict=True):
                        tile.add(
                            total,
                            there * (tile.start(own) == tile.end(other)),
                            back * (tile.end(own) == tile.start(other)),
                        )
        return torch.stack(totals).to(B.dtype) / pixels_of_region(index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients for B and C."""
        B, C, index = ctx.saved_tensors
        dB, dC = torch.zeros_like(B), torch.zeros_like(C)
        regions = shifted(index)
        shares = gradients[0] / pixels_of_region(index)
        for half in halves(B, C, ctx.form):
            own, others = half.turn(index), [half.turn(region) for region in regions]
            parts = [half.turn(share) for share in shares]
            for lines, tiles in half.lengths():
                for tile in tiles:
                    D, place = lines.maxima_and_places(tile)
                    dF_start, dF_end = torch.zeros_like(D), torch.zeros_like(D)
                    for other, part in zip(others, parts, strict=True):
                        dF_start += tile.start(part) * (tile.start(own) == tile.end(other))
                        dF_end += tile.end(part) * (tile.end(own) == tile.start(other))
                    pair = half.pairs(tile)
                    dF_start, dF_end = dF_start * pair, dF_end * pair
                    E, reverse = half.divergence.pull(tile, dF_start * (D - 1), dF_end * (D - 1))
                    lines.pull(place, dF_start * (E - 1) + dF_end * (reverse - 1))
                half.turn(dB).add_(lines.gradient())
            half.turn(dC).add_(half.divergence.gradient())
        return dB, dC, None, None
