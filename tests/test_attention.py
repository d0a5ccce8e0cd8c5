"""The blockwise attention against the usual form (product, softmax, product) that stores every weight."""

import inspect
import io
from collections.abc import Callable, Iterator

import jaxtyping
import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor
from torch.export import Dim
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from ci.attention_benchmark import growth_in_new_process
from core.networks import attention as module
from core.networks.attention import FORMS, attention, attention_rows, direct, padded, split

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
    weights = torch.linspace(-1, 2, Y.numel(), dtype=Y.dtype).view_as(Y)
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
    monkeypatch.setattr(module, "BLOCK_ROWS", 8)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No shape checking by jaxtyping: the compiler cannot trace it, and it would refuse before our own errors."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def no_choice_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty record of fastest forms."""
    monkeypatch.setattr(module, "_fastest_forms", {})


# The same numbers as the usual form


@pytest.mark.parametrize(
    ("n", "m", "d", "c"), [(35, 21, 4, 6), (21, 35, 6, 4), (1, 9, 3, 3), (9, 1, 3, 5), (16, 16, 1, 8)]
)
def test_output_and_gradients_equal_the_usual_form(small_blocks: None, n: int, m: int, d: int, c: int) -> None:
    arguments = inputs(n, m, d, c)
    assert_equal(output_and_gradients(attention, arguments), output_and_gradients(usual, arguments), 1e-10)


def test_blocks_of_the_real_size_equal_the_usual_form() -> None:
    arguments = inputs(n=600, m=530, d=8, c=12)
    assert len(list(module._blocks(600, 530))) == 3
    assert_equal(output_and_gradients(attention, arguments), output_and_gradients(usual, arguments), 1e-10)


def test_blocks_cover_every_row_once_within_their_limits() -> None:
    assert [(b.start, b.stop) for b in module._blocks(600, 10)] == [(0, 256), (256, 512), (512, 600)]
    wide = list(module._blocks(1000, 2**15))
    assert [row for b in wide for row in range(b.start, b.stop)] == list(range(1000))
    assert max(b.stop - b.start for b in wide) * 2**15 == module.BLOCK_ENTRIES
    assert len(list(module._blocks(3, 2**30))) == 3
    assert list(module._blocks(0, 5)) == []


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


def test_peak_memory_is_a_small_part_of_the_usual_form() -> None:
    ours, theirs = (growth_in_new_process(name, 4096, 64, 512) for name in ("attention", "usual"))
    assert theirs >= 4 * 4 * 4096**2, "the usual form must have been measured"
    assert ours >= 4 * 4096 * (64 + 512), "the gradients at least must have been measured"
    assert ours <= theirs / 6


# Fused forms and the choice between them


@pytest.mark.parametrize(
    ("form", "d", "c"),
    [(direct, 8, 8), (padded, 4, 12), (padded, 12, 4), (padded, 8, 8), (split, 4, 12), (split, 6, 6)],
)
def test_fused_forms_equal_the_usual_form(form: Callable[[Tensor, Tensor, Tensor], Tensor], d: int, c: int) -> None:
    arguments = inputs(d=d, c=c)
    with LargestTensor() as largest:
        ours = output_and_gradients(form, arguments)
    assert largest.entries < 2 * 35 * 21
    assert_equal(ours, output_and_gradients(usual, arguments), 1e-10)


def test_fused_forms_ignore_autocast() -> None:
    arguments = inputs(d=4, c=12, dtype=torch.float32)
    for form in (padded, split):
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(form(*arguments), form(*arguments).float())
            inside = form(*arguments)
        assert torch.equal(inside, form(*arguments))


@pytest.mark.filterwarnings("ignore:Flash attention")
def test_fused_forms_refuse_rather_than_store_all_pairs() -> None:
    with pytest.raises(RuntimeError, match="No available kernel"):
        direct(*inputs(d=4, c=6))
    with pytest.raises(ValueError, match="use padded"):
        split(*inputs(d=4, c=6))


class Clock:
    """Stands for the timing of forms: returns given seconds, raises given errors, and remembers what was asked."""

    def __init__(self, times: dict[str, float | Exception]) -> None:
        self.times = times
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, name: str, Q: Tensor, K: Tensor, V: Tensor, needs_gradient: bool) -> float:
        self.asked.append((name, needs_gradient))
        answer = self.times[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("fastest", sorted(FORMS))
def test_fastest_form_is_chosen(no_choice_yet: None, fastest: str) -> None:
    clock = Clock({name: 1.0 if name == fastest else 2.0 for name in FORMS})
    assert module._fastest(*inputs(), seconds=clock) == fastest
    assert clock.asked == [(name, True) for name in FORMS]


def test_forms_that_raise_are_no_candidates(no_choice_yet: None) -> None:
    refused, exhausted = RuntimeError("No available kernel"), torch.OutOfMemoryError("memory")
    clock = Clock({"stream": 3.0, "direct": refused, "padded": 2.0, "split": ValueError("widths")})
    assert module._fastest(*inputs(), seconds=clock) == "padded"
    clock = Clock({"stream": 3.0, "direct": refused, "padded": exhausted, "split": refused})
    assert module._fastest(*inputs(n=7), seconds=clock) == "stream"
    with pytest.raises(torch.OutOfMemoryError):
        module._fastest(*inputs(n=8), seconds=Clock(dict.fromkeys(FORMS, exhausted)))


def test_choice_is_kept_for_each_kind_of_argument(no_choice_yet: None) -> None:
    Q, K, V = inputs()
    first = Clock({"stream": 2.0, "direct": 1.0, "padded": 3.0, "split": 3.0})
    other = Clock({"stream": 1.0, "direct": 2.0, "padded": 3.0, "split": 3.0})
    assert module._fastest(Q, K, V, seconds=first) == "direct"
    assert module._fastest(Q, K, V, seconds=other) == "direct"
    assert other.asked == []
    with torch.no_grad():
        assert module._fastest(Q, K, V, seconds=other) == "stream"
    assert other.asked[0] == ("stream", False)
    assert module._fastest(Q.detach(), K.detach(), V.detach(), seconds=first) == "stream"
    assert module._fastest(Q.float(), K.float(), V.float(), seconds=other) == "stream"
    assert module._fastest(Q[:, :, 1:], K, V, seconds=other) == "stream"
    assert len(module._fastest_forms) == 4


def test_form_is_fixed_on_cpu_and_where_timing_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCuda:
        device = torch.device("cuda", 0)

    fixed = inspect.unwrap(module._form_is_fixed)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert fixed(torch.ones(1))
    assert not fixed(OnCuda())
    with monkeypatch.context() as patch:
        patch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert fixed(OnCuda())
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert fixed(OnCuda())
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert fixed(OnCuda())


@pytest.mark.parametrize("name", ["stream", "padded", "split"])
def test_attention_runs_the_chosen_form(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    calls: list[str] = []

    def spy(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        calls.append(name)
        return form(Q, K, V)

    form = FORMS[name]
    monkeypatch.setattr(module, "_form_is_fixed", lambda V: False)
    monkeypatch.setattr(module, "_fastest", lambda Q, K, V: name)
    monkeypatch.setitem(FORMS, name, spy)
    arguments = inputs(d=4, c=12)
    ours = output_and_gradients(attention, arguments)
    assert calls == [name]
    assert_equal(ours, output_and_gradients(usual, arguments), 1e-10)


def test_timing_inside_activation_checkpointing_leaves_the_gradient_alone(
    monkeypatch: pytest.MonkeyPatch, no_choice_yet: None
) -> None:
    monkeypatch.setattr(module, "_form_is_fixed", lambda V: False)
    arguments = inputs(d=4, c=6)

    def checkpointed(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
        return checkpoint(attention, Q, K, V, use_reentrant=False)

    ours = output_and_gradients(checkpointed, arguments)
    assert list(module._fastest_forms.values()) in (["stream"], ["padded"])  # the others refuse these widths
    assert_equal(ours, output_and_gradients(usual, arguments), 1e-10)


# Compiler and exporter


def test_operators_describe_themselves_truly() -> None:
    Q, K, V = inputs(n=7, m=5)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.core.attention, (Q, K, V), test_utils=checks)
    Y, Z = torch.ops.core.attention(Q.detach(), K.detach(), V.detach())
    arguments = (torch.ones_like(Y), Q.detach(), K.detach(), V.detach(), Y, Z)
    torch.library.opcheck(torch.ops.core.attention_backward, arguments, test_utils=checks)


def test_compiled_in_one_graph_for_any_number_of_positions(unchecked: None) -> None:
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
    unchecked: None, queries: tuple[int, ...], keys: tuple[int, ...], values: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        attention(torch.ones(queries), torch.ones(keys), torch.ones(values))


def test_integers_are_refused(unchecked: None) -> None:
    numbers, whole = torch.ones(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.int64)
    for arguments in ((whole, numbers, numbers), (numbers, whole, numbers), (numbers, numbers, whole)):
        with pytest.raises(ValueError, match=r"int64.*call \.float\(\)"):
            attention(*arguments)


@pytest.mark.parametrize("position", [-1, 35])
def test_positions_outside_the_map_are_refused(position: int) -> None:
    Q, K, _ = inputs()
    with pytest.raises(ValueError, match=f"from 0 to 34, got .3, {position}."):
        attention_rows(Q, K, torch.tensor([3, position]))


def test_rows_of_shapes_that_do_not_fit_are_refused(unchecked: None) -> None:
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
