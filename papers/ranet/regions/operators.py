"""RANet's region construction: its passes as operators, one node each for PyTorch's compiler and exporter.

On CUDA the passes of the reading "paper" are Triton kernels (`kernels.py`), a hundred times faster there than plain
PyTorch (`equations.py`), which is for everything else: CPUs, the reading "released", and CUDA without Triton.
"""

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from papers.ranet.regions import equations


def passes(B: Tensor, reading: str) -> ModuleType:
    """Return the module with the passes for these maps."""
    if B.device.type != "cuda" or reading == "released" or find_spec("triton") is None:
        return equations
    from papers.ranet.regions import kernels  # not above: it imports Triton, which PyTorch for CPUs comes without

    return kernels


@torch.library.custom_op("ranet::first_matches", mutates_args=())
def first_matches(
    B: Tensor, C: Tensor, w: Tensor, b: Tensor, threshold: float, reading: str, boundary: bool, semantic: bool
) -> Tensor:
    """Return for each pixel the number of the first pixel, itself at the latest, that it is grouped with."""
    return passes(B, reading).first_matches(B, C, w, b, threshold, reading, boundary, semantic)


@torch.library.custom_op("ranet::region_means", mutates_args=())
def region_means(B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool) -> Tensor:
    """Return the mean of F_ij over the pixels j of the region of i."""
    return passes(B, reading).region_means(B, C, index, reading, boundary, semantic)


@torch.library.custom_op("ranet::region_means_backward", mutates_args=())
def region_means_backward(
    dF: Tensor, B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for B and C."""
    return passes(B, reading).region_means_backward(dF, B, C, index, reading, boundary, semantic)


@first_matches.register_fake
def _(B: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(B, dtype=torch.int64)


@region_means.register_fake
def _(B: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(B)


@region_means_backward.register_fake
def _(dF: Tensor, B: Tensor, C: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(B), torch.empty_like(C)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.form = inputs[3:]


def _gradient(ctx: Any, dF: Tensor) -> tuple[Any, ...]:
    dB, dC = region_means_backward(dF, *ctx.saved_tensors, *ctx.form)
    return dB, dC, None, None, None, None


region_means.register_autograd(_gradient, setup_context=_keep)
