"""RANet's region construction: which pixels belong together, and how well each stands for its region.

Eq. (1) to (5) and their letters stand in `equations.py`.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from core.errors import refuse_unknown, require
from papers.ranet.regions import neighbourhood, operators

Reading = Literal["paper", "released"]
Kernel = Literal[1, 3]


class Regions(NamedTuple):
    """The regions of a batch of images."""

    # The region of each pixel, 0 .. number - 1 in raster order of their first pixels; it hides the method of tuples.
    index: Int64[Tensor, "b h w"]  # type: ignore[assignment]
    J: Float[Tensor, "b h w"]  # representative scores
    number: Int64[Tensor, " b"]  # Q


class RegionConstruction(nn.Module):
    """Divides images into regions by boundary and semantic scores (RCB, Figures 2 and 3).

    The line is open: its ends do not count, and D of neighbours is 0. Each pixel follows the first pixel in raster
    order that it is grouped with; a region is all the pixels that end at the same one.

    Unlike the text, whose Eq. (2) is no divergence as printed, E is the Jensen-Shannon divergence in bits, or with
    reading "released" that of the start's most probable class alone (`divergence.py`). Unlike the text, whose sgn in
    Eq. (4) would group all pixels because F is never negative, there is a threshold. Unlike the text, which does not
    say how G, which is not transitive, divides an image, pixels follow one another as in the authors' code.

    `weight` w and `bias` b are W^g, 1 and 0 at first; they learn through J alone, for G has no gradient, nor has the
    choice of regions. With reading "released", which does not apply W^g, there are none. Everything is float32 (float64
    if B and C are), also under autocast. Memory grows with n; the time of a CPU grows with n^2 (max(h, w) + k).

    Args:
        reading: "paper", or "released" for the divergence of the authors' code and no W^g.
        threshold: above which F^g, averaged over both directions, two pixels are grouped. F is right to about 1e-6 in
            float32, so closer to the threshold rounding decides.
        boundary: without it, D is 0.
        semantic: without it, E is 0.
        kernel: of W^g: 1, a number as in the authors' code, or 3, a 3x3 kernel over each map of region attention F_i,
            from the identity; see `neighbourhood.py`. The text has "the convolutional kernel" and no size.

    Raises:
        ValueError: if the reading is unknown.
    """

    def __init__(
        self,
        reading: Reading = "paper",
        threshold: float = 0.8,
        boundary: bool = True,
        semantic: bool = True,
        kernel: Kernel = 1,
    ) -> None:
        super().__init__()
        refuse_unknown("the reading of RegionConstruction", reading, Reading)
        refuse_unknown("the kernel of RegionConstruction", kernel, Kernel)
        require(
            kernel == 1 or reading == "paper", 'a kernel of 3 is of the reading "paper": the released one has no W^g'
        )
        self.reading, self.threshold, self.boundary, self.semantic = reading, threshold, boundary, semantic
        learned = reading == "paper"
        self.kernel = kernel
        identity = torch.ones(()) if kernel == 1 else functional.pad(torch.ones(1, 1), (1, 1, 1, 1))
        self.weight = nn.Parameter(identity) if learned else None
        self.bias = nn.Parameter(torch.zeros(())) if learned else None

    def forward(self, B: Float[Tensor, "b h w"], C: Float[Tensor, "b k h w"]) -> Regions:
        """Return the regions for probabilities B of a boundary and C of the classes.

        That they lie in 0..1 is not checked; of samples below 0, the gradient would not go to the largest.

        Raises:
            ValueError: if B and C are not floating maps of the same images and size.
        """
        require(
            C.ndim == 4 and B.shape == C.shape[:1] + C.shape[2:] and C.numel() > 0,
            "RegionConstruction needs boundary scores (b h w) and class probabilities (b k h w) of the same size, got "
            f"{tuple(B.shape)} and {tuple(C.shape)}",
        )
        require(
            B.is_floating_point() and C.is_floating_point(),
            f"RegionConstruction needs floating probabilities, got {B.dtype} and {C.dtype}",
        )
        dtype = torch.float64 if torch.float64 in (B.dtype, C.dtype) else torch.float32
        B, C = B.to(dtype), C.to(dtype)
        w, b = B.new_ones(()), B.new_zeros(())
        if self.weight is not None and self.bias is not None:
            w, b = self.weight, self.bias
        if self.kernel == 3:
            form = (self.reading, self.boundary, self.semantic)
            with torch.no_grad():
                index, number = number_regions(neighbourhood.first_matches(B, C, w, b, self.threshold, form))
            means = neighbourhood.NeighbourMeans.apply(B, C, index, form)
            return Regions(index, (w.to(dtype).view(9, 1, 1, 1) * means).sum(dim=0) + b.to(dtype), number)  # Eq. (5)
        follow = operators.first_matches(B, C, w, b, self.threshold, self.reading, self.boundary, self.semantic)
        index, number = number_regions(follow)
        F = operators.region_means(B, C, index, self.reading, self.boundary, self.semantic)
        return Regions(index, w * F + b, number)  # Eq. (5): the mean of w F + b is w times the mean of F, plus b


def number_regions(follow: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pixel's region and the number of regions, where pixels (b h w) follow those of lower numbers."""
    root = follow.flatten(1)
    pixels, steps = root.shape[1], 1
    while steps < pixels:  # which a compiled program asks of a size, and so serves many
        root, steps = root.gather(1, root), 2 * steps  # each goes as many steps along its path
    first = root == torch.arange(pixels, device=root.device)
    index = (first.cumsum(dim=1) - 1).gather(1, root)
    return index.view_as(follow), first.sum(dim=1)
