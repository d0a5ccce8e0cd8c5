"""RANet's region construction: which pixels belong together, and how well each stands for its region.

The names are the paper's; i and j are pixels, and of n = h * w pixels there are n * n pairs:

    B    b h w      boundary scores: how probably a pixel lies on a boundary
    C    b k h w    semantic scores: class probabilities
    D    n x n      how probably there is a boundary between two pixels
    E    n x n      how differently two pixels are classified
    F    n x n      region attention maps
    F^g  n x n      the same, regularised by W^g
    G    n x n      region decision maps: whether two pixels are grouped
    J    b h w      representative scores

Tables of pairs only ever exist for one tile at a time (`lines.py`). A first pass over all pairs finds the regions, a
second one J, and the backward pass computes D, E and F once more. On a CPU each cuts its tiles to those pairs that can
matter: in the first pass, pairs whose earlier pixel comes before the one that the later pixel already follows, and of
these, for E, those whose D allows a match; afterwards, pairs of one region. On CUDA each pass of the reading "paper"
also is a Triton kernel (`pair_kernels.py`), which is taken where it is the faster one; "released" has no kernel.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from core.fastest import form_is_fixed, median_seconds
from core.recipe import refuse_unknown, require
from papers.ranet.divergence import Divergence, JensenShannon, NoDivergence, TopClass
from papers.ranet.lines import Lines, NoLines, Tile, box, tile_entries, tiles


class Regions(NamedTuple):
    """The regions of a batch of images."""

    # The region of each pixel, 0 .. number - 1 in raster order of their first pixels; it hides the method of tuples.
    index: Int64[Tensor, "b h w"]  # type: ignore[assignment]
    J: Float[Tensor, "b h w"]  # representative scores
    number: Int64[Tensor, " b"]  # Q


class RegionConstruction(nn.Module):
    """Divides images into regions by boundary and semantic scores (RCB, Figures 2 and 3).

        D_ij   = max(B on the line between i and j)                                                     Eq. (1)
        E_ij   = divergence(C_i, C_j)                                                                   Eq. (2)
        F_ij   = (1 - D_ij) (1 - E_ij)                                                                  Eq. (3)
        F^g_ij = w F_ij + b,  G_ij = [(F^g_ij + F^g_ji) / 2 > threshold]                                Eq. (4)
        J_i    = mean of F^g_ij over the pixels j of i's region, i included                             Eq. (5)

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

    Raises:
        ValueError: if the reading is unknown.
    """

    def __init__(
        self,
        reading: Literal["paper", "released"] = "paper",
        threshold: float = 0.8,
        boundary: bool = True,
        semantic: bool = True,
    ) -> None:
        super().__init__()
        refuse_unknown("the reading of RegionConstruction", reading, ("paper", "released"))
        self.reading, self.threshold, self.boundary, self.semantic = reading, threshold, boundary, semantic
        learned = reading == "paper"
        self.weight = nn.Parameter(torch.ones(())) if learned else None
        self.bias = nn.Parameter(torch.zeros(())) if learned else None

    def forward(self, B: Float[Tensor, "b h w"], C: Float[Tensor, "b k h w"]) -> Regions:
        """Return the regions for probabilities B of a boundary and C of the classes.

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
        w, b = (B.new_ones(()), B.new_zeros(())) if self.weight is None else (self.weight, self.bias)
        follow = torch.ops.ranet.first_matches(B, C, w, b, self.threshold, self.reading, self.boundary, self.semantic)
        index, number = _number(follow)
        F = torch.ops.ranet.region_means(B, C, index, self.reading, self.boundary, self.semantic)
        return Regions(index, w * F + b, number)  # Eq. (5): the mean of w F + b is w times the mean of F, plus b


def _number(follow: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pixel's region and the number of regions, where pixels (b h w) follow those of lower numbers."""
    root = follow.flatten(1)
    pixels = root.shape[1]
    for _ in range(pixels.bit_length()):  # each time, the paths that are left are half as long
        root = root.gather(1, root)
    first = root == torch.arange(pixels, device=root.device)
    index = (first.cumsum(dim=1) - 1).gather(1, root)
    return index.view_as(follow), first.sum(dim=1)


# Passes over pairs


class Half:
    """Half of the pairs of some images: those further apart along y, or else along x.

    Maps are turned to have this major axis last. Pairs equally far apart on both axes count as further along y.
    """

    def __init__(self, B: Tensor, C: Tensor, images: slice, along_y: bool, form: "Form") -> None:
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


class Form(NamedTuple):
    """What D and E are: the arguments of `RegionConstruction`."""

    reading: str
    boundary: bool
    semantic: bool


def halves(B: Tensor, C: Tensor, form: Form) -> Iterator[Half]:
    """Yield both halves of the pairs of a batch, of as many images at a time as fit a tile."""
    together = max(1, tile_entries(B) // (B[0].numel() * max(B.shape[1:])))
    for first in range(0, len(B), together):
        for along_y in (True, False):
            yield Half(B, C, slice(first, first + together), along_y, form)


def _first_matches(
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


def _region_means(B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool) -> Tensor:
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


def _region_means_backward(
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


# The choice of a form on CUDA

Pass = Callable[..., Any]
ON_CUDA: Literal["faster", "plain", "kernel"] = "faster"  # the others are for tests and measurements
_faster_forms: dict[tuple[object, ...], Literal["plain", "kernel"]] = {}


def _on_cuda(plain: Pass, *arguments: Any) -> Any:
    """Run a pass of which this is the plain form, or its kernel.

    The first call with a given device, dtype and sizes times both on its own arguments, and later calls take the
    faster one. It is the plain form where timing is forbidden, for the reading "released", without Triton, and, after a
    warning, for good once a kernel has failed or has not agreed with the plain form.
    """
    form = ON_CUDA
    if form == "faster":
        forced = form_is_fixed(arguments[0]) or "released" in arguments or find_spec("triton") is None
        form = "plain" if forced else _faster(plain, arguments)
    return (_kernel(plain) if form == "kernel" else plain)(*arguments)


def _kernel(plain: Pass) -> Pass:
    """Return the kernel of a pass. Only here Triton is imported, which PyTorch's builds for a CPU do not have."""
    from papers.ranet import pair_kernels

    of_plain: dict[Pass, Pass] = {
        _first_matches: pair_kernels.first_matches,
        _region_means: pair_kernels.region_means,
        _region_means_backward: pair_kernels.region_means_backward,
    }
    return of_plain[plain]


def _faster(plain: Pass, arguments: tuple[Any, ...]) -> Literal["plain", "kernel"]:
    """Return which form of a pass is the faster one for arguments like these, timing both at the first request."""
    global ON_CUDA
    key = (plain, *((x.device, x.dtype, x.shape) if isinstance(x, Tensor) else x for x in arguments))
    if key not in _faster_forms:
        device, expected = arguments[0].device, plain(*arguments)
        try:
            kernel = _kernel(plain)
            _require_agreement(kernel(*arguments), expected, arguments[0])
            seconds = median_seconds(functools.partial(kernel, *arguments), device)
        except Exception as error:  # of many kinds: no compiler for C, no support of this GPU, a change of Triton
            ON_CUDA = "plain"
            warnings.warn(
                f"RANet's regions are computed without Triton from here on, because a kernel failed: {error}",
                stacklevel=2,
            )
            return "plain"
        is_kernel = seconds < median_seconds(functools.partial(plain, *arguments), device)
        _faster_forms[key] = "kernel" if is_kernel else "plain"
    return _faster_forms[key]


def _require_agreement(ours: Any, theirs: Any, amounts: Tensor) -> None:
    """Raise RuntimeError where results of two forms differ by more than rounding, given what they are made from."""
    for x, y in zip(*(result if isinstance(result, tuple) else (result,) for result in (ours, theirs)), strict=True):
        if y.is_floating_point():
            agree = (x - y).abs().max() <= 1e-3 * torch.maximum(y.abs().max(), amounts.abs().max())
        else:
            agree = (x != y).double().mean() <= 0.01  # now and then, rounding decides whether two pixels are grouped
        if not agree:
            raise RuntimeError("its result is not that of the plain form")


# Operators, each one node for PyTorch's compiler and exporter

_first_matches_operator = torch.library.custom_op("ranet::first_matches", _first_matches, mutates_args=())
_region_means_operator = torch.library.custom_op("ranet::region_means", _region_means, mutates_args=())
_backward_operator = torch.library.custom_op("ranet::region_means_backward", _region_means_backward, mutates_args=())


_first_matches_operator.register_kernel("cuda", functools.partial(_on_cuda, _first_matches))
_region_means_operator.register_kernel("cuda", functools.partial(_on_cuda, _region_means))
_backward_operator.register_kernel("cuda", functools.partial(_on_cuda, _region_means_backward))


@_first_matches_operator.register_fake
def _(B: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(B, dtype=torch.int64)


@_region_means_operator.register_fake
def _(B: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(B)


@_backward_operator.register_fake
def _(dF: Tensor, B: Tensor, C: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(B), torch.empty_like(C)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.form = inputs[3:]


def _gradient(ctx: Any, dF: Tensor) -> tuple[Any, ...]:
    dB, dC = _backward_operator(dF, *ctx.saved_tensors, *ctx.form)
    return dB, dC, None, None, None, None


_region_means_operator.register_autograd(_gradient, setup_context=_keep)
