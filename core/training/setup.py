"""Everything that can go wrong before the first step of a training run does so here, and nothing is written yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from core import datasets, files, machine, provenance
from core.datasets import Pairs
from core.datasets.identity import identity
from core.datasets.servers import without_labels
from core.errors import require
from core.images.classes import Classes
from core.networks import imagenet, recompute
from core.networks.losses import Loss
from core.networks.network import About, Network
from core.networks.pretrained import load_weights
from core.networks.weights import load_matching
from core.recipe import AnyArchitecture, Optimisation, Recipe, WeightsSource
from core.run import Run
from core.training.class_weights import median_frequency
from core.training.folder import folder_of
from core.training.lock import LOCK, Lock
from core.training.state import circumstances, resumable
from core.values import differences, to_json

Build = Callable[[int, AnyArchitecture], Network]


@dataclass(frozen=True)
class Training(Generic[AnyArchitecture]):
    """A training run that can begin: its recipe as used, its data, its network, and from where it goes on."""

    recipe: Recipe[AnyArchitecture]
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
    lock: Lock
    decides: dict[str, Any]
    around: dict[str, Any]
    resumed: list[dict[str, Any]]
    notes: tuple[str, ...]


def set_up(
    recipe: Recipe[AnyArchitecture],
    run: Run,
    published: Recipe[AnyArchitecture],
    build: Build[AnyArchitecture],
    loss: Loss,
) -> Training[AnyArchitecture]:
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
    source = _weights(recipe, run)
    if source in published.also_weights:  # they don't make it another recipe
        recipe, published = replace(recipe, backbone_weights=source), replace(published, backbone_weights=source)
    folder = folder_of(recipe, run, published, source)
    accelerator = machine.start(run, recipe.optimisation.batch, folder)
    recipe, splits = _open(recipe, run, published)
    steps = recipe.optimisation.steps(len(splits[0]))
    decides = {
        "recipe": to_json(recipe),
        "data": {split: identity(pairs) for split, pairs in zip(("train", "validation", "test"), splits, strict=True)},
        "seed": run.seed,
        "accumulate": run.accumulate,
    }
    around = circumstances(run, accelerator)

    lock = Lock(folder)
    try:
        machine.on_main(accelerator, lock.take)
        state = None if run.restart else resumable(folder, decides, around, run.resume_anyway)
        _refuse_other_folders(accelerator, folder, state)
        network, changed = _network(recipe, run, published, build, accelerator, state, splits[0].classes.names)
        _refuse_unusable(recipe, splits, accelerator)
        if recipe.optimisation.class_weights == "median":
            weights = median_frequency(splits[0], network.normalisation).to(accelerator.device)
            loss = cast(Loss, partial(cast(Any, loss), class_weights=weights))
    except BaseException:
        lock.release()
        raise

    network.about = About(splits[0].classes, recipe.protocol, to_json(recipe), changed, provenance.commit())
    said = state and state["damaged"], test_size(changed, recipe), young_average(recipe.optimisation, steps)
    resumed = state["resumed"] if state is not None else []
    train, validation, test = splits
    return Training(
        recipe,
        run,
        changed,
        accelerator,
        folder,
        train,
        validation,
        test,
        network,
        loss,
        steps,
        state,
        lock,
        decides,
        around,
        resumed,
        tuple(note for note in said if note),
    )


def _weights(recipe: Recipe[Any], run: Run) -> WeightsSource | str:
    """Whose ImageNet weights the run begins with: a source, also of a file where it is known, else the file."""
    given = run.backbone_weights or recipe.backbone_weights
    backbone = recipe.architecture.backbone
    known = imagenet.source_of(Path(given), backbone.name, backbone.stem) if Path(given).is_file() else None
    return known or given


def own_data(recipe: Recipe[Any]) -> bool:
    """Return True if the images are somebody's own: a folder or a repository that no row of a paper names."""
    return datasets.find(recipe.data.name).licence.own


def test_size(changed: Mapping[str, tuple[Any, Any]], recipe: Recipe[Any]) -> str | None:
    """Say if images are trained at another size than the row's, but tested at the row's; None if that is not so."""
    if any(name.startswith("protocol.") for name in changed):
        return None
    for field in ("base", "crop"):
        old, new = changed.get(f"augmentation.{field}", (None, None))
        tested = getattr(recipe.protocol, field)
        if old and new and tested:
            return (
                f"images are trained at another size (augmentation.{field}: {old} -> {new}), but tested as before "
                f"(protocol.{field} {tested}); the same change is --recipe.protocol.{field} {round(tested * new / old)}"
            )
    return None


def young_average(optimisation: Optimisation, steps: int) -> str | None:
    """Say if a training is too short for the average of its weights to leave the start behind; None if it is not."""
    remains = optimisation.ema**steps
    if not optimisation.ema or steps >= 3 / (1 - optimisation.ema):  # then a twentieth of it is from the start
        return None
    return (
        f"after {steps} steps the average of the weights (optimisation.ema {optimisation.ema:g}), which is tested and "
        f"saved, still has {100 * remains:.0f} % of their start; to save the weights themselves: "
        "--recipe.optimisation.ema 0"
    )


def _network(
    recipe: Recipe[AnyArchitecture],
    run: Run,
    published: Recipe[AnyArchitecture],
    build: Build[AnyArchitecture],
    accelerator: Accelerator,
    state: dict[str, Any] | None,
    names: tuple[str, ...],
) -> tuple[Network, dict[str, tuple[Any, Any]]]:
    """The network as the run begins or goes on, and what was changed of the published recipe."""
    machine.seed_everything(run.seed)
    network = build(recipe.data.num_classes, recipe.architecture)
    if run.recompute:
        recompute.refuse_others(network.backbone.body)
        network.backbone.recompute = True
    if state is not None:
        network.load_state_dict(state["network"])
        return network, {name: (old, new) for name, (old, new) in state["changed"].items()}
    with accelerator.main_process_first():
        return network, differences(published, recipe) | _begin(network, names, recipe, run, accelerator)


def _refuse_unusable(recipe: Recipe[Any], splits: Sequence[Pairs], accelerator: Accelerator) -> None:
    """Refuse labels that are wrong, and splits with too few classes to train or to test on."""
    data = recipe.data
    for split, pairs in dict(zip((data.test, data.validation, data.train), reversed(splits), strict=True)).items():
        part = range(accelerator.process_index, len(pairs), accelerator.num_processes)
        seen = datasets.refuse_wrong_labels(pairs, part, quiet=not accelerator.is_main_process)
        seen = accelerator.reduce(torch.from_numpy(seen).long().to(accelerator.device)).cpu().numpy() > 0
        datasets.refuse_too_few_classes(split, seen, least=2 if split == data.train else 1)


def _refuse_other_folders(accelerator: Accelerator, folder: Path, state: dict[str, Any] | None) -> None:
    """Refuse machines that don't see the same run folder.

    Raises:
        ValueError: if this process found another state than the main one, or not the lock that it has taken.
    """
    step = state["step"] if state is not None else 0
    (main,) = broadcast_object_list([step])
    if main != step or not (folder / LOCK).is_file():
        raise ValueError(
            f"process {accelerator.process_index} sees another {folder} than the main process (at step {step}, not "
            f"{main}); --to must lie on a file system that all machines share"
        )


def _begin(
    network: Network, names: tuple[str, ...], recipe: Recipe[AnyArchitecture], run: Run, accelerator: Accelerator
) -> dict[str, tuple[Any, Any]]:
    """Load what an untrained network begins with; return what of it is not as the recipe says.

    Classifiers of trained weights are left out if they are not for these names, in this order.
    """
    if recipe.starts_from is None and run.starts_from is None:
        weights = run.backbone_weights or recipe.backbone_weights
        load_weights(network.backbone, network.architecture.backbone, weights)
        if _weights(recipe, run) == recipe.backbone_weights:
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
    about = first.about
    trained = about.recipe.get("name", where) if about is not None else where
    try:
        others = about is not None and about.classes.names != names
        dropped = load_matching(network, first.state_dict(), other_classes=others)
    except ValueError as error:
        if about is None or "name" not in about.recipe:
            raise
        raise ValueError(
            f"{where} was trained by {trained!r}, whose network is not that of {recipe.name!r}: take that recipe "
            f"({error})"
        ) from None
    if dropped:
        how = "" if about is None else f" ({_other_classes(about.classes, names)})"
        accelerator.print(f"left out of {where}, which has other classes{how}: {', '.join(dropped)}")
    if about is not None and about.changed:
        trained = f"{trained}, changed"
    return {} if trained == recipe.starts_from else {"starts_from": (recipe.starts_from, trained)}


def _other_classes(there: Classes, here: Sequence[str]) -> str:
    """How the classes of weights differ from those of the data."""
    label = there.first_other(here)
    if label is None:
        return f"{len(there)} there and {len(here)} here"
    return f"class {label} is {there.names[label]!r} there and {here[label]!r} here"


def _open(
    recipe: Recipe[AnyArchitecture], run: Run, published: Recipe[AnyArchitecture]
) -> tuple[Recipe[AnyArchitecture], list[Pairs]]:
    """Open the three splits, each once, and settle the number of classes."""
    data = recipe.data
    for option, split in (("validation", data.validation), ("test", data.test)):
        datasets.refuse_absent_split(data.name, run.data, split, f"--recipe.data.{option}")
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
        require(
            data.num_classes == published.data.num_classes,
            f"{data.name!r} has {found} classes here, got --recipe.data.num-classes {data.num_classes}; leave it out",
        )
        recipe = replace(recipe, data=replace(data, num_classes=found))
    return recipe, [opened[split] for split in (data.train, data.validation, data.test)]
