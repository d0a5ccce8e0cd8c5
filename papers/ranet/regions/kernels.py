"""The passes over all pairs (`equations.py`) as Triton kernels, for CUDA and the reading "paper".

Importing this module imports Triton, which comes with PyTorch's CUDA builds and compiles a kernel at its first use.

A program takes one offset (dy, dx) and some of the pairs i, j = i + (dy, dx) of one image. Of an offset and its
opposite, which have the same pairs, the one is taken whose component along the longer axis is positive. So a program
knows the length of its lines and the weights of their samples, neighbouring threads read neighbouring pixels, and D, E
and F live in registers. What programs share, they add to by atomic operations, in an order that changes: sums are
float64, as in the plain form, and become the dtype of B at the end.

Tensors are those of `equations.py`; in the kernels each is a pointer, moved to the image of the program.
"""

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from papers.ranet.regions.divergence import SUMMED_AT_ONCE, JensenShannon
from papers.ranet.regions.equations import pixels_of_region

BLOCK = tl.constexpr(256)  # pairs of a program
AT_ONCE = tl.constexpr(SUMMED_AT_ONCE)


def first_matches(
    B: Tensor, C: Tensor, w: Tensor, b: Tensor, threshold: float, reading: str, boundary: bool, semantic: bool
) -> Tensor:
    """Return for each pixel the number of the first pixel, itself at the latest, that it is grouped with."""
    divergence = JensenShannon(C.contiguous(), semantic)
    decision = torch.stack([w.to(B), b.to(B), B.new_full((), threshold)])
    follow = torch.arange(B[0].numel(), dtype=torch.int32, device=B.device).repeat(len(B)).view(B.shape)
    _launch(_first_matches, B, divergence, [decision, follow], boundary)
    return follow.long()


def region_means(B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool) -> Tensor:
    """Return the mean of F_ij over the pixels j of the region of i."""
    divergence = JensenShannon(C.contiguous(), semantic)
    total = torch.ones_like(B, dtype=torch.float64, memory_format=torch.contiguous_format)  # F_ii = 1
    _launch(_region_sums, B, divergence, [index.int().contiguous(), total], boundary)
    return (total / pixels_of_region(index)).to(B.dtype)


def region_means_backward(
    dF: Tensor, B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for B and C."""
    divergence = JensenShannon(C.contiguous(), semantic)
    share = (dF / pixels_of_region(index)).to(B.dtype).contiguous()  # of each F_ij in the mean of i
    dB = torch.zeros_like(B, dtype=torch.float64, memory_format=torch.contiguous_format)
    sums = [divergence.total, divergence.shared, dB]
    _launch(_region_gradients, B, divergence, [index.int().contiguous(), share, *sums], boundary)
    return dB.to(B.dtype), divergence.gradient().expand_as(C).contiguous()


def _launch(kernel: Any, B: Tensor, divergence: JensenShannon, tensors: list[Tensor], boundary: bool) -> None:
    """Run a kernel over all pairs of all images."""
    images, h, w = B.shape
    offsets = h * (2 * w - 1) - w  # one of each two opposite ones, without (0, 0)
    with torch.cuda.device_of(B):
        kernel[(offsets * triton.cdiv(h * w, BLOCK.value), images)](
            *(B.contiguous(), divergence.C, divergence.own, *tensors),
            *(h, w, divergence.C.shape[1]),
            BOUNDARY=boundary,
            enable_fp_fusion=False,  # rounds as the plain form on a CPU, but for its logarithms
        )


# Kernels, one for each pass. Sizes are not specialised: a kernel is compiled once for a dtype and a choice of maps.
# Triton reads their source, so the type checks of the tests must not wrap them.


@no_type_check
@triton.jit(do_not_specialize=["h", "w", "k"])
def _first_matches(B, C, own, decision, follow, h, w, k, BOUNDARY: tl.constexpr):
    """Lower `follow` of the later pixel of each grouped pair to the number of the earlier one."""
    image = tl.program_id(1).to(tl.int64) * h * w
    follow += image
    i, j, dy, dx, pairs = _pairs(h, w)
    earlier, later = tl.minimum(i, j), tl.maximum(i, j)
    pairs = pairs & (earlier < tl.load(follow + later, mask=pairs, other=0))  # it only ever falls: late news do no harm
    if tl.max(pairs.to(tl.int32), axis=0) > 0:
        D, _ = _line(B + image, i, pairs, dy, dx, w, BOUNDARY)
        E = _divergence(C + image * k, own + image, i, j, pairs, h * w, k, None, None)
        F = (1 - D) * (1 - E)  # Eq. (3)
        grouped = tl.load(decision) * F + tl.load(decision + 1) > tl.load(decision + 2)  # Eq. (4)
        tl.atomic_min(follow + later, earlier, mask=pairs & grouped, sem="relaxed")


@no_type_check
@triton.jit(do_not_specialize=["h", "w", "k"])
def _region_sums(B, C, own, index, total, h, w, k, BOUNDARY: tl.constexpr):
    """Add F of each pair within a region to the totals of both pixels."""
    image = tl.program_id(1).to(tl.int64) * h * w
    index += image
    total += image
    i, j, dy, dx, pairs = _pairs(h, w)
    pairs = pairs & (tl.load(index + i, mask=pairs, other=0) == tl.load(index + j, mask=pairs, other=0))
    if tl.max(pairs.to(tl.int32), axis=0) > 0:
        D, _ = _line(B + image, i, pairs, dy, dx, w, BOUNDARY)
        E = _divergence(C + image * k, own + image, i, j, pairs, h * w, k, None, None)
        F = ((1 - D) * (1 - E)).to(tl.float64)  # Eq. (3) and the sum in Eq. (5)
        tl.atomic_add(total + i, F, mask=pairs, sem="relaxed")
        tl.atomic_add(total + j, F, mask=pairs, sem="relaxed")


@no_type_check
@triton.jit(do_not_specialize=["h", "w", "k"])
def _region_gradients(B, C, own, index, share, total, shared, dB, h, w, k, BOUNDARY: tl.constexpr):
    """Add the gradients of each pair within a region to those for B and to the sums of `JensenShannon`."""
    image = tl.program_id(1).to(tl.int64) * h * w
    index += image
    share += image
    total += image
    i, j, dy, dx, pairs = _pairs(h, w)
    pairs = pairs & (tl.load(index + i, mask=pairs, other=0) == tl.load(index + j, mask=pairs, other=0))
    if tl.max(pairs.to(tl.int32), axis=0) > 0:
        dF = tl.load(share + i, mask=pairs, other=0) + tl.load(share + j, mask=pairs, other=0)  # of F_ij and of F_ji
        D, place = _line(B + image, i, pairs, dy, dx, w, BOUNDARY)
        dE = dF * (D - 1)
        shared += image * k
        E = _divergence(C + image * k, own + image, i, j, pairs, h * w, k, dE, shared)
        tl.atomic_add(total + i, dE.to(tl.float64), mask=pairs, sem="relaxed")
        tl.atomic_add(total + j, dE.to(tl.float64), mask=pairs, sem="relaxed")
        if BOUNDARY:
            _pull(dB + image, i, pairs, dy, dx, w, place, (dF * (E - 1)).to(tl.float64))


# What the kernels are made of


@no_type_check
@triton.jit
def _pairs(h, w):
    """Return the starts i and ends j of the pairs of a program, their offset, and which of them are pairs.

    Offsets come in order of falling |dy|: long lines first, for they find the earliest matches.
    """
    blocks = tl.cdiv(h * w, BLOCK)
    offset = h * (2 * w - 1) - 1 - tl.program_id(0) // blocks
    dy = offset // (2 * w - 1)
    dx = offset % (2 * w - 1) - (w - 1)
    columns = w - tl.abs(dx)
    count = (h - dy) * columns
    sign = tl.where(dy + dx < 0, -1, 1)  # dy is not negative
    dy *= sign
    dx *= sign
    number = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    y = number // columns + tl.maximum(0, -dy)
    x = number % columns + tl.maximum(0, -dx)
    i = y * w + x
    return i, i + dy * w + dx, dy, dx, number < count


@no_type_check
@triton.jit
def _axes(dy, dx, w):
    """Return of lines their length, their steps along and across the major axis as numbers of pixels, and their rise.

    The rise is how far a line goes across the major axis on its whole length.
    """
    along_y = tl.abs(dy) >= tl.abs(dx)
    length = tl.maximum(tl.abs(dy), tl.abs(dx))
    return length, tl.where(along_y, w, 1), tl.where(along_y, 1, w), tl.where(along_y, dx, dy)


@no_type_check
@triton.jit
def _line(B, i, pairs, dy, dx, w, BOUNDARY: tl.constexpr):
    """Return D, the maximum of B at the samples t = 1 .. length - 1 of each line, and the first t that has it."""
    D = tl.zeros(i.shape, B.dtype.element_ty)
    place = tl.zeros(i.shape, tl.int32)
    if BOUNDARY:
        length, along, across, rise = _axes(dy, dx, w)
        column, rest = rise * 0, rise * 0  # t * rise = column * length + rest, 0 <= rest < length
        for t in range(1, length):
            rest += rise
            column += tl.where(rest >= length, 1, tl.where(rest < 0, -1, 0))
            rest += tl.where(rest >= length, -length, tl.where(rest < 0, length, 0))
            weight = _quotient(rest.to(B.dtype.element_ty), length.to(B.dtype.element_ty))
            tap = B + i + t * along + column * across
            left = tl.load(tap, mask=pairs, other=0)
            right = tl.load(tap + tl.where(rest > 0, across, 0), mask=pairs, other=0)
            step = right - left
            sample = tl.where(weight < 0.5, left + weight * step, right - (1 - weight) * step)  # torch.lerp's own terms
            larger = (sample > D) | (place == 0)
            D = tl.where(larger, sample, D)  # Eq. (1)
            place = tl.where(larger, t, place)
    return D, place


@no_type_check
@triton.jit
def _quotient(x, y):
    """Return x / y, rounded to the nearest number; of float32, Triton's own division is not always."""
    return tl.div_rn(x, y) if x.dtype == tl.float32 else x / y


@no_type_check
@triton.jit
def _pull(dB, i, pairs, dy, dx, w, place, dD):
    """Add the gradient for D to the two pixels that the sample lies between that is the maximum."""
    length, along, across, rise = _axes(dy, dx, w)
    fine = place * rise + length * length  # made positive: divisions of integers round to 0
    rest = fine % length
    tap = dB + i + place * along + (fine // length - length) * across
    weight = rest.to(tl.float64) / length.to(tl.float64)
    tl.atomic_add(tap, (1 - weight) * dD, mask=pairs & (place > 0), sem="relaxed")
    tl.atomic_add(tap + across, weight * dD, mask=pairs & (rest > 0), sem="relaxed")


@no_type_check
@triton.jit
def _divergence(C, own, i, j, pairs, pixels, k, dE, shared):
    """Return E of each pair; with a gradient dE, add dE log2 S to both pixels' sums of each class."""
    total = tl.zeros(i.shape, C.dtype.element_ty)
    for first in range(0, k, AT_ONCE):
        part = tl.zeros(i.shape, C.dtype.element_ty)
        for n in range(first, tl.minimum(first + AT_ONCE, k)):
            of_class = n * pixels
            S = tl.load(C + of_class + i, mask=pairs, other=1) + tl.load(C + of_class + j, mask=pairs, other=1)
            logarithm = tl.log2(S)
            part += S * logarithm
            if dE is not None:
                pulled = (dE * logarithm).to(tl.float64)
                tl.atomic_add(shared + of_class + i, pulled, mask=pairs, sem="relaxed")
                tl.atomic_add(shared + of_class + j, pulled, mask=pairs, sem="relaxed")
        total += part
    E = tl.load(own + i, mask=pairs, other=0) + tl.load(own + j, mask=pairs, other=0) - 0.5 * total  # Eq. (2)
    return tl.minimum(tl.maximum(E, 0), 1)  # against rounding
