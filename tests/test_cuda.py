"""On a GPU: every paper trains in each precision, goes on bit for bit, compiles, and tests as on the CPU.

`pytest -m cuda` runs these and the marked tests of other files. `on_the_cpu` below are the same functions where there
is no GPU, so that they are known to run.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from accelerate.state import AcceleratorState, GradientState
from networks import PAPERS, pictures
from tiny import begin, differing, left
from torch import Tensor

from core.networks.inference import infer
from core.paper import Paper
from core.recipe import Augmentation, Precision, Protocol, Recipe
from core.training.loop import train
from core.training.setup import Training

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when the first test uses it

STEPS, STOPPED = 5, 3


@pytest.fixture(autouse=True)
def as_before(one_thread: None) -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Stopping:
    """A loss that is given so often, and then the run is killed."""

    def __init__(self, loss: Any, times: int) -> None:
        self.loss, self.left = loss, times

    def __call__(self, output: Any, labels: Tensor) -> dict[str, Tensor]:
        if not self.left:
            raise tiny.Killed
        self.left -= 1
        return self.loss(output, labels)


def short(paper: Paper) -> Recipe[Any]:
    """The paper's demonstration, a few steps long."""
    recipe = paper.recipes[paper.demo]
    steps = dataclasses.replace(recipe.optimisation, batch=4, length=STEPS, unit="steps", learning_rate=0.01)
    sizes = Augmentation(crop=48, scale=(0.8, 1.5))
    return dataclasses.replace(recipe, name=tiny.NAME, optimisation=steps, augmentation=sizes, protocol=Protocol())


def started(paper: Paper, to: Path, times: int = STEPS, **run: Any) -> Training[Any]:
    """A run of the paper that is killed after so many steps, if it does not end before."""
    what = short(paper)
    objective = Stopping(paper.objective(what.architecture), times)
    return begin(to, what, objective, build=paper.network, **run)


def goes_on_bit_for_bit(paper: Paper, precision: Precision, to: Path) -> torch.device:
    """Train twice, once killed and resumed, and compare everything that is left."""
    chosen: dict[str, Any] = {"precision": precision, "deterministic": True}
    whole = started(paper, to / "whole", **chosen)
    train(whole)
    with pytest.raises(tiny.Killed):
        train(started(paper, to / "killed", STOPPED, **chosen))
    resumed = started(paper, to / "killed", **chosen)
    assert resumed.state is not None
    assert resumed.state["step"] == 2
    train(resumed)
    found = left(to / "whole" / tiny.NAME)
    assert differing(found, left(to / "killed" / tiny.NAME)) == []
    assert all(value.isfinite().all() for value in found["weights"].values())
    return whole.accelerator.device


def losses(to: Path) -> list[float]:
    return [line["loss"] for line in tiny.metrics(to / tiny.NAME) if "loss" in line]


def compiles(paper: Paper, to: Path, **run: Any) -> None:
    """A compiled run has the losses of the usual one, and a checkpoint with the usual names."""
    train(started(paper, to / "usual"))
    torch.compiler.reset()
    train(started(paper, to / "compiled", compile=True, **run))
    assert losses(to / "compiled") == pytest.approx(losses(to / "usual"), rel=0.01)
    names = [left(to / run_ / tiny.NAME)["weights"].keys() for run_ in ("usual", "compiled")]
    assert names[0] == names[1]


def answers_as_on_the_cpu(paper: Paper, device: str) -> None:
    """Windows, scales and mirrored images of one picture, in float32."""
    torch.manual_seed(0)
    recipe = short(paper)
    network = paper.network(recipe.data.num_classes, recipe.architecture).eval()
    image = pictures(1, 97, 129)[0].float()
    protocol = Protocol(crop=80, stride=48, scales=(0.75, 1.25), flip=True, merge=paper.golden_merge)
    expected = infer(network, image, protocol)
    found = infer(network.to(device), image.to(device), protocol).cpu()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


papers = pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@papers
def test_a_killed_run_goes_on_bit_for_bit(paper: Paper, precision: Precision, tmp_path: Path) -> None:
    assert goes_on_bit_for_bit(paper, precision, tmp_path).type == "cuda"


@pytest.mark.cuda
@papers
def test_compiled_runs_are_the_usual_ones(paper: Paper, tmp_path: Path, no_type_checks: None) -> None:
    compiles(paper, tmp_path)


@pytest.mark.cuda
def test_replayed_graphs_are_the_usual_run(tmp_path: Path, no_type_checks: None) -> None:
    compiles(PAPERS["danet"], tmp_path, cuda_graphs=True)


@pytest.mark.cuda
@papers
def test_testing_is_as_on_the_cpu(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    answers_as_on_the_cpu(paper, "cuda")


@pytest.mark.slow
@papers
def test_on_the_cpu_the_same_functions_run(paper: Paper, tmp_path: Path) -> None:
    assert goes_on_bit_for_bit(paper, "bf16", tmp_path).type == "cpu"
    answers_as_on_the_cpu(paper, "cpu")


@pytest.mark.slow
@papers
def test_on_the_cpu_a_compiled_run_is_the_usual_one(
    paper: Paper, tmp_path: Path, no_type_checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, mode=None: usual(network, backend="aot_eager"))
    compiles(paper, tmp_path)
