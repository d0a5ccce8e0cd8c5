"""A tiny network and training runs of seconds, for the tests of the training loop."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import safetensors.torch
import torch
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn
from torch.nn import functional

from core import datasets, files
from core.datasets import Pairs
from core.datasets.sets import scenes
from core.images import curves, matrix
from core.networks.backbones import Backbone
from core.networks.features import Features
from core.networks.losses import cross_entropy
from core.networks.network import Network
from core.recipe import Augmentation, Data, Optimisation, Protocol, Recipe
from core.run import Run
from core.training import checkpoint
from core.training.setup import Training, set_up

IMAGES = {"train": 13, "val": 3, "test": 5}  # 13 = 3 batches of 4 and an image that each epoch leaves out
NAME = "tiny"


class Output(NamedTuple):
    """What the network returns."""

    scores: Tensor


@dataclass(frozen=True)
class Architecture:
    """Without BatchNorm and dropout, a step depends on the batch as a whole, not on how it was divided."""

    backbone: Backbone = Backbone("resnet10_tiny")  # named, as in every recipe; replaced by one convolution
    noisy: bool = True  # BatchNorm and dropout
    align_corners: bool = False


class OneMap(nn.Module):
    """A convolution that gives its map as a list, as a backbone does."""

    def __init__(self, noisy: bool) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.normalise = nn.BatchNorm2d(8) if noisy else nn.Identity()

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.normalise(self.convolve(image)).relu()]


class Tiny(Network):
    """One convolution, perhaps normalised and with dropout, one classifier, and a learned scalar."""

    def __init__(self, num_classes: int, architecture: Architecture = Architecture()) -> None:
        super().__init__(num_classes, architecture)
        self.backbone = Features(OneMap(architecture.noisy), channels=[8], strides=[2])
        self.dropout = nn.Dropout2d(0.3 if architecture.noisy else 0.0)
        self.classify = nn.Conv2d(8, num_classes, 1)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor) -> Output:
        scores = self.gain * self.classify(self.dropout(self.backbone(image)[-1]))
        return Output(functional.interpolate(scores, image.shape[-2:], mode="bilinear", align_corners=False))


def loss(output: Output, labels: Tensor, class_weights: Tensor | None = None) -> dict[str, Tensor]:
    """Two named terms."""
    return {
        "labels": cross_entropy(output.scores, labels, class_weights),
        "size": 0.01 * output.scores.float().square().mean(),
    }


class After:
    """The loss, until it was asked for `calls` times; then `event` happens and gives the rest of the answers."""

    def __init__(self, calls: int, event: Callable[[dict[str, Tensor]], Any]) -> None:
        self.calls, self.limit, self.event = 0, calls, event

    def __call__(self, output: Output, labels: Tensor, class_weights: Tensor | None = None) -> dict[str, Tensor]:
        self.calls += 1
        terms = loss(output, labels, class_weights)
        return self.event(terms) if self.calls > self.limit else terms


class Killed(BaseException):
    """A run that ends in the middle, without the cost of a process."""


def kill(_: object) -> None:
    raise Killed


def recipe(noisy: bool = True, **optimisation: Any) -> Recipe[Architecture]:
    """Eight steps of four images: more than two epochs; an epoch ends inside every interval between states.

    `noisy` has everything that draws random numbers: scale, crop, flip, brightness and dropout. Otherwise only crop and
    flip are drawn, no crop is padded, and no pixel is ignored.
    """
    noise: dict[str, Any] = {"scale": (0.6, 1.5), "brightness": 0.2} if noisy else {}
    chosen = {"learning_rate": 0.1, "batch": 4, "length": 8, "unit": "steps", **optimisation}
    return Recipe(
        name=NAME,
        summary="a recipe of the tests",
        architecture=Architecture(noisy=noisy),
        data=Data("scenes", num_classes=10, test="test"),
        augmentation=Augmentation(crop=32, **noise),
        optimisation=Optimisation(**chosen),
        protocol=Protocol(flip=True),
        backbone_weights="none",
    )


CURVES, MATRIX = curves.curves, matrix.confusion_matrix


@contextlib.contextmanager
def drawing(draw_curves: Any = CURVES, draw_matrix: Any = MATRIX) -> Iterator[None]:
    """Let runs draw their pictures, or leave others in their place."""
    with patch.object(curves, "curves", draw_curves), patch.object(matrix, "confusion_matrix", draw_matrix):
        yield


def undrawn() -> contextlib.AbstractContextManager[None]:
    """Let runs leave empty files for their pictures, which take ten times as long as all the rest of a tiny run."""
    return drawing(lambda _, path: path.touch(), lambda _, __, path: path.touch())


@functools.cache
def pairs(split: str) -> Pairs:
    """A few scenes of 40 x 48 pixels."""
    return scenes.scenes(split, IMAGES[split], (40, 48))


def small(name: str, data: Path | None, split: str) -> Pairs:
    """Stand in for `core.datasets.read`."""
    return pairs(split)


def begin(
    to: Path,
    what: Recipe[Any] | None = None,
    objective: Any = loss,
    published: Recipe[Any] | None = None,
    build: Any = Tiny,
    **run: Any,
) -> Training[Any]:
    """Prepare a run as a command does, with few and small images; `run` overrides the fields of `Run`."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    what = what or recipe()
    chosen = Run(**{"to": to, "name": what.name, "workers": 0, "threads": 1, "log_every": 1, "save_every": 2, **run})
    with patch.object(datasets, "read", small):
        return set_up(what, chosen, published or what, build, objective)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` without what no two runs share, the speed."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


def left(folder: Path) -> dict[str, Any]:
    """Everything that a finished run left behind and that another run of the same recipe must leave behind too."""
    state = checkpoint.load_state(folder / "state.pt")
    score = files.read_json(folder / "score.json")
    for changing in ("date", "training_seconds", "waiting_for_data", "processes"):
        del score[changing]
    return {
        "state": {name: value for name, value in state.items() if name != "seconds"},
        "metrics": metrics(folder),
        "weights": safetensors.torch.load_file(folder / "model.safetensors"),
        "config": files.read_json(folder / "config.json"),
        "score": score,
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differing(one: Any, other: Any, where: str = "") -> list[str]:
    """The names of the leaves in which two nests of tensors and values differ in any bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs_ = [(str(key), one.get(key), other.get(key)) for key in {**one, **other}]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs_ = [(str(key), *both) for key, both in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    else:
        return [] if type(one) is type(other) and one == other else [where]
    return [name for key, *both in pairs_ for name in differing(*both, f"{where}.{key}" if where else key)]


def environment() -> dict[str, str]:
    """For other processes: on the CPU, one thread each, and with this folder importable."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "ACCELERATE_USE_CPU": "true"}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
