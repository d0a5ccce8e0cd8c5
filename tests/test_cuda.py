"""On a GPU: every paper trains in each precision, goes on bit for bit, compiles, and tests as on the CPU.

`pytest -m cuda` runs these and the marked tests of other files. The last two tests call the same functions on the CPU,
so that they are known to run.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import forked
import pytest
import tiny
import torch
from networks import PAPERS, pictures, sample
from tiny import begin, differing, left
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from core import machine
from core.networks.inference import infer
from core.networks.network import Network
from core.paper import Paper
from core.recipe import Augmentation, Precision, Protocol, Recipe
from core.training.loop import train
from core.training.setup import Training

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when the first test uses it

STEPS, STOPPED = 5, 3


@pytest.fixture(autouse=True)
def as_before(alone: None) -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


class Stopping:
    """A loss that is given so often, and then the run is killed."""

    def __init__(self, loss: Any, times: int) -> None:
        self.loss, self.left = loss, times

    def __call__(self, output: Any, labels: Tensor) -> dict[str, Tensor]:
        if not self.left:
            raise tiny.Killed
        self.left -= 1
        return self.loss(output, labels)


def short(paper: Paper, batch: int = 4) -> Recipe[Any]:
    """The paper's demonstration, a few steps long."""
    recipe = paper.recipes[paper.demo]
    steps = dataclasses.replace(recipe.optimisation, batch=batch, length=STEPS, unit="steps", learning_rate=0.01)
    sizes = Augmentation(crop=48, scale=(0.8, 1.5))
    return dataclasses.replace(recipe, name=tiny.NAME, optimisation=steps, augmentation=sizes, protocol=Protocol())


def started(paper: Paper, to: Path, times: int = STEPS, batch: int = 4, **run: Any) -> Training[Any]:
    """A run of the paper that is killed after so many steps, if it does not end before."""
    what = short(paper, batch)
    objective = Stopping(paper.objective(what.architecture), times)
    return begin(to, what, objective, **{"build": paper.network, **run})


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


def without_dropout(paper: Paper) -> Callable[..., Network]:
    """The paper's network without dropout, for which compiled programs draw other numbers."""

    def build(num_classes: int, architecture: Any) -> Network:
        network = paper.network(num_classes, architecture)
        for layer in network.modules():
            if isinstance(layer, nn.Dropout2d):
                layer.p = 0.0
        return network

    return build


def compiles(paper: Paper, to: Path, batch: int, **run: Any) -> None:
    """A compiled run has the losses of the usual one, and a checkpoint with the usual names."""
    network = {"batch": batch, "build": without_dropout(paper)}
    train(started(paper, to / "usual", **network))
    torch.compiler.reset()
    train(started(paper, to / "compiled", **network, compile=True, **run))
    assert losses(to / "compiled") == pytest.approx(losses(to / "usual"), rel=0.01)
    names = [left(to / kind / tiny.NAME)["weights"].keys() for kind in ("usual", "compiled")]
    assert names[0] == names[1]


def compiles_once_for_all_sizes(paper: Paper) -> None:
    """The second size makes the programs of all that follow, but for one that may tell squares or large maps apart."""
    recipe = short(paper)
    network, loss = paper.build(recipe).train(), paper.objective(recipe.architecture)
    sample(network)
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    with patch.object(torch, "compile", partial(torch.compile, backend=counter)):
        compiled = machine.compiled(network)
    made = []
    for height, width in ((64, 64), (72, 88), (96, 80), (64, 104), (88, 88), (120, 72)):
        labels = torch.zeros(2, height, width, dtype=torch.int64)
        sum(loss(compiled(torch.randn(2, 3, height, width)), labels).values(), torch.zeros(())).backward()
        made.append(counter.frame_count)
    assert made[-1] <= made[1] + 1, f"{paper.folder}: so many programs after each size: {made}"


def in_a_process(work: Callable[[str, Path], None], name: str, to: Path, **variables: str) -> None:
    """Work on a paper without the type checks of the tests, which the compiler would have to read too."""
    code = forked.wait(forked.fork(work, name, to, log=to / "log", **variables))
    assert code == 0, (to / "log").read_text()[-4000:]


def compiles_on_a_gpu(name: str, to: Path) -> None:
    """With a batch that is large enough for the pyramid's level of one position, where a channel is normalised over as
    many values as there are images: over four, a difference of 1e-6 grows to more than 1 % in five steps.
    """
    graphs, paper = name.endswith("-graphs"), PAPERS[name.removesuffix("-graphs")]
    torch.backends.cudnn.allow_tf32 = False  # rounds by 5e-4, which five steps make as much as a wrong gradient
    compiles(paper, to / name, batch=12, cuda_graphs=graphs)


def compiles_on_a_cpu(name: str, to: Path) -> None:
    """Without the last stages, which take a C++ compiler minutes."""
    torch.set_num_threads(1)
    with patch.object(torch, "compile", partial(torch.compile, backend="eager")):
        compiles(PAPERS[name], to / name, batch=4)
    with patch("papers.pdanet.model.LEVELS", (1, 3)):  # which have every operator of its four
        compiles_once_for_all_sizes(PAPERS[name])


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


@pytest.mark.slow
@pytest.mark.cuda
@pytest.mark.parametrize("name", [*PAPERS, "danet-graphs"])
def test_compiled_runs_are_the_usual_ones_also_as_graphs(name: str, tmp_path: Path) -> None:
    in_a_process(compiles_on_a_gpu, name, tmp_path, ACCELERATE_USE_CPU="false")


@pytest.mark.cuda
@papers
def test_testing_is_as_on_the_cpu(paper: Paper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    answers_as_on_the_cpu(paper, "cuda")


@pytest.mark.slow
def test_on_the_cpu_the_same_functions_run(tmp_path: Path) -> None:
    assert goes_on_bit_for_bit(PAPERS["danet"], "bf16", tmp_path).type == "cpu"
    answers_as_on_the_cpu(PAPERS["danet"], "cpu")


@pytest.mark.slow
def test_on_the_cpu_a_compiled_run_is_the_usual_one(tmp_path: Path) -> None:
    """PDANet's, which the paper trains on images of many sizes."""
    in_a_process(compiles_on_a_cpu, "pdanet", tmp_path)
