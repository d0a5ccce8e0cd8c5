"""Everything that can go wrong before the first step of a training run does so here, and nothing is written yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

import torch
from accelerate import Accelerator

from core import datasets, files, machine, provenance
from core.datasets import Pairs
from core.datasets.servers import without_labels
from core.networks import backbones
from core.networks.losses import Loss
from core.networks.network import About, Network, load_matching
from core.recipe import Architecture, Recipe, Run
from core.training import checkpoint
from core.values import differences, to_json

STATE = "state.pt"
SCORE = "score.json"
METRICS = "metrics.jsonl"


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


def set_up(
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
        with accelerator.main_process_first():
            changed = differences(published, recipe) | _begin(network, recipe, run, accelerator)
    else:
        changed = {name: (old, new) for name, (old, new) in state["changed"].items()}
        network.load_state_dict(state["network"])

    splits = {recipe.data.test: test, recipe.data.validation: validation, recipe.data.train: train}
    for split, pairs in splits.items():
        part = range(accelerator.process_index, len(pairs), accelerator.num_processes)
        seen = datasets.refuse_wrong_labels(pairs, part, quiet=not accelerator.is_main_process)
        seen = accelerator.reduce(torch.from_numpy(seen).long().to(accelerator.device)).cpu().numpy() > 0
        datasets.refuse_too_few_classes(split, seen, least=2 if split == recipe.data.train else 1)

    network.about = About(train.classes, recipe.protocol, to_json(recipe), changed, provenance.commit())
    folder = run.to / recipe.name
    return Training(recipe, run, changed, accelerator, folder, train, validation, test, network, loss, steps, state)


def _begin(
    network: Network, recipe: Recipe[Architecture], run: Run, accelerator: Accelerator
) -> dict[str, tuple[Any, Any]]:
    """Load what an untrained network begins with; return what of it is not as the recipe says."""
    if recipe.starts_from is None and run.starts_from is None:
        weights = run.backbone_weights or recipe.backbone_weights
        backbones.load_weights(network.backbone, _backbone_of(recipe.architecture), weights)
        if weights == recipe.backbone_weights:
            return {}
        file = Path(weights)
        used = f"{file.name}, sha256 {files.sha256(file)}" if file.is_file() else weights
        return {"backbone_weights": (recipe.backbone_weights, used)}
    if run.backbone_weights is not None:
        raise ValueError(
            f"a run begins either with trained weights ({run.starts_from or recipe.starts_from}) or with those of its "
            f"backbone ({run.backbone_weights}); leave out --backbone-weights, or choose a recipe of one stage"
        )
    where = run.starts_from or str(run.to / str(recipe.starts_from))
    if run.starts_from is None and not Path(where).is_dir():
        raise ValueError(
            f"{recipe.name!r} begins with the weights of {recipe.starts_from!r}, but there is no {where}; train "
            f"{recipe.starts_from!r} first, or pass --starts-from with a run folder or the org/name of a repository"
        )
    first = type(network).from_pretrained(where)
    dropped = load_matching(network, first.state_dict())
    if dropped:
        accelerator.print(f"left out of {where}, for another number of classes: {', '.join(dropped)}")
    about = first.about
    trained = about.recipe.get("name", where) if about is not None else where
    if about is not None and about.changed:
        trained = f"{trained}, changed"
    return {} if trained == recipe.starts_from else {"starts_from": (recipe.starts_from, trained)}


def _backbone_of(architecture: Any) -> backbones.Backbone:
    return architecture.backbone


def _open(
    recipe: Recipe[Architecture], run: Run, published: Recipe[Architecture]
) -> tuple[Recipe[Architecture], list[Pairs]]:
    """Open the three splits, each once, and settle the number of classes."""
    data = recipe.data
    opened = {split: datasets.read(data.name, run.data, split) for split in {data.train, data.validation, data.test}}
    for split, pairs in opened.items():
        if without_labels(data.name, split, pairs):
            raise ValueError(
                f"the labels of {data.name!r}, {split}, are not public, so nothing can be trained or measured on it; "
                "choose other splits (--recipe.data.train, --recipe.data.validation, --recipe.data.test), and export "
                "the predictions for its server afterwards with evaluate.py --submit DIR"
            )
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
    if not {*now, "changed"} <= state.keys():
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
