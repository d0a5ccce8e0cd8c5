"""The blockwise attention against the usual form (product, softmax, product) that stores every weight."""

import io
from collections.abc import Callable

import forked
import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.export import Dim
from torch.utils._python_dispatch import TorchDispatchMode

from ci.bench import harness
from ci.bench.attention import growth_in_new_process
from core.networks import attention as module
from core.networks.attention import (
    Form,
    Name,
    attention,
    attention_rows,
    forced,
    rule,
    split,
    stream,
    table,
)

Triple = tuple[Tensor, Tensor, Tensor]


def usual(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """The definition: Y_j = sum_i softmax_i(Q_j . K_i) V_i."""
    return V @ (Q.transpose(1, 2) @ K).softmax(dim=2).transpose(1, 2)


def inputs(
    n: int = 35, m: int = 21, d: int = 4, c: int = 6, deviation: float = 2.0, dtype: torch.dtype = torch.float64
) -> Triple:
    """Q, K and V of two images, for energies of a given standard deviation, asking for gradients."""
    generator = torch.Generator().manual_seed(0)
    scale = (deviation / d**0.5) ** 0.5
    Q, K = (torch.randn(2, d, s, generator=generator, dtype=torch.float64) * scale for s in (n, m))
    V = torch.randn(2, c, m, generator=generator, dtype=torch.float64)
    return Q.to(dtype).requires_grad_(), K.to(dtype).requires_grad_(), V.to(dtype).requires_grad_()


def leaves(change: Callable[[Tensor], Tensor], arguments: Triple) -> Triple:
    """Changed copies of Q, K and V that ask for gradients of their own."""
    Q, K, V = (change(x.detach()).requires_grad_() for x in arguments)
    return Q, K, V


def output_and_gradients(form: Callable[[Tensor, Tensor, Tensor], Tensor], arguments: Triple) -> list[Tensor]:
    """The output of a form and the gradients of a sum that weighs all its entries differently."""
    Y = form(*arguments)
    weights = torch.linspace(-1, 2, Y.numel(), dtype=torch.float64, device=Y.device).to(Y.dtype).view_as(Y)
    return [Y.detach(), *torch.autograd.grad(Y, arguments, weights)]


def assert_equal(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    """Every entry agrees within the tolerance, relative to the largest entry of its tensor where that exceeds 1."""
    for name, x, y in zip(("Y", "dQ", "dK", "dV"), ours, theirs, strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        error, largest = (x - y).abs().max().item(), y.abs().max().item()
        assert error <= tolerance * max(1.0, largest), f"{name} is off by {error}, its largest entry is {largest}"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8 rows, so that small inputs take several, the last of them incomplete."""
    monkeypatch.setattr(module, "CPU_ROWS", 8)


# The same numbers as the usual form


@pytest.mark.parametrize(
    ("n", "m", "d", "c"), [(35, 21, 4, 6), (21, 35, 6, 4), (1, 9, 3, 3), (9, 1, 3, 5), (16, 16, 1, 8)]
)
def test_output_and_gradients_equal_the_usual_form(small_blocks: None, n: int, m: int, d: int, c: int) -> None:
    arguments = inputs(n, m, d, c)
    assert_equal(output_and_gradients(attention, arguments), output_and_gradients(usual, arguments), 1e-10)


def test_blocks_of_the_real_size_equal_the_usual_form() -> None:
    arguments = inputs(n=600, m=530, d=8, c=12)
    assert len(list(module._blocks(600, 530, module.CPU_ROWS, module.CPU_ENTRIES))) == 3
    assert_equal(output_and_gradients(attention, arguments), output_and_gradients(usual, arguments), 1e-10)


def test_blocks_cover_every_row_once_within_their_limits() -> None:
    limits = module.CPU_ROWS, module.CPU_ENTRIES
    assert [(b.start, b.stop) for b in module._blocks(600, 10, *limits)] == [(0, 256), (256, 512), (512, 600)]
    wide = list(module._blocks(1000, 2**15, *limits))
    assert [row for b in wide for row in range(b.start, b.stop)] == list(range(1000))
    assert max(b.stop - b.start for b in wide) * 2**15 == module.CPU_ENTRIES
    assert len(list(module._blocks(3, 2**30, *limits))) == 3
    assert list(module._blocks(0, 5, *limits)) == []


@pytest.mark.slow
def test_gradients_equal_finite_differences(small_blocks: None) -> None:
    assert torch.autograd.gradcheck(attention, inputs(n=9, m=5, d=2, c=3))


@pytest.mark.parametrize("deviation", [20.0, 200.0])
def test_spread_energies_equal_the_usual_form(small_blocks: None, deviation: float) -> None:
    arguments = inputs(n=90, m=70, d=8, deviation=deviation)
    energies = (arguments[0].transpose(1, 2) @ arguments[1]).detach()
    cut = energies - energies.amax(dim=2, keepdim=True) < module.SMALLEST_EXPONENT
    assert 0.05 < cut.double().mean() < 1, "some weights, but not all, must be below the smallest one kept apart"
    assert_equal(output_and_gradients(attention, arguments), output_and_gradients(usual, arguments), 1e-10)


@pytest.mark.parametrize("deviation", [2.0, 30.0])
@pytest.mark.parametrize("onednn", [True, False])
def test_float32_is_as_exact_as_the_usual_form(monkeypatch: pytest.MonkeyPatch, deviation: float, onednn: bool) -> None:
    if not onednn:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    exact = output_and_gradients(usual, inputs(300, 290, 16, 24, deviation))
    arguments = inputs(300, 290, 16, 24, deviation, torch.float32)
    ours, theirs = (output_and_gradients(form, arguments) for form in (attention, usual))
    for name, x, y, z in zip(("Y", "dQ", "dK", "dV"), ours, theirs, exact, strict=True):
        assert x.dtype == torch.float32
        error, usual_error = ((t.double() - z).abs().max().item() for t in (x, y))
        assert error <= 4 * usual_error, f"{name}: {error}, usual form {usual_error}"


def test_energies_are_not_scaled() -> None:
    Q = torch.full((1, 16, 1), 0.5)
    K = torch.stack([torch.zeros(16), torch.full((16,), 0.125)], dim=1)[None]
    Y = attention(Q, K, torch.tensor([[[0.0, 1.0]]]))
    assert Y.item() == pytest.approx(torch.tensor(1.0).sigmoid().item())  # the energies are 0 and 1


def test_strided_arguments_and_gradients_equal_contiguous_ones() -> None:
    arguments = inputs()
    strided = leaves(lambda x: x.transpose(1, 2).contiguous().transpose(1, 2), arguments)
    assert not any(x.is_contiguous() for x in strided)
    assert_equal(output_and_gradients(attention, strided), output_and_gradients(attention, arguments), 1e-14)
    expanded = torch.autograd.grad(attention(*strided).sum(), strided)
    expected = torch.autograd.grad(usual(*arguments).sum(), arguments)
    for x, y in zip(expanded, expected, strict=True):
        torch.testing.assert_close(x, y, atol=1e-12, rtol=0)


def test_order_of_keys_does_not_matter_and_order_of_queries_is_kept(small_blocks: None) -> None:
    Q, K, V = inputs()
    keys, queries = torch.randperm(K.shape[2]), torch.randperm(Q.shape[2])
    Y = attention(Q, K, V)
    torch.testing.assert_close(attention(Q, K[:, :, keys], V[:, :, keys]), Y, atol=1e-12, rtol=0)
    torch.testing.assert_close(attention(Q[:, :, queries], K, V), Y[:, :, queries], atol=1e-12, rtol=0)


def test_output_is_an_average_of_the_values() -> None:
    Q, K, V = inputs(deviation=40.0, dtype=torch.float32)
    torch.testing.assert_close(attention(Q, K, torch.ones_like(V)), torch.ones(2, 6, 35))
    Y = attention(Q, K, V)
    assert Y.sub(V.amax(dim=2, keepdim=True)).max() <= 1e-5
    assert Y.sub(V.amin(dim=2, keepdim=True)).min() >= -1e-5


def test_gradient_of_the_gradient_is_refused() -> None:
    arguments = inputs(n=5, m=4)
    (dQ,) = torch.autograd.grad(attention(*arguments).sum(), arguments[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        torch.autograd.grad(dQ.sum(), arguments[:1])


# Half precision


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("onednn", [True, False])
def test_autocast_leaves_float32_work_in_float32(
    monkeypatch: pytest.MonkeyPatch, half: torch.dtype, onednn: bool
) -> None:
    if not onednn:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    arguments = inputs(d=16, deviation=1.5e4, dtype=torch.float32)
    energies = (arguments[0].transpose(1, 2) @ arguments[1]).abs().max().item()
    assert 5e4 <= energies <= 1e5
    outside = output_and_gradients(attention, arguments)
    with torch.autocast("cpu", half):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == half
        inside = output_and_gradients(attention, arguments)
    assert all(x.isfinite().all() for x in inside)
    assert inside[0].dtype == torch.float32
    assert_equal(inside, outside, 0.0)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_equals_float32_up_to_the_rounding_of_the_output(half: torch.dtype) -> None:
    arguments = inputs(d=16, deviation=1.5e4, dtype=half)
    wide = leaves(Tensor.float, arguments)
    expected = output_and_gradients(attention, wide)
    with torch.autocast("cpu", half):
        Y = attention(*arguments)
    gradients = torch.autograd.grad(Y, arguments, torch.linspace(-1, 2, Y.numel()).view_as(Y).to(half))
    assert Y.dtype == half
    torch.testing.assert_close(Y, expected[0].to(half), atol=0, rtol=0)
    assert all(x.isfinite().all() and x.dtype == half for x in gradients)
    rounding = torch.finfo(half).eps
    torch.testing.assert_close(gradients[2].float(), expected[3], atol=4 * rounding, rtol=4 * rounding)


def test_output_has_the_dtype_of_the_values() -> None:
    Q, K, V = inputs()
    assert attention(Q.half(), K.bfloat16(), V.float()).dtype == torch.float32
    mixed = attention(Q, K, V.float())
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, usual(Q, K, V.float().double()).float(), atol=1e-6, rtol=0)


# Inside the blocks


class DenormalWeights(TorchDispatchMode):
    """Counts the denormal numbers among weights and among products with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at: set[str] = set()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("exp_", "mul_", "_softmax"):
            self.looked_at.add(name)
            self.count += int(((result != 0) & (result.abs() < torch.finfo(result.dtype).tiny)).sum())
        return result


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_tensor_holds_all_pairs(dtype: torch.dtype) -> None:
    n, m = 1500, 1400
    Q, K, V = (x.detach() for x in inputs(n, m, d=4, c=6, dtype=dtype))
    with LargestTensor() as forward:
        Y, Z = module._forward(Q, K, V)
    with LargestTensor() as backward:
        module._backward(torch.ones_like(Y), Q, K, V, Y, Z)
    with LargestTensor() as stored:
        usual(Q, K, V)
    assert forward.entries == 256 * m, "the mode must see inside: the largest tensor is one block"
    assert backward.entries == 256 * n
    assert stored.entries >= 2 * n * m, "the usual form must be caught"


def test_no_weight_is_denormal() -> None:
    Q, K, V = (x.detach() for x in inputs(300, 290, 16, 24, deviation=30.0, dtype=torch.float32))
    with DenormalWeights() as ours:
        Y, Z = module._forward(Q, K, V)
        assert ours.looked_at == {"exp_"}
        module._backward(torch.ones_like(Y), Q, K, V, Y, Z)
    with DenormalWeights() as theirs:
        usual(Q, K, V)
    assert ours.looked_at == {"exp_", "mul_"}
    assert ours.count == 0
    assert theirs.count > 0, "the energies must be spread enough to matter"


def test_what_is_kept_for_the_backward_pass_is_linear_in_positions() -> None:
    arguments = inputs(n=300, m=200)
    kept: list[int] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attention(*arguments)
    assert sorted(kept) == sorted(2 * s for s in (4 * 300, 4 * 200, 6 * 200, 6 * 300, 300))


@pytest.mark.slow
def test_peak_memory_is_a_small_part_of_the_usual_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "get_context", lambda _: forked.SERVER)  # new processes that import nothing
    ours, theirs = (growth_in_new_process(name, 4096, 64, 512) for name in ("attention", "usual"))
    assert theirs >= 4 * 4 * 4096**2, "the usual form must have been measured"
    assert ours >= 4 * 4096 * (64 + 512), "the gradients at least must have been measured"
    assert ours <= theirs / 6


# The other forms, and the rule that chooses


@pytest.mark.parametrize(("form", "d", "c"), [(table, 4, 6), (stream, 4, 6), (split, 4, 12), (split, 6, 6)])
def test_forms_equal_the_usual_form(form: Form, d: int, c: int) -> None:
    arguments = inputs(d=d, c=c)
    with LargestTensor() as largest, forced(form):
        ours = output_and_gradients(attention, arguments)
    assert (largest.entries >= 2 * 35 * 21) == (form is table)
    assert_equal(ours, output_and_gradients(usual, arguments), 1e-10)


@pytest.mark.parametrize("deviation", [2.0, 200.0])
@pytest.mark.parametrize("entries", [1, 2 * 21 * 8, 2**25])
def test_the_blocks_of_a_gpu_equal_the_usual_form(
    monkeypatch: pytest.MonkeyPatch, entries: int, deviation: float
) -> None:
    monkeypatch.setattr(module, "GPU_ENTRIES", entries)
    arguments = inputs(deviation=deviation)
    Q, K, V = (x.detach() for x in arguments)
    with LargestTensor() as largest:
        Y, Z = module._forward_at_once(Q, K, V)
        weights = torch.linspace(-1, 2, Y.numel(), dtype=Y.dtype).view_as(Y)
        gradients = module._backward_at_once(weights, Q, K, V, Y, Z)
    assert largest.entries <= max(entries, 2 * 35 * 6)
    assert_equal([Y, *gradients], output_and_gradients(usual, arguments), 1e-10)


def test_the_blocks_of_a_gpu_are_large_enough_to_be_fast_and_hold_little_memory() -> None:
    assert 16 * 2**20 <= module.GPU_ENTRIES <= 64 * 2**20
    Q, K, _ = fakes("cuda", torch.float32, 9216, 9216, 64, 512)
    assert 2 <= len(list(module._even_blocks(Q, K))) <= 6


def errors(form: Form, arguments: Triple) -> list[float]:
    """The largest error of a form's output and gradients against float64, each relative to the largest entry."""
    exact = output_and_gradients(usual, leaves(Tensor.double, arguments))
    found = output_and_gradients(form, arguments)
    return [float((x.double() - y).abs().max() / y.abs().max()) for x, y in zip(found, exact, strict=True)]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_output_of_halves_kept_is_as_exact_as_that_of_halves_raised(half: torch.dtype, device: str) -> None:
    arguments = leaves(lambda x: x.to(device), inputs(300, 290, 16, 64, deviation=2.9, dtype=half))
    kept = errors(split, arguments)
    assert kept[0] <= 1.2 * errors(lambda *x: stream(*x).to(half), arguments)[0]
    assert max(kept) <= 1.2 * max(errors(usual, arguments))


@pytest.mark.parametrize(
    ("half", "of_raised", "of_stored"),
    [(torch.bfloat16, (2.5, 2.6, 2.2), (0.9, 1.6, 1.2)), (torch.float16, (2.8, 6.7, 2.2), (0.6, 2.8, 1.3))],
)
def test_errors_of_the_gradients_of_halves_are_what_the_documentation_says(
    half: torch.dtype, of_raised: tuple[float, ...], of_stored: tuple[float, ...]
) -> None:
    """Each within a quarter of its figure: dQ, dK and dV beside halves raised, and beside the usual form in half."""
    arguments = inputs(300, 290, 16, 64, deviation=2.9, dtype=half)
    kept, stored = errors(split, arguments)[1:], errors(usual, arguments)[1:]
    raised = errors(lambda *x: stream(*x).to(half), arguments)[1:]
    assert all(x <= most * y for x, y, most in zip(kept, raised, of_raised, strict=True))
    assert all(x <= most * y for x, y, most in zip(kept, stored, of_stored, strict=True))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("form", [split, table, stream])
def test_large_energies_of_halves_stay_finite(half: torch.dtype, device: str, form: Form) -> None:
    arguments = leaves(lambda x: x.to(device), inputs(d=16, c=32, deviation=1.5e4, dtype=half))
    energies = (arguments[0].float().transpose(1, 2) @ arguments[1].float()).abs().max().item()
    assert 5e4 <= energies <= 1e5
    with forced(lambda *x: form(*(y.to(half) for y in x))):
        assert all(x.isfinite().all() for x in output_and_gradients(attention, arguments))


@pytest.mark.parametrize(
    ("device", "dtype", "sizes", "name"),
    [
        ("cpu", torch.float32, (9216, 9216, 64, 512), "stream"),
        ("cpu", torch.bfloat16, (512, 512, 9216, 9216), "stream"),
        ("cuda", torch.bfloat16, (9216, 9216, 64, 512), "split"),
        ("cuda", torch.float16, (9216, 9216, 64, 512), "split"),
        ("cuda", torch.float32, (9216, 9216, 64, 512), "stream"),
        ("cuda", torch.float64, (9216, 9216, 64, 512), "stream"),
        ("cuda", torch.bfloat16, (512, 512, 9216, 9216), "table"),
        ("cuda", torch.float32, (1024, 1024, 64, 512), "table"),
        ("cuda", torch.bfloat16, (1025, 1024, 64, 512), "split"),
    ],
)
def test_device_dtype_and_widths_decide(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, sizes: tuple[int, int, int, int], name: Name
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 0))
    assert rule(*fakes(device, dtype, *sizes)) == name


@pytest.mark.parametrize(("d", "c"), [(12, 96), (64, 500), (264, 528)])
def test_halves_that_no_kernel_takes_are_streamed_and_said(d: int, c: int) -> None:
    with pytest.warns(UserWarning, match=rf"keys of {d} and values of {c} channels.*block by block in float32"):
        assert rule(*fakes("cuda", torch.bfloat16, 9216, 9216, d, c)) == "stream"


def test_bfloat16_is_streamed_and_said_on_a_gpu_without_a_kernel_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    with pytest.warns(UserWarning, match=r"bfloat16 on a GPU of compute capability below 8.0.*in float32.*float16"):
        assert rule(*fakes("cuda", torch.bfloat16, 9216, 9216, 64, 512)) == "stream"
    assert rule(*fakes("cuda", torch.float16, 9216, 9216, 64, 512)) == "split"
    assert rule(*fakes("cuda", torch.bfloat16, 512, 512, 64, 512)) == "table"


def fakes(device: str, dtype: torch.dtype, n: int, m: int, d: int, c: int) -> Triple:
    """Arguments of one image that have a device and no memory."""
    with FakeTensorMode():
        shapes = ((1, d, n), (1, d, m), (1, c, m))
        Q, K, V = (torch.empty(shape, device=device, dtype=dtype) for shape in shapes)
    return Q, K, V


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_form_is_given_halves_on_a_gpu_and_raised_ones_on_a_cpu(half: torch.dtype, device: str) -> None:
    given: list[torch.dtype] = []

    def spy(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        given.extend(x.dtype for x in (Q, K, V))
        return V

    arguments = fakes(device, half, 9216, 9216, 64, 512)
    with forced(spy):
        assert attention(*arguments).dtype == half
        assert attention(*arguments[:2], arguments[2].float()).dtype == torch.float32
    assert given == 3 * [half if device == "cuda" else torch.float32] + 3 * [torch.float32]


def test_values_that_are_no_multiple_of_the_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="use stream"):
        split(*inputs(d=4, c=6))


def test_a_form_is_forced_for_a_while_only() -> None:
    arguments = inputs(d=4, c=12)
    calls: list[str] = []

    def spy(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        calls.append("spy")
        return split(Q, K, V)

    with forced(spy):
        ours = output_and_gradients(attention, arguments)
    assert_equal(ours, output_and_gradients(attention, arguments), 1e-10)
    assert calls == ["spy"]


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_on_a_gpu_the_chosen_form_is_exact_and_deterministic(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, precision: str
) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        arguments = leaves(lambda x: x.cuda(), inputs(2000, 1900, 64, 512, deviation=2.9, dtype=dtype))
        torch.use_deterministic_algorithms(True)
        first, second = (output_and_gradients(attention, arguments) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    most = {torch.float32: 2e-3 if precision == "high" else 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    exact = output_and_gradients(usual, leaves(Tensor.double, arguments))
    assert max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(first, exact, strict=True)) <= most


# Compiler and exporter


def test_operators_describe_themselves_truly() -> None:
    Q, K, V = inputs(n=7, m=5)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.core.attention, (Q, K, V), test_utils=checks)
    Y, Z = torch.ops.core.attention(Q.detach(), K.detach(), V.detach())
    arguments = (torch.ones_like(Y), Q.detach(), K.detach(), V.detach(), Y, Z)
    torch.library.opcheck(torch.ops.core.attention_backward, arguments, test_utils=checks)


@pytest.mark.slow
def test_compiled_in_one_graph_for_any_number_of_positions(no_type_checks: None) -> None:
    torch.compiler.reset()
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager", dynamic=True)
    for n, m in ((35, 21), (11, 40), (50, 13)):
        arguments = inputs(n, m)
        with torch.compiler.set_stance("fail_on_recompile" if n != 35 else "default"):
            ours = output_and_gradients(compiled, arguments)
        assert_equal(ours, output_and_gradients(attention, arguments), 1e-14)


class Attend(torch.nn.Module):
    """A network that is nothing but attention."""

    def forward(self, Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        """Return softmax(Q K^T) V."""
        return attention(Q, K, V)


def test_exported_and_loaded_again_for_any_number_of_positions() -> None:
    n, m = Dim("n"), Dim("m")
    arguments = tuple(x.detach() for x in inputs(dtype=torch.float32))
    exported = torch.export.export(Attend(), arguments, dynamic_shapes=({2: n}, {2: m}, {2: m}))
    operators = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert operators.count("core.attention.default") == 1
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for arguments in (inputs(35, 21, dtype=torch.float32), inputs(50, 13, dtype=torch.float32)):
        assert torch.equal(loaded(*arguments), attention(*arguments))


# Rows for pictures


def test_rows_equal_those_of_the_usual_form() -> None:
    Q, K, _ = inputs()
    positions = torch.tensor([34, 0, 7, 7])
    rows = attention_rows(Q, K, positions)
    expected = (Q.transpose(1, 2) @ K).softmax(dim=2)[:, positions]
    assert rows.shape == (2, 4, 21)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows, expected.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.sum(dim=2), torch.ones(2, 4))
    assert attention_rows(Q, K, torch.tensor([], dtype=torch.int64)).shape == (2, 0, 21)


@pytest.mark.parametrize("deviation", [3.0, 1.5e4])
def test_rows_are_float32_under_autocast(deviation: float) -> None:
    Q, K, _ = inputs(d=16, deviation=deviation, dtype=torch.float32)
    positions = torch.arange(5)
    with torch.autocast("cpu", torch.bfloat16):
        rows = attention_rows(Q, K, positions)
    assert rows.isfinite().all()
    assert torch.equal(rows, attention_rows(Q, K, positions))


# Errors


@pytest.mark.parametrize(
    ("queries", "keys", "values", "message"),
    [
        ((2, 4, 5), (2, 3, 6), (2, 7, 6), "same b and d"),
        ((1, 4, 5), (2, 4, 6), (2, 7, 6), "same b and d"),
        ((2, 4, 5, 5), (2, 4, 6), (2, 7, 6), "flatten maps"),
        ((2, 4, 5), (2, 4, 0), (2, 7, 0), "at least one key"),
        ((2, 4, 5), (2, 4, 6), (2, 7, 5), "one value per key"),
        ((2, 4, 5), (2, 4, 6), (1, 7, 6), "one value per key"),
        ((2, 4, 5), (2, 4, 6), (7, 6), "one value per key"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    no_type_checks: None, queries: tuple[int, ...], keys: tuple[int, ...], values: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attention(torch.ones(queries), torch.ones(keys), torch.ones(values))


def test_integers_are_refused(no_type_checks: None) -> None:
    numbers, whole = torch.ones(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.int64)
    for arguments in ((whole, numbers, numbers), (numbers, whole, numbers), (numbers, numbers, whole)):
        with pytest.raises(ValueError, match=r"int64.*call \.float\(\)"):
            attention(*arguments)


@pytest.mark.parametrize("position", [-1, 35])
def test_positions_outside_the_map_are_refused(position: int) -> None:
    Q, K, _ = inputs()
    with pytest.raises(ValueError, match=f"from 0 to 34, got .3, {position}."):
        attention_rows(Q, K, torch.tensor([3, position]))


def test_rows_of_shapes_that_do_not_fit_are_refused(no_type_checks: None) -> None:
    with pytest.raises(ValueError, match="same b and d"):
        attention_rows(torch.ones(1, 2, 3), torch.ones(1, 4, 3), torch.tensor([0]))


def test_no_query_gives_no_output() -> None:
    _, K, V = inputs()
    Q = torch.zeros(2, 4, 0, dtype=torch.float64, requires_grad=True)
    Y, dQ, dK, dV = output_and_gradients(attention, (Q, K, V))
    assert Y.shape == (2, 6, 0)
    assert dQ.shape == Q.shape
    assert not dK.any()
    assert not dV.any()
