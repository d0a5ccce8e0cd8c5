"""Exact attention over all pairs of positions, in memory that is linear in their number.

    Y = softmax(Q K^T) V        every query gathers the values of all keys; no division by sqrt(d)

Tensors are channel-first, as convolutions leave them, and wear these letters (n and m may differ, d and c may differ):

    Q  b d n    queries, one of width d at each of n positions
    K  b d m    keys at m positions
    V  b c m    values, of width c
    Y  b c n    output, Y_j = sum_i P_ji V_i
    S  n m      energies, S_ji = Q_j . K_i                            only ever a block of rows or columns
    P  n m      weights, P_ji = exp(S_ji - Z_j)                       only ever a block of rows or columns
    Z  b n      log of the normaliser, Z_j = log sum_i exp(S_ji)

A map of 97 x 97 positions has 88.5 million pairs, 354 MB in float32, and the usual form (product, softmax,
product) holds four such tables at once in a training step. Here S and P exist one block at a time, and the backward
pass computes them again from Q, K and Z. With dY the gradient of the output and D_j = dY_j . Y_j:

    dV_i = sum_j P_ji dY_j
    G_ji = P_ji (dY_j . V_i - D_j)
    dK_i = sum_j G_ji Q_j
    dQ_j = sum_i G_ji K_i

The forward pass walks over queries and the backward pass over keys, because then each block of Y, dK and dV is written
once and only dQ, the narrow one, is a running sum.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from core.networks.fastest import form_is_fixed as _form_is_fixed
from core.networks.fastest import median_seconds

# A block has at most 256 rows and 2 Mi entries: 8 MB stay in cache, and in the heap instead of in fresh pages.
BLOCK_ROWS = 256
BLOCK_ENTRIES = 2**21

# Weights below exp(-60) = 9e-27 of the largest become exp(-60). Left alone they end as denormal numbers, on which some
# processors are 50 times slower; exp(-inf) is slow on others. It moves Y by less than m * 9e-27 of the largest value.
SMALLEST_EXPONENT = -60.0

# Every fused kernel of scaled_dot_product_attention, that is all but MATH, which stores n x m.
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


def attention(
    Q: Float[Tensor, "b d n"], K: Float[Tensor, "b d m"], V: Float[Tensor, "b c m"]
) -> Float[Tensor, "b c n"]:
    """Return softmax(Q K^T) V, normalised over the keys and not scaled by 1 / sqrt(d), without storing n x m.

    The work is done in float32 (float64 if any argument is), also under autocast, because energies are sums of d
    unscaled products: in half precision they overflow, in bfloat16 an energy of 100 is off by a quarter. The result has
    V's dtype. Products follow the caller's setting of `torch.set_float32_matmul_precision`; leave it at "highest" where
    energies are large.

    Cost: n m (d + c) multiply-adds forward and n m (3 d + 2 c) backward. Beyond inputs, output and gradients it holds
    two blocks of at most 256 rows; for the backward pass it keeps Q, K, V, Y and n numbers per image. The gradient has
    no gradient of its own: differentiating it raises RuntimeError.

    On a CPU, while compiling or exporting, and under `torch.use_deterministic_algorithms` the form is always `stream`.
    On CUDA the first call with a given device, dtype, shapes and need of a gradient times the forms below on its own
    arguments, and later calls take the fastest. All are exact, but they round differently, so two processes that choose
    differently agree only to rounding. The CUDA path has not been measured on a GPU yet.

    Raises:
        ValueError: if an argument is not a floating tensor of three axes, if b, d or m disagree, or if there is no key.
    """
    _check_shapes(Q, K)
    _check_values(K, V)
    dtype = torch.float64 if torch.float64 in (Q.dtype, K.dtype, V.dtype) else torch.float32
    q, k, v = (x.to(dtype) for x in (Q, K, V))
    form = stream if _form_is_fixed(v) else FORMS[_fastest(q, k, v)]
    return form(q, k, v).to(V.dtype)


def attention_rows(
    Q: Float[Tensor, "b d n"], K: Float[Tensor, "b d m"], positions: Int[Tensor, " p"]
) -> Float[Tensor, "b p m"]:
    """Return the rows of softmax(Q K^T) of a few query positions in float32: what each of them attends to.

    For pictures: it stores b p m weights. Each row sums to 1.

    Raises:
        ValueError: if Q and K disagree in b or d, if there is no key, or if a position is not in 0 .. n - 1.
    """
    _check_shapes(Q, K)
    if positions.numel() and (positions.min() < 0 or positions.max() >= Q.shape[2]):
        raise ValueError(
            f"attention_rows needs positions from 0 to {Q.shape[2] - 1}, got {positions.tolist()}; "
            "the position of row y, column x of a map is y * width + x"
        )
    with torch.autocast(device_type=Q.device.type, enabled=False):
        chosen = Q.float().index_select(2, positions.to(Q.device))
        return torch.bmm(chosen.transpose(1, 2), K.float()).softmax(dim=2)


# Forms: four ways to the same result, each storing O(n + m)


def stream(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention by blocks with a backward pass of its own: any device, dtype and widths; compiles and exports."""
    return torch.ops.core.attention(Q, K, V)[0]


def direct(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention by one fused kernel, which must take keys and values of different widths.

    Raises:
        RuntimeError: if no fused kernel does; on a CPU that is whenever d differs from c.
    """
    q, k, v = (rearrange(x, "b c n -> b 1 n c").contiguous() for x in (Q, K, V))
    return rearrange(_fused(q, k, v), "b 1 n c -> b c n")


def padded(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention by a fused kernel for one width: the narrower of Q, K and V are filled up with zero channels."""
    width = max(K.shape[1], V.shape[1])
    q, k, v = (pad(x, (0, 0, 0, width - x.shape[1])) for x in (Q, K, V))
    return direct(q, k, v)[:, : V.shape[1]]


def split(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention by a fused kernel for one width: V is split into c / d heads that share Q and K.

    Raises:
        ValueError: if c is not a multiple of d.
    """
    if V.shape[1] % K.shape[1]:
        raise ValueError(
            f"split needs values whose width is a multiple of the keys', got {V.shape[1]} and {K.shape[1]}; use padded"
        )
    v = rearrange(V, "b (g d) m -> b g m d", d=K.shape[1]).contiguous()
    q, k = (rearrange(x, "b d n -> b 1 n d").contiguous().expand(-1, v.shape[1], -1, -1) for x in (Q, K))
    return rearrange(_fused(q, k, v), "b g n d -> b (g d) n")


FORMS = {"stream": stream, "direct": direct, "padded": padded, "split": split}


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T) v of contiguous heads (b g n d), and raise RuntimeError rather than store n x m."""
    with sdpa_kernel(FUSED), torch.autocast(device_type=v.device.type, enabled=False):
        return scaled_dot_product_attention(q, k, v, scale=1.0)


# The choice of a form on CUDA

Seconds = Callable[[str, Tensor, Tensor, Tensor, bool], float]
_fastest_forms: dict[tuple[object, ...], str] = {}


def _seconds(name: str, Q: Tensor, K: Tensor, V: Tensor, needs_gradient: bool) -> float:
    """Return the median seconds of three runs of a form, after one that is not counted, apart from the graph."""
    leaves = [x.detach().requires_grad_(needs_gradient) for x in (Q, K, V)]

    def run() -> None:
        Y = FORMS[name](*leaves)
        if needs_gradient:
            torch.autograd.grad(Y, leaves, torch.ones_like(Y))

    # Only the innermost hooks act: without these, activation checkpointing would count what the timing saves.
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved):
        return median_seconds(run, V.device)


def _fastest(Q: Tensor, K: Tensor, V: Tensor, seconds: Seconds = _seconds) -> str:
    """Return the name of the fastest form for arguments like these, timing the forms at the first request.

    A form that raises (no kernel takes these widths or this dtype, or memory ran out) is no candidate; `stream`, which
    takes everything, must not raise.
    """
    needs_gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (Q, K, V))
    key = (V.device, V.dtype, Q.shape, K.shape, V.shape, needs_gradient)
    if key not in _fastest_forms:
        times = {"stream": seconds("stream", Q, K, V, needs_gradient)}
        for name in ("direct", "padded", "split"):
            with warnings.catch_warnings(), contextlib.suppress(RuntimeError, ValueError):
                warnings.simplefilter("ignore")  # PyTorch warns of every kernel that refuses
                times[name] = seconds(name, Q, K, V, needs_gradient)
        _fastest_forms[key] = min(times, key=times.__getitem__)
    return _fastest_forms[key]


# The stream form: two operators that PyTorch's compiler and exporter see as one node each


def _forward(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return Y and Z, block of queries by block of queries."""
    Y = V.new_empty(Q.shape[0], V.shape[1], Q.shape[2])
    Z = Q.new_empty(Q.shape[0], Q.shape[2])
    with torch.autocast(device_type=V.device.type, enabled=False):
        for q, k, v, y, z in zip(Q.contiguous(), K.contiguous(), V.contiguous(), Y, Z, strict=True):
            for block in _blocks(q.shape[1], k.shape[1]):
                P = _product(q[:, block].t(), k)
                largest = P.amax(dim=1, keepdim=True)
                P.sub_(largest).clamp_(min=SMALLEST_EXPONENT).exp_()
                total = P.sum(dim=1, keepdim=True)
                torch.div(_product(v, P.t()), total.t(), out=y[:, block])
                torch.add(largest[:, 0], total[:, 0].log(), out=z[block])
                del P  # so that the next block takes its memory
    return Y, Z


def _backward(dY: Tensor, Q: Tensor, K: Tensor, V: Tensor, Y: Tensor, Z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV, block of keys by block of keys; P and G are held transposed, m x n."""
    dQ, dK, dV = Q.new_zeros(Q.shape), K.new_empty(K.shape), V.new_empty(V.shape)
    images = zip(*(x.contiguous() for x in (dY, Q, K, V, Y, Z)), dQ, dK, dV, strict=True)
    with torch.autocast(device_type=V.device.type, enabled=False):
        for dy, q, k, v, y, z, dq, dk, dv in images:
            D = torch.linalg.vecdot(dy, y, dim=0)
            for block in _blocks(k.shape[1], q.shape[1]):
                P = _product(k[:, block].t(), q, plus=-z).clamp_(min=SMALLEST_EXPONENT).exp_()
                dv[:, block] = _product(dy, P.t())
                G = _product(v[:, block].t(), dy, plus=-D).mul_(P)
                del P
                dk[:, block] = _product(q, G.t())
                dq.add_(_product(k[:, block], G))
                del G
    return dQ, dK, dV


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Cut the rows of a table into slices that keep within BLOCK_ROWS and, down to one row, BLOCK_ENTRIES."""
    height = max(1, min(BLOCK_ROWS, BLOCK_ENTRIES // max(1, columns)))
    return (slice(start, min(start + height, rows)) for start in range(0, rows, height))


def _product(left: Tensor, right: Tensor, plus: Tensor | None = None) -> Tensor:
    """Return left @ right, r k times k s, with `plus` (s) added to every row.

    On a CPU float32 goes through oneDNN, as it does for a convolution: on AMD's Zen 5 it is twice as fast as the MKL
    behind `torch.mm`, and equal to rounding. The operator is the one that PyTorch's own compiler emits.
    """
    if left.device.type == "cpu" and left.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._linear_pointwise(left, right.t(), plus, "none", [], "")
    return torch.mm(left, right) if plus is None else torch.addmm(plus, left, right)


_forward_operator = torch.library.custom_op("core::attention", _forward, mutates_args=())
_backward_operator = torch.library.custom_op("core::attention_backward", _backward, mutates_args=())


@_forward_operator.register_fake
def _(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    return V.new_empty(Q.shape[0], V.shape[1], Q.shape[2]), Q.new_empty(Q.shape[0], Q.shape[2])


@_backward_operator.register_fake
def _(dY: Tensor, Q: Tensor, K: Tensor, V: Tensor, Y: Tensor, Z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return Q.new_empty(Q.shape), K.new_empty(K.shape), V.new_empty(V.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    """Save what the backward operator needs; Z is a by-product of Y whose own gradient is not passed on."""
    ctx.save_for_backward(*inputs, *output)


def _gradient(ctx: Any, dY: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _backward_operator(dY, *ctx.saved_tensors)


_forward_operator.register_autograd(_gradient, setup_context=_keep)


# Errors at the door


def _check_shapes(Q: Tensor, K: Tensor) -> None:
    """Raise ValueError unless Q (b d n) and K (b d m) fit and there is a key."""
    if not (Q.ndim == K.ndim == 3 and Q.shape[:2] == K.shape[:2] and K.shape[2] > 0):
        raise ValueError(
            "attention needs queries (b d n) and keys (b d m) with the same b and d and at least one key, got "
            f"{tuple(Q.shape)} and {tuple(K.shape)}; flatten maps first: rearrange(x, 'b c h w -> b c (h w)')"
        )
    if not (Q.is_floating_point() and K.is_floating_point()):
        raise ValueError(f"attention needs floating queries and keys, got {Q.dtype} and {K.dtype}; call .float()")


def _check_values(K: Tensor, V: Tensor) -> None:
    """Raise ValueError unless V (b c m) has a value for every key of K (b d m)."""
    if not (V.ndim == 3 and V.shape[0] == K.shape[0] and V.shape[2] == K.shape[2]):
        raise ValueError(
            "attention needs one value per key, values (b c m) for keys (b d m), got "
            f"{tuple(V.shape)} and {tuple(K.shape)}; take both from the same map"
        )
    if not V.is_floating_point():
        raise ValueError(f"attention needs floating values, got {V.dtype}; call .float()")
