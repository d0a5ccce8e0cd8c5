"""RANet's region construction: its passes as operators, and on CUDA the choice of their form.

Each is one node for PyTorch's compiler and exporter: `first_matches`, and `region_means`, which has a gradient. On a
CPU they are the plain passes of `passes.py`. On CUDA each pass of the reading "paper" also is a Triton kernel
(`pair_kernels.py`), which is taken where it is the faster one; "released" has no kernel.
"""

import functools
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from core.networks.fastest import form_is_fixed, median_seconds
from papers.ranet import passes

Pass = Callable[..., Any]
ON_CUDA: Literal["faster", "plain", "kernel"] = "faster"  # the others are for tests and measurements
_faster_forms: dict[tuple[object, ...], Literal["plain", "kernel"]] = {}


def _on_cuda(plain: Pass, *arguments: Any) -> Any:
    """Run a pass of which this is the plain form, or its kernel.

    The first call with a given device and dtype and with sizes of about these (numbers of elements up to the same power
    of 2) times both on its own arguments, and later calls take the faster one. It is the plain form where timing is
    forbidden, for the reading "released", without Triton, and, after a warning, for good once a kernel has failed or
    has not agreed with the plain form. Numbers that are not finite, as in a step that fp16 has overflowed, decide
    nothing, nor does a lack of memory.
    """
    form = "plain" if "released" in arguments else ON_CUDA
    if form == "faster":
        forced = form_is_fixed(arguments[0]) or find_spec("triton") is None
        form = "plain" if forced else _faster(plain, arguments)
    return (_kernel(plain) if form == "kernel" else plain)(*arguments)


def _kernel(plain: Pass) -> Pass:
    """Return the kernel of a pass. Only here Triton is imported, which PyTorch's builds for a CPU do not have."""
    from papers.ranet import pair_kernels

    of_plain: dict[Pass, Pass] = {
        passes.first_matches: pair_kernels.first_matches,
        passes.region_means: pair_kernels.region_means,
        passes.region_means_backward: pair_kernels.region_means_backward,
    }
    return of_plain[plain]


def _faster(plain: Pass, arguments: tuple[Any, ...]) -> Literal["plain", "kernel"]:
    """Return which form of a pass is the faster one for arguments like these, timing both at the first request."""
    global ON_CUDA
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    about = [(x.device, x.dtype, x.numel().bit_length()) for x in tensors]
    key = (plain, *about, *(x for x in arguments if not isinstance(x, Tensor)))
    if key not in _faster_forms:
        if not all(x.isfinite().all() for x in tensors):
            return "plain"
        device, expected = arguments[0].device, plain(*arguments)
        try:
            kernel = _kernel(plain)
            _require_agreement(kernel(*arguments), expected, arguments[0])
            seconds = median_seconds(functools.partial(kernel, *arguments), device)
        except torch.OutOfMemoryError:
            return "plain"
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


first_matches = torch.library.custom_op("ranet::first_matches", passes.first_matches, mutates_args=())
region_means = torch.library.custom_op("ranet::region_means", passes.region_means, mutates_args=())
region_means_backward = torch.library.custom_op(
    "ranet::region_means_backward", passes.region_means_backward, mutates_args=()
)

first_matches.register_kernel("cuda", functools.partial(_on_cuda, passes.first_matches))
region_means.register_kernel("cuda", functools.partial(_on_cuda, passes.region_means))
region_means_backward.register_kernel("cuda", functools.partial(_on_cuda, passes.region_means_backward))


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
