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
product) holds four such tables at once in a training step. Which of the exact forms below runs instead is a rule of
device, dtype and widths (`rule`), so that every process and every resumed run takes the same one.

In `stream`, S and P exist one block at a time, and the backward pass computes them again. With dY the gradient of the
output and D_j = dY_j . Y_j:

    dV_i = sum_j P_ji dY_j
    G_ji = P_ji (dY_j . V_i - D_j)
    dK_i = sum_j G_ji Q_j
    dQ_j = sum_i G_ji K_i
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
Name = Literal["table", "stream", "split"]

FEW = 2**20
"""Up to so many pairs, 4 MB of float32, the plain table is taken on a GPU: channel attention has 512 x 512."""

# On a CPU a block has at most 256 rows and 2 Mi entries: 8 MB stay in cache, and in the heap instead of in fresh pages.
CPU_ROWS, CPU_ENTRIES = 256, 2**21

# On a GPU a block has rows of all images at once: few launches count there. 192 MB are large enough to be as fast as
# the usual form, and hold its memory under an eighth (two images of 9216 positions; ci/bench/README.md).
GPU_ENTRIES = 48 * 2**20

# Weights below exp(-60) = 9e-27 of the largest become exp(-60). Left alone they end as denormal numbers, on which some
# processors are 50 times slower; exp(-inf) is slow on others. It moves Y by less than m * 9e-27 of the largest value.
SMALLEST_EXPONENT = -60.0

# Every fused kernel of scaled_dot_product_attention, that is all but MATH, which stores n x m.
FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]

HALVES = (torch.float16, torch.bfloat16)

_forced: Form | None = None


def attention(
    Q: Float[Tensor, "b d n"], K: Float[Tensor, "b d m"], V: Float[Tensor, "b c m"]
) -> Float[Tensor, "b c n"]:
    """Return softmax(Q K^T) V, normalised over the keys and not scaled by 1 / sqrt(d), without storing n x m.

    Energies are sums of d unscaled products: stored in half precision they overflow, and in bfloat16 an energy of 100
    is off by a quarter. So energies and softmax are float32 (float64 if any argument is) in every form, also under
    autocast. Half-precision arguments stay as they are on a GPU, where products of halves are summed in float32, and
    are raised to float32 on a CPU. The result has V's dtype. Products of float32 follow the caller's setting of
    `torch.set_float32_matmul_precision`; leave it at "highest" where energies are large.

    Halves that stay as they are give the output as exactly as halves that are raised, but not the gradients: fused
    kernels round P and G to half. Measured on a CPU alone (torch 2.15, 2026-11-27; the inputs of
    tests/test_attention.py), their largest error against float64 is that of another form times

                                                   Y      dQ     dK     dV
        halves raised                bfloat16     1.0    2.0    2.1    1.8
                                     float16      1.1    2.3    5.4    1.8
        the usual form in half       bfloat16     0.2    0.7    1.3    1.0
                                     float16      0.2    0.5    2.3    1.1

    Cost of `stream`: n m (d + c) multiply-adds forward and n m (3 d + 2 c) backward. The gradient has no gradient of
    its own: differentiating it raises RuntimeError.

    Raises:
        ValueError: if an argument is not a floating tensor of three axes, if b, d or m disagree, or if there is no key.
    """
    _check_shapes(Q, K)
    _check_values(K, V)
    halves = V.device.type == "cuda" and V.dtype in HALVES and Q.dtype == K.dtype == V.dtype
    q, k, v = (Q, K, V) if halves else _raised(Q, K, V)
    form = _forced or FORMS[rule(q, k, v)]
    return form(q, k, v).to(V.dtype)


def rule(Q: Tensor, K: Tensor, V: Tensor) -> Name:
    """Return the form for arguments like these: by device, dtype and widths alone.

    Measured on an H200 (torch 2.11, 2026-11-27; two images, n = m = 9216, d = 64, c = 512), forward + backward in ms:

                                 usual    split    stream    one fused kernel for both widths
        bfloat16                   4.3      3.2      19.2      27.8
        float32                   17.8     35.7      19.1      21.2; deterministic 617
        float32 with TF32          6.4     36.4       6.4      21.1

    Fused kernels know no TF32. On a CPU they take one width only, and `stream` is the fastest form.
    """
    if V.device.type != "cuda":
        return "stream"
    if Q.shape[2] * K.shape[2] <= FEW:
        return "table"
    if V.dtype not in HALVES:
        return "stream"
    width, values = K.shape[1], V.shape[1]
    if width % 8 or width > 256 or values % width:
        _say_slow(
            f"keys of {width} and values of {values} channels",
            "keys of a multiple of 8 channels, at most 256, and values of a multiple of theirs",
        )
    elif V.dtype is torch.bfloat16 and _before_ampere(V.device):
        _say_slow("bfloat16 on a GPU of compute capability below 8.0", "float16 (--run.precision fp16)")
    else:
        return "split"
    return "stream"


@torch.compiler.assume_constant_result  # the compiler can't look into a driver
def _before_ampere(device: torch.device) -> bool:
    """Return True for a GPU before compute capability 8.0, for which no fused kernel takes bfloat16."""
    return torch.cuda.get_device_capability(device) < (8, 0)


def _say_slow(what: str, instead: str) -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(
            f"no fused kernel takes {what}: attention runs block by block in float32, which is exact and slower; "
            f"choose {instead}",
            stacklevel=4,
        )


@contextmanager
def forced(form: Form) -> Iterator[None]:
    """Run every attention by one form for a while, whatever the rule says: for tests and benchmarks."""
    global _forced
    before, _forced = _forced, form
    try:
        yield
    finally:
        _forced = before


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


# Forms: exact ways to the same result; all but the table store O(n + m)


def table(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention as it is written, with float32 energies and n x m weights: for few positions."""
    q, k, _ = _raised(Q, K, V)
    with torch.autocast(device_type=V.device.type, enabled=False):
        P = torch.bmm(q.transpose(1, 2), k).softmax(dim=2)
        return torch.bmm(V, P.to(V.dtype).transpose(1, 2))


def stream(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention by blocks with a backward pass of its own: any device, dtype and widths; compiles and exports.

    Halves are raised to float32.
    """
    return _forward_operator(*_raised(Q, K, V))[0]


def split(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Attention by a fused kernel for one width: V is split into c / d heads that share Q and K.

    Raises:
        ValueError: if c is not a multiple of d.
    """
    if V.shape[1] % K.shape[1]:
        raise ValueError(
            f"split needs values whose width is a multiple of the keys', got {V.shape[1]} and {K.shape[1]}; use stream"
        )
    v = rearrange(V, "b (g d) m -> b g m d", d=K.shape[1]).contiguous()
    q, k = (rearrange(x, "b d n -> b 1 n d").contiguous().expand(-1, v.shape[1], -1, -1) for x in (Q, K))
    return rearrange(_fused(q, k, v), "b g n d -> b (g d) n")


FORMS: dict[Name, Form] = {"table": table, "stream": stream, "split": split}


def _raised(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All three in float32, or in float64 if any of them is."""
    dtype = torch.float64 if torch.float64 in (Q.dtype, K.dtype, V.dtype) else torch.float32
    return Q.to(dtype), K.to(dtype), V.to(dtype)


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T) v of contiguous heads (b g n d), and raise RuntimeError rather than store n x m."""
    with sdpa_kernel(FUSED), torch.autocast(device_type=v.device.type, enabled=False):
        return scaled_dot_product_attention(q, k, v, scale=1.0)


# The stream form: two operators that PyTorch's compiler and exporter see as one node each


def _forward(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return Y and Z, image by image and block of queries by block of queries."""
    Y = V.new_empty(Q.shape[0], V.shape[1], Q.shape[2])
    Z = Q.new_empty(Q.shape[0], Q.shape[2])
    with torch.autocast(device_type=V.device.type, enabled=False):
        for q, k, v, y, z in zip(Q.contiguous(), K.contiguous(), V.contiguous(), Y, Z, strict=True):
            for block in _blocks(q.shape[1], k.shape[1], CPU_ROWS, CPU_ENTRIES):
                P = _product(q[:, block].t(), k)
                largest = P.amax(dim=1, keepdim=True)
                P.sub_(largest).clamp_(min=SMALLEST_EXPONENT).exp_()
                total = P.sum(dim=1, keepdim=True)
                torch.div(_product(v, P.t()), total.t(), out=y[:, block])
                torch.add(largest[:, 0], total[:, 0].log(), out=z[block])
                del P  # so that the next block takes its memory
    return Y, Z


def _backward(dY: Tensor, Q: Tensor, K: Tensor, V: Tensor, Y: Tensor, Z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV, block of keys by block of keys; P and G are held transposed, m x n.

    The blocks are of keys because then each block of dK and dV is written once, and only dQ, the narrow one, is a sum.
    """
    dQ, dK, dV = Q.new_zeros(Q.shape), K.new_empty(K.shape), V.new_empty(V.shape)
    images = zip(*(x.contiguous() for x in (dY, Q, K, V, Y, Z)), dQ, dK, dV, strict=True)
    with torch.autocast(device_type=V.device.type, enabled=False):
        for dy, q, k, v, y, z, dq, dk, dv in images:
            D = torch.linalg.vecdot(dy, y, dim=0)
            for block in _blocks(k.shape[1], q.shape[1], CPU_ROWS, CPU_ENTRIES):
                P = _product(k[:, block].t(), q, plus=-z).clamp_(min=SMALLEST_EXPONENT).exp_()
                dv[:, block] = _product(dy, P.t())
                G = _product(v[:, block].t(), dy, plus=-D).mul_(P)
                del P
                dk[:, block] = _product(q, G.t())
                dq.add_(_product(k[:, block], G))
                del G
    return dQ, dK, dV


def _forward_at_once(Q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """Return Y, and zeros for the Z that this backward pass does without: all images in each block of queries."""
    Y = V.new_empty(Q.shape[0], V.shape[1], Q.shape[2])
    queries = Q.transpose(1, 2)
    with torch.autocast(device_type=V.device.type, enabled=False):
        for block in _even_blocks(Q, K):
            P = torch.bmm(queries[:, block], K).softmax(dim=2)
            Y[:, :, block] = torch.bmm(V, P.transpose(1, 2))
            del P
    return Y, Q.new_zeros(Q.shape[0], Q.shape[2])


def _backward_at_once(
    dY: Tensor, Q: Tensor, K: Tensor, V: Tensor, Y: Tensor, Z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dQ, dK and dV: all images in each block of queries, whose whole rows give P again without Z."""
    dQ, dK, dV = Q.new_empty(Q.shape), K.new_zeros(K.shape), V.new_zeros(V.shape)
    queries = Q.transpose(1, 2)
    with torch.autocast(device_type=V.device.type, enabled=False):
        D = torch.linalg.vecdot(dY, Y, dim=1)
        for block in _even_blocks(Q, K):
            P = torch.bmm(queries[:, block], K).softmax(dim=2)
            dy = dY[:, :, block]
            dV.baddbmm_(dy, P)
            G = torch.bmm(dy.transpose(1, 2), V).sub_(D[:, block, None]).mul_(P)
            del P
            dQ[:, :, block] = torch.bmm(K, G.transpose(1, 2))
            dK.baddbmm_(Q[:, :, block], G)
            del G
    return dQ, dK, dV


def _even_blocks(Q: Tensor, K: Tensor) -> Iterator[slice]:
    """Cut the queries into blocks of one height, so that with the rows of all images each keeps within GPU_ENTRIES."""
    rows = Q.shape[2]
    height = max(1, GPU_ENTRIES // max(1, Q.shape[0] * K.shape[2]))
    return _blocks(rows, 1, rows, -(-rows // max(1, -(-rows // height))))


def _blocks(rows: int, columns: int, tallest: int, entries: int) -> Iterator[slice]:
    """Cut the rows of a table into slices of at most `tallest` rows and, down to one row, `entries` entries."""
    height = max(1, min(tallest, entries // max(1, columns)))
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
_forward_operator.register_kernel("cuda")(_forward_at_once)
_backward_operator.register_kernel("cuda")(_backward_at_once)


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
