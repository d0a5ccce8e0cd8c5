"""RANet's region construction: its passes as operators, one node each for PyTorch's compiler and exporter.

On CUDA the passes of the reading "paper" are Triton kernels (`pair_kernels.py`), a hundred times faster than plain
PyTorch (`passes.py`), which is for everything else: CPUs, the reading "released", and CUDA without Triton.
"""

from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from papers.ranet import passes


def has_kernel(B: Tensor, reading: str) -> bool:
    """Return True if the passes over these maps have a Triton kernel: on CUDA, with Triton, for the reading "paper"."""
    return B.device.type == "cuda" and reading == "paper" and find_spec("triton") is not None


@torch.library.custom_op("ranet::first_matches", mutates_args=())
def first_matches(
    B: Tensor, C: Tensor, w: Tensor, b: Tensor, threshold: float, reading: str, boundary: bool, semantic: bool
) -> Tensor:
    """Return for each pixel the number of the first pixel, itself at the latest, that it is grouped with."""
    return _passes(B, reading).first_matches(B, C, w, b, threshold, reading, boundary, semantic)


@torch.library.custom_op("ranet::region_means", mutates_args=())
def region_means(B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool) -> Tensor:
    """Return the mean of F_ij over the pixels j of the region of i."""
    return _passes(B, reading).region_means(B, C, index, reading, boundary, semantic)


@torch.library.custom_op("ranet::region_means_backward", mutates_args=())
def region_means_backward(
    dF: Tensor, B: Tensor, C: Tensor, index: Tensor, reading: str, boundary: bool, semantic: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients for B and C."""
    return _passes(B, reading).region_means_backward(dF, B, C, index, reading, boundary, semantic)


def _passes(B: Tensor, reading: str) -> ModuleType:
    """Return the module with the passes: the kernels where there are any, plain PyTorch elsewhere."""
    if not has_kernel(B, reading):
        return passes
    from papers.ranet import pair_kernels  # only here: it imports Triton, which PyTorch for CPUs does not bring

    return pair_kernels


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
