"""Everything that can go wrong before the first step of a training run does so here, and nothing is written yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, runtime_checkable

from accelerate import Accelerator
from jaxtyping import Float, Int64
from torch import Tensor

from core import backbones, checkpoint, datasets, machine
from core.datasets import Pairs
from core.network import About, Network
from core.recipe import Architecture, Recipe, Run, differences, to_json

STATE = "state.pt"
SCORE = "score.json"
METRICS = "metrics.jsonl"


@runtime_checkable
class Loss(Protocol):
    """An objective: named, already weighted terms whose sum is minimised."""

    def __call__(self, output: Any, labels: Int64[Tensor, "b h w"], /) -> dict[str, Float[Tensor, ""]]: ...


Build = Callable[[int, Architecture], Network]


@dataclass(frozen=True)
class Training(Generic[Architecture]):
    """A training run that can begin: its recipe as used, its data, its network, and from where it goes on."""

    recipe: Recipe[Architecture]
    run: Run
    changed: dict[str, tuple[Any, Any]]
    accelerator: Accelerator
    folder: Path
    train: Pairs
    validation: Pairs
    test: Pairs
    network: Network
    loss: Loss
    steps: int
    state: dict[str, Any] | None


def prepare(
    recipe: Recipe[Architecture], run: Run, published: Recipe[Architecture], build: Build[Architecture], loss: Loss
) -> Training[Architecture]:
    """Check and open everything that a run needs.

    Args:
        recipe: what to train.
        run: where and how.
        published: the recipe before anything was changed, to record the differences.
        build: makes the network from the number of classes and the architecture.
        loss: the objective.

    Raises:
        ValueError: in a sentence, if anything is impossible, missing or contradictory.
    """
    if recipe.same_weights_as:
        raise ValueError(
            f"{recipe.name!r} tests the weights of {recipe.same_weights_as!r} in another way: train that one, then run "
            f"evaluate.py {recipe.name} --weights {run.to / recipe.same_weights_as}"
        )
    accelerator = machine.start(run, recipe.optimisation.batch, run.to / recipe.name)
    recipe, (train, validation, test) = _open(recipe, run, published)
    steps = recipe.optimisation.steps(len(train))
    state = None if run.restart else _resumable(run.to / recipe.name, recipe, run, len(train))

    machine.seed_everything(run.seed)
    network = build(recipe.data.num_classes, recipe.architecture)
    if state is None:
        weights = run.backbone_weights or recipe.backbone_weights
        with accelerator.main_process_first():
            backbones.load_weights(network.backbone, _backbone_of(recipe.architecture), weights)
    else:
        network.load_state_dict(state["network"])

    for pairs in {id(pairs): pairs for pairs in (train, validation, test)}.values():
        part = range(accelerator.process_index, len(pairs), accelerator.num_processes)
        datasets.check(pairs, part, quiet=not accelerator.is_main_process)

    changed = differences(published, recipe)
    network.about = About(train.classes, recipe.protocol, to_json(recipe), changed, machine.commit())
    folder = run.to / recipe.name
    return Training(recipe, run, changed, accelerator, folder, train, validation, test, network, loss, steps, state)


def _backbone_of(architecture: Any) -> backbones.Backbone:
    return architecture.backbone


def _open(
    recipe: Recipe[Architecture], run: Run, published: Recipe[Architecture]
) -> tuple[Recipe[Architecture], list[Pairs]]:
    """Open the three splits, each once, and settle the number of classes."""
    data = recipe.data
    opened = {split: datasets.read(data.name, run.data, split) for split in {data.train, data.validation, data.test}}
    found = len(opened[data.train].classes)
    if found != data.num_classes:
        if data.name == published.data.name and data.num_classes == published.data.num_classes:
            raise ValueError(f"{data.name!r} has {found} classes here, but {recipe.name!r} is for {data.num_classes}")
        recipe = replace(recipe, data=replace(data, num_classes=found))
    return recipe, [opened[split] for split in (data.train, data.validation, data.test)]


def _resumable(folder: Path, recipe: Recipe[Architecture], run: Run, images: int) -> dict[str, Any] | None:
    """The state from which a stopped run goes on; None if it was stopped before its first, or there is no run."""
    if not (folder / STATE).is_file():
        begun = (folder / METRICS).is_file() and not (folder / SCORE).is_file()
        if folder.is_dir() and any(folder.iterdir()) and not begun:
            raise ValueError(
                f"{folder} holds files but no {STATE} to go on from; pass --restart to set it aside, or another --to"
            )
        return None
    state = checkpoint.load_state(folder / STATE)
    now = {"recipe": to_json(recipe), "images": images, "seed": run.seed, "accumulate": run.accumulate}
    if not now.keys() <= state.keys():
        raise ValueError(
            f"{folder / STATE} was not written by this training loop; pass --restart to set the folder aside, or "
            "another --to"
        )
    changed = differences({name: state[name] for name in now}, now)
    if changed:
        lines = "; ".join(f"{name}: {old} -> {new}" for name, (old, new) in changed.items())
        raise ValueError(
            f"{folder} holds another run ({lines}); give the same command to go on with it, --restart to set it "
            "aside, or another --to"
        )
    return state
