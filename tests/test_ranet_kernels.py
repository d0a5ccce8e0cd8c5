"""RANet's Triton kernels against the plain form, in Triton's interpreter and on a GPU, and where they are taken.

Without a GPU they are compiled for one, as far as the machine code, and not run.

The interpreter takes the place of the compiler when Triton is imported, so the kernels run in a process of their own,
which is this file as a script: `python tests/test_ranet_kernels.py RESULTS DEVICE`, or `... compile CAPABILITY...`.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from packaging.version import Version
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from papers.ranet import regions
from papers.ranet.regions import equations, operators

BLOCK = 64  # pairs of a program, so that small maps need several, and the last one has some to leave out

HERE = importlib.util.find_spec("triton") is not None

needs_triton = pytest.mark.skipif(not HERE, reason="Triton, which comes with PyTorch's CUDA builds, is not here")
needs_interpreter = pytest.mark.skipif(
    HERE and Version(version("triton")) < Version("3.7") and Version(version("numpy")) >= Version("2.4"),
    reason="Triton 3.6's interpreter takes arrays of one number for numbers, which numpy 2.4 refuses",
)


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
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(file)


@pytest.fixture(scope="module")
def plain() -> Results:
    """What the kernels must give."""
    return results(equations.first_matches, equations.region_means, equations.region_means_backward, "cpu")


def assert_equal(ours: Results, plain: Results) -> None:
    """Labels are identical, means and gradients equal to 1e-5."""
    for name in CASES:
        for x, y in zip(ours[name], plain[name], strict=True):
            torch.testing.assert_close(x, y, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
            assert x.dtype == y.dtype


@pytest.mark.slow
@needs_triton
@needs_interpreter
def test_interpreted_kernels_equal_the_plain_form(tmp_path: Path, plain: Results) -> None:
    assert_equal(run_kernels(tmp_path / "results.pt", "cpu", {"TRITON_INTERPRET": "1"}), plain)


@needs_triton
@pytest.mark.cuda
def test_compiled_kernels_equal_the_plain_form(tmp_path: Path, plain: Results) -> None:
    assert_equal(run_kernels(tmp_path / "results.pt", "cuda", {"TRITON_INTERPRET": "0"}), plain)


@pytest.mark.slow
@needs_triton
def test_the_kernels_compile_without_a_gpu() -> None:
    """For an A100, and for H100 and H200."""
    import forked  # here, since this file as a script needs none of what it imports

    done = forked.served([sys.executable, __file__, "compile", "80", "90"])
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("6 compiled\n" * 2)


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
    lower = equations.first_matches(*of._replace(threshold=of.threshold - 1e-4).first_matches())
    assert (lower != plain["ties"][0]).any(), "an F at the threshold is not above it"
    reverse = equations.region_means_backward(of.amounts, *of._replace(B=of.B.flip(1, 2)).region_means())[0].flip(1, 2)
    assert (reverse - plain["ties"][2]).abs().max() > 0.01, "which of equal samples has the gradient matters"


# Where the kernels are taken


def test_kernels_are_for_cuda_triton_and_the_reading_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode():
        on_cuda, on_cpu = torch.empty(1, 2, 2, device="cuda"), torch.empty(1, 2, 2)
    assert operators.passes(on_cpu, "paper") is equations
    monkeypatch.setattr(operators, "find_spec", lambda name: importlib.util.spec_from_loader(name, None))
    monkeypatch.setitem(sys.modules, "papers.ranet.regions.kernels", stub := ModuleType("kernels"))
    monkeypatch.setattr(regions, "kernels", stub, raising=False)
    assert operators.passes(on_cuda, "paper") is stub
    assert operators.passes(on_cuda, "released") is equations
    assert operators.passes(on_cpu, "paper") is equations
    monkeypatch.setattr(operators, "find_spec", lambda name: None)
    assert operators.passes(on_cuda, "paper") is equations


@pytest.mark.cuda
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_the_plain_form_on_a_gpu_is_that_of_a_cpu(reading: str) -> None:
    of = CASES["two images"]
    B, C, index, _, *maps = of.region_means()
    answers = []
    for device in ("cpu", "cuda"):
        b, c, i, amounts = (x.to(device) for x in (B, C, index, of.amounts))
        means = equations.region_means(b, c, i, reading, *maps)
        answers.append((means, *equations.region_means_backward(amounts, b, c, i, reading, *maps)))
    for ours, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(theirs.cpu(), ours, atol=1e-5, rtol=0)


WAITS = """
import sys, warnings, torch
from core.networks.backbones import Backbone
from papers.ranet.model import Architecture, RANet
network = RANet(5, Architecture(Backbone("resnet10_tiny"), reading=sys.argv[1])).cuda().train()
picture = torch.rand(2, 3, 65, 97, device="cuda")
network(picture).scores.mean().backward()  # kernels are compiled, libraries loaded
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    torch.cuda.set_sync_debug_mode("warn")
    network(picture).scores.mean().backward()
    torch.cuda.set_sync_debug_mode("default")
print(len([one for one in caught if "synchronizing CUDA operation" in str(one.message)]))
"""


@pytest.mark.cuda
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_a_step_waits_for_the_gpu_once(reading: str) -> None:
    """In a process of its own, without the type checks of the tests, so that only the step can wait."""
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", WAITS, reading]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]


def compile_kernels(capability: int) -> int:
    """Compile each kernel for each choice of maps, as far as the machine code, and return how many there are."""
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from papers.ranet.regions import kernels

    sizes, sums = dict.fromkeys(("h", "w", "k"), "i32"), dict.fromkeys(("total", "shared", "dB"), "*fp64")
    made = []
    for kernel in (kernels._first_matches, kernels._region_sums, kernels._region_gradients):
        for boundary in (True, False):
            known = {**sizes, **sums, "follow": "*i32", "index": "*i32", "BOUNDARY": "constexpr"}
            signature = {name: known.get(name, "*fp32") for name in kernel.arg_names}
            source = ASTSource(fn=kernel, signature=signature, constexprs={"BOUNDARY": boundary})
            made.append(compile(source, GPUTarget("cuda", capability, 32), {"enable_fp_fusion": False}))
    assert all(one.asm["cubin"] for one in made)
    assert not [one for one in made if ".local" in one.asm["ptx"]], "registers must hold what a program works on"
    return len(made)


def run_here(file: str, device: str) -> None:
    """Save what the kernels give, by small programs."""
    from triton.language import constexpr

    from papers.ranet.regions import kernels

    kernels.BLOCK = constexpr(BLOCK)
    forms = kernels.first_matches, kernels.region_means, kernels.region_means_backward
    torch.save(results(*forms, device), file)


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        sys.stdout.writelines(f"{compile_kernels(int(capability))} compiled\n" for capability in sys.argv[2:])
    else:
        run_here(*sys.argv[1:])
