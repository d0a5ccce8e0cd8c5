"""RANet's Triton kernels against the plain form, in Triton's interpreter and on a GPU, and the choice between both.

Without a GPU they are compiled for one, as far as the machine code, and not run.

The interpreter takes the place of the compiler when Triton is imported, so the kernels run in a process of their own,
which is this file as a script: `python tests/test_ranet_kernels.py RESULTS DEVICE`, or `... compile CAPABILITY`.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from ci.bench import regions as region_benchmark
from papers.ranet import operators, passes

BLOCK = 16  # pairs of a program, so that small maps need several

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton, which comes with PyTorch's CUDA builds, is not here"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


class Case(NamedTuple):
    """Arguments of the three passes."""

    B: Tensor
    C: Tensor
    index: Tensor
    amounts: Tensor  # dF
    threshold: float
    boundary: bool = True
    semantic: bool = True

    def first_matches(self) -> tuple[Any, ...]:
        """The arguments of the first pass."""
        w, b = torch.tensor(0.9), torch.tensor(0.05)
        return (self.B, self.C, w.to(self.B), b.to(self.B), self.threshold, "paper", self.boundary, self.semantic)

    def region_means(self) -> tuple[Any, ...]:
        """The arguments of the second pass; with the amounts before them, of the third."""
        return self.B, self.C, self.index, "paper", self.boundary, self.semantic


def case(images: int, k: int, h: int, w: int, threshold: float, boundary: bool = True, semantic: bool = True) -> Case:
    """Random maps, with regions that do not come from them."""
    generator = torch.Generator().manual_seed(k)
    B = 0.6 * torch.rand(images, h, w, generator=generator)
    C = (1.5 * torch.randn(images, k, h, w, generator=generator)).softmax(dim=1)
    index = torch.randint(min(2, h * w), B.shape, generator=generator)
    return Case(B, C, index, torch.randn(B.shape, generator=generator), threshold, boundary, semantic)


def ties() -> Case:
    """A boundary map of 0, 1/2 and 1 in one region: many lines have their maximum twice, and many an F of 1/2."""
    B = torch.tensor([[[0.0, 0.5, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 1.0, 0.5], [0.0, 0.0, 0.5, 0.5, 0.0]]])
    C = torch.full((1, 2, 3, 5), 0.5)
    return Case(B, C, torch.zeros(B.shape, dtype=torch.int64), torch.ones(B.shape), 0.9 * 0.5 + 0.05, semantic=False)


CASES = {
    "two images": case(2, 5, 4, 5, 0.5),
    "many classes": case(1, 18, 5, 3, 0.6, boundary=False),
    "ties": ties(),
    "one pixel": case(1, 3, 1, 1, 0.5),
}

Results = dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]


def results(first: Callable[..., Any], means: Callable[..., Any], gradients: Callable[..., Any], to: str) -> Results:
    """First matches, means and both gradients of all cases."""
    found = {}
    for name, of in CASES.items():
        of = Case(*(x.to(to) if isinstance(x, Tensor) else x for x in of))
        answers = first(*of.first_matches()), means(*of.region_means()), *gradients(of.amounts, *of.region_means())
        found[name] = tuple(x.cpu() for x in answers)
    return found


def run_kernels(file: Path, device: str, environment: dict[str, str]) -> Results:
    """The kernels' results, from a new process."""
    command = [sys.executable, __file__, str(file), device]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return torch.load(file)


@pytest.fixture(scope="module")
def plain() -> Results:
    """What the kernels must give."""
    return results(passes.first_matches, passes.region_means, passes.region_means_backward, "cpu")


def assert_equal(ours: Results, plain: Results) -> None:
    """Labels are identical, means and gradients equal to 1e-5."""
    for name in CASES:
        for x, y in zip(ours[name], plain[name], strict=True):
            torch.testing.assert_close(x, y, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
            assert x.dtype == y.dtype


@needs_triton
def test_interpreted_kernels_equal_the_plain_form(tmp_path: Path, plain: Results) -> None:
    assert_equal(run_kernels(tmp_path / "results.pt", "cpu", {"TRITON_INTERPRET": "1"}), plain)


@needs_triton
@needs_cuda
def test_compiled_kernels_equal_the_plain_form(tmp_path: Path, plain: Results) -> None:
    assert_equal(run_kernels(tmp_path / "results.pt", "cuda", {"TRITON_INTERPRET": "0"}), plain)


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])  # A100, H100 and H200
def test_the_kernels_compile_without_a_gpu(capability: int) -> None:
    command = [sys.executable, __file__, "compile", str(capability)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "9 compiled\n"


def test_the_cases_tell_kernels_from_less(plain: Results) -> None:
    for name in ("two images", "many classes", "ties"):
        follow, means, dB, dC = plain[name]
        own = torch.arange(follow[0].numel()).view(follow[0].shape)
        assert 0 < (follow != own).double().mean() < 1
        assert follow[follow != own].unique().numel() > 1, "not all follow the first pixel"
        assert means.std() > 0.01
        assert (dB.abs().max() > 0.1) == CASES[name].boundary
        assert (dC.abs().max() > 0.1) == CASES[name].semantic
    of = ties()
    lower = passes.first_matches(*of._replace(threshold=of.threshold - 1e-4).first_matches())
    assert (lower != plain["ties"][0]).any(), "an F at the threshold is not above it"
    reverse = passes.region_means_backward(of.amounts, *of._replace(B=of.B.flip(1, 2)).region_means())[0].flip(1, 2)
    assert (reverse - plain["ties"][2]).abs().max() > 0.01, "which of equal samples has the gradient matters"


# The choice between both, with stand-ins: no kernel runs


class Clock:
    """Stands for the timing of forms, the kernel first: gives one time after the other, and counts."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.asked = 0

    def __call__(self, run: Callable[[], object], device: torch.device) -> float:
        self.asked += 1
        return self.seconds.pop(0)


def means_kernel(calls: list[str], error: float = 0.0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Stands for `_kernel`: a kernel for region means that is off by so much, and is heard when it is called."""

    def kernel(*arguments: Any) -> Tensor:
        calls.append("kernel")
        return passes.region_means(*arguments) + error

    return lambda plain: kernel


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """Runs region means as on CUDA, on tensors of the CPU, with no choice made yet."""
    monkeypatch.setattr(operators, "form_is_fixed", lambda x: False)
    monkeypatch.setattr(operators, "ON_CUDA", "faster")
    monkeypatch.setattr(operators, "_faster_forms", {})
    monkeypatch.setattr(operators, "find_spec", lambda name: importlib.util.spec_from_loader(name, None))
    return lambda *arguments: operators._on_cuda(passes.region_means, *arguments)


def arguments(h: int = 3, w: int = 4) -> tuple[Any, ...]:
    """Arguments of the second pass."""
    return case(1, 3, h, w, 0.5).region_means()


@pytest.mark.parametrize(("seconds", "taken"), [((1.0, 2.0), 1), ((2.0, 1.0), 0)])
def test_the_faster_form_is_taken_and_kept(
    monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor], seconds: tuple[float, float], taken: int
) -> None:
    calls: list[str] = []
    clock = Clock(*seconds, *seconds)
    monkeypatch.setattr(operators, "_kernel", means_kernel(calls))
    monkeypatch.setattr(operators, "median_seconds", clock)
    for _ in range(3):
        assert torch.equal(on_cuda(*arguments()), passes.region_means(*arguments()))
    assert clock.asked == 2
    assert len(calls) == 1 + 3 * taken  # one call is compared with the plain form
    on_cuda(*arguments(w=5))  # of about that size
    assert clock.asked == 2
    on_cuda(*arguments(h=5))
    assert clock.asked == 4
    assert sorted(operators._faster_forms.values()) == ["kernel" if taken else "plain"] * 2


def test_a_kernel_that_fails_is_replaced_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor], recwarn: pytest.WarningsRecorder
) -> None:
    def fails(*_: Any) -> Tensor:
        raise SyntaxError("no such instruction")

    monkeypatch.setattr(operators, "_kernel", lambda plain: fails)
    monkeypatch.setattr(operators, "median_seconds", Clock())
    for h in (3, 3, 5):
        assert torch.equal(on_cuda(*arguments(h)), passes.region_means(*arguments(h)))
    (warning,) = recwarn.list
    assert "without Triton" in str(warning.message)
    assert "no such instruction" in str(warning.message)


@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_a_kernel_that_is_wrong_is_replaced(
    monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor], error: float
) -> None:
    monkeypatch.setattr(operators, "_kernel", means_kernel([], error))
    monkeypatch.setattr(operators, "median_seconds", Clock())
    with pytest.warns(UserWarning, match="not that of the plain form"):
        means = on_cuda(*arguments())
    assert torch.equal(means, passes.region_means(*arguments()))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_decide_nothing(
    monkeypatch: pytest.MonkeyPatch,
    on_cuda: Callable[..., Tensor],
    recwarn: pytest.WarningsRecorder,
    number: float,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(operators, "_kernel", means_kernel(calls))
    monkeypatch.setattr(operators, "median_seconds", Clock(1.0, 2.0))
    B, *others = arguments()
    broken = (torch.full_like(B, number), *others)
    assert torch.equal(on_cuda(*broken).isnan(), passes.region_means(*broken).isnan())
    assert calls == []
    on_cuda(B, *others)
    assert calls == ["kernel", "kernel"]
    assert not recwarn.list


def test_a_lack_of_memory_decides_nothing(
    monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor], recwarn: pytest.WarningsRecorder
) -> None:
    def full(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(operators, "_kernel", lambda plain: full)
    assert torch.equal(on_cuda(*arguments()), passes.region_means(*arguments()))
    calls: list[str] = []
    monkeypatch.setattr(operators, "_kernel", means_kernel(calls))
    monkeypatch.setattr(operators, "median_seconds", Clock(1.0, 2.0))
    on_cuda(*arguments())
    assert calls == ["kernel", "kernel"]
    assert not recwarn.list


def test_the_released_reading_has_no_kernel(monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor]) -> None:
    calls: list[str] = []
    monkeypatch.setattr(operators, "_kernel", means_kernel(calls))
    monkeypatch.setattr(operators, "ON_CUDA", "kernel")
    released = tuple("released" if x == "paper" else x for x in arguments()[3:])
    assert released != arguments()[3:]
    on_cuda(*arguments()[:3], *released)
    assert calls == []


def test_matches_may_differ_by_rounding_only() -> None:
    B, theirs = torch.ones(1, 20, 20), torch.arange(400).view(1, 20, 20)
    ours = theirs.clone()
    ours[0, 0, :4] += 1
    operators._require_agreement(ours, theirs, B)
    ours[0, 0, :5] = 999
    with pytest.raises(RuntimeError, match="plain form"):
        operators._require_agreement(ours, theirs, B)
    with pytest.raises(RuntimeError, match="plain form"):
        operators._require_agreement((B, 0.9 * B), (B, B), B)


def test_a_form_can_be_forced(monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor]) -> None:
    calls: list[str] = []
    monkeypatch.setattr(operators, "_kernel", means_kernel(calls, 0.5))
    monkeypatch.setattr(operators, "ON_CUDA", "kernel")
    assert torch.equal(on_cuda(*arguments()), passes.region_means(*arguments()) + 0.5)
    assert calls == ["kernel"]
    monkeypatch.setattr(operators, "ON_CUDA", "plain")
    assert torch.equal(on_cuda(*arguments()), passes.region_means(*arguments()))
    assert calls == ["kernel"]


def test_where_there_is_no_choice_no_kernel_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, on_cuda: Callable[..., Tensor]
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(operators, "_kernel", means_kernel(calls))
    B, C, index, _, *maps = arguments()
    on_cuda(B, C, index, "released", *maps)
    with monkeypatch.context() as patch:
        patch.setattr(operators, "find_spec", lambda name: None)
        on_cuda(*arguments())
    with monkeypatch.context() as patch:
        patch.setattr(operators, "form_is_fixed", lambda x: True)
        on_cuda(*arguments())
    monkeypatch.setattr(operators, "ON_CUDA", "kernel")
    torch.ops.ranet.region_means(*arguments())  # of a CPU
    assert calls == []


@pytest.mark.parametrize("name", ["first_matches", "region_means", "region_means_backward"])
def test_the_operators_choose_on_cuda_alone(name: str) -> None:
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"ranet::{name}", "CUDA")
    assert not torch._C._dispatch_has_kernel_for_dispatch_key(f"ranet::{name}", "CPU")


def test_the_benchmark_refuses_a_form_without_a_choice() -> None:
    with pytest.raises(ValueError, match="--device cuda"):
        region_benchmark.main(form="kernel")


def compile_kernels(capability: int) -> int:
    """Compile each kernel for each choice of maps, as far as the machine code, and return how many there are."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from papers.ranet import pair_kernels

    sizes, sums = dict.fromkeys(("h", "w", "k"), "i32"), dict.fromkeys(("total", "shared", "dB"), "*fp64")
    made = []
    for kernel in (pair_kernels._first_matches, pair_kernels._region_sums, pair_kernels._region_gradients):
        for boundary, semantic in ((True, True), (True, False), (False, True)):
            choices = {"BOUNDARY": boundary, "SEMANTIC": semantic, "BLOCK": pair_kernels.BLOCK, "AT_ONCE": 10}
            known = {**sizes, **sums, "follow": "*i32", "index": "*i32", **dict.fromkeys(choices, "constexpr")}
            signature = {name: known.get(name, "*fp32") for name in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs=choices)
            made.append(compile(source, GPUTarget("cuda", capability, 32), {"enable_fp_fusion": False}))
    assert all(one.asm["cubin"] for one in made)
    assert not [one for one in made if ".local" in one.asm["ptx"]], "registers must hold what a program works on"
    return len(made)


def run_here(file: str, device: str) -> None:
    """Save what the kernels give, by small programs."""
    from papers.ranet import pair_kernels

    pair_kernels.BLOCK = BLOCK
    forms = pair_kernels.first_matches, pair_kernels.region_means, pair_kernels.region_means_backward
    torch.save(results(*forms, device), file)


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        sys.stdout.write(f"{compile_kernels(int(sys.argv[2]))} compiled\n")
    else:
        run_here(*sys.argv[1:])
