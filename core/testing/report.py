"""Test a checkpoint by a recipe: the command behind every `evaluate.py`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from core import datasets, files, machine, provenance
from core.command import EvaluationOptions
from core.datasets import servers as submission
from core.datasets.transforms import TestSamples
from core.errors import require
from core.images.classes import Classes
from core.networks import configuration, repository
from core.networks.network import Network
from core.recipe import AnyArchitecture, Recipe
from core.run import Run
from core.testing.contributions import contributions
from core.testing.evaluation import count
from core.testing.metrics import Score
from core.values import from_json, to_json


def known(
    recipes: Mapping[str, Recipe[Any]], demo: str, arguments: Sequence[str], network: type[Network]
) -> tuple[Mapping[str, Recipe[Any]], str]:
    """The recipes that a test command may name, and the one that it means without a name.

    With `--weights` and no name that is the recipe by which the checkpoint was trained, as it was changed: data set,
    splits and protocol need not be said again.

    Raises:
        ValueError: if the checkpoint can't be read, or holds another network.
    """
    words = [part for word in arguments for part in word.split("=", 1)]
    if "--weights" not in words[:-1] or not arguments[0].startswith("-"):
        return recipes, demo
    where = words[words.index("--weights") + 1]
    config = configuration.read(repository.fetch(where, [repository.CONFIG]))
    network.refuse_other(where, config)
    trained = (config.get("about") or {}).get("recipe")
    if not trained:
        return recipes, demo
    kind: Any = Recipe[type(recipes[demo].architecture)]  # type: ignore[misc]
    recipe: Recipe[Any] = from_json(kind, trained)
    return {**recipes, recipe.name: recipe}, recipe.name


def load(kind: type[Network], options: EvaluationOptions[AnyArchitecture]) -> Network:
    """The network that the options name.

    Raises:
        ValueError: if there is none.
    """
    return kind.from_pretrained(_place(options))


def _place(options: EvaluationOptions[AnyArchitecture]) -> str:
    """The folder or repository of the weights that the options name."""
    recipe = options.recipe
    where = options.weights or str(Run().to / (recipe.same_weights_as or recipe.name))
    if repository.local(where) is None and (where.count("/") != 1 or options.weights is None):
        raise ValueError(
            f"there are no weights in {where}; train them with train.py {recipe.same_weights_as or recipe.name}, or "
            "pass --weights with a run folder or the org/name of a repository on the Hugging Face Hub"
        )
    return where


def evaluate_checkpoint(kind: type[Network], options: EvaluationOptions[AnyArchitecture]) -> Score | None:
    """Test a checkpoint with the recipe's data and protocol, print the table, and return the score.

    With `submit`, the predictions are left there as the data set's server takes them, and checked; None is returned
    where only the server has the labels.

    Raises:
        ValueError: if the data or the weights are missing or do not belong together, only a server has the labels and
            `submit` is not given, or no server takes such predictions.
    """
    # ---- the network, and the images that it was trained for
    recipe = options.recipe
    if options.to is not None:
        files.make_folder(options.to.parent)  # now, and not after the test
        require(not options.to.is_dir(), f"--to {options.to} is a folder; give the file that the score is written to")
    network = load(kind, options)
    data = options.data or _folder_of_data(options)
    datasets.refuse_absent_split(recipe.data.name, data, recipe.data.test, "--recipe.data.test")
    pairs = datasets.read(recipe.data.name, data, recipe.data.test)
    _refuse_other_classes(network, pairs.classes, recipe.data.name)
    export = _export(options, pairs)
    accelerator = Accelerator(mixed_precision=machine.mixed_precision(options.precision))
    machine.use_cores(accelerator.device)
    part = range(accelerator.process_index, len(pairs), accelerator.num_processes)
    datasets.refuse_wrong_labels(pairs, part, quiet=not accelerator.is_main_process)

    # ---- test
    samples = TestSamples(pairs, network.normalisation)
    network = network.to(accelerator.device)
    if machine.channels_last("auto", accelerator.device, options.precision, network):
        network = network.to(memory_format=torch.channels_last)
    keep = export.write if export is not None else None
    accelerator.wait_for_everyone()  # none writes before all have found the folder empty
    workers = machine.workers(options.workers, accelerator.device)
    counts = count(network, samples, recipe.protocol, len(pairs.classes), accelerator, workers, recipe.data.test, keep)
    if export is not None and accelerator.is_main_process:
        export.check()
        accelerator.print(submission.ready(export))
    if submission.without_labels(recipe.data.name, recipe.data.test, pairs):
        return None

    # ---- say what was found, and keep it
    score = Score(pairs.classes, counts)
    accelerator.print(f"{recipe.name}: {recipe.summary}")
    accelerator.print(
        f"{len(pairs)} images of {recipe.data.name}, {recipe.data.test}, with the weights of {_place(options)}, on "
        f"{provenance.hardware()}"
    )
    accelerator.print(score.table())
    parts = None
    if options.modules:
        parts = contributions(network, samples, recipe.protocol, pairs.classes, accelerator, workers, as_trained=score)
        accelerator.print(parts.table() if parts else "nothing can be switched off in this network")
    for line in _beside(recipe, network):
        accelerator.print(line)
    if options.to is not None and accelerator.is_main_process:
        told = {
            "weights": files.sha256(repository.fetch(_place(options), [repository.WEIGHTS]) / repository.WEIGHTS),
            "split": recipe.data.test,
            "images": len(pairs),
            "protocol": recipe.protocol,
            "device": accelerator.device.type,
            "precision": options.precision,
            **({"modules": parts.to_json()} if parts else {}),
        }
        files.write_json(options.to, record(recipe.name, score, **told))
        accelerator.print(f"wrote {options.to}")
    if not options.modules and network.removable():
        accelerator.print(f"--modules tests without each module too: {', '.join(network.removable())}")
    return score


def _beside(recipe: Recipe[Any], network: Network) -> Iterator[str]:
    """What a reader must know beside a score: the reported numbers, and what these weights were trained by."""
    for row in recipe.reported:
        yield f"reported: {row.value:.2f} {row.metric} ({row.paper}, {row.table}, {row.row}, {row.split})"
    if network.about is not None and network.about.changed:
        yield "these weights were not trained by the published recipe:"
        for name, (old, new) in network.about.changed.items():
            yield f"  {name}: {old} -> {new}"


def _folder_of_data(options: EvaluationOptions[AnyArchitecture]) -> Path | None:
    """The `--data` of the run that trained the weights, if they lie in its folder and were trained on that data set."""
    folder = Path(_place(options))
    for place in (folder, folder.parent):  # the best weights lie in a folder of the run's
        run, config = files.read_json(place / "run.json"), files.read_json(folder / repository.CONFIG)
        if run and config and run["data"]:
            trained = (config.get("about") or {}).get("recipe", {}).get("data", {}).get("name")
            return Path(run["data"]) if trained == options.recipe.data.name else None
    return None


def _export(options: EvaluationOptions[AnyArchitecture], pairs: datasets.Pairs) -> submission.Submission | None:
    """The submission that the options ask for, into an empty folder; None if they ask for none.

    Raises:
        ValueError: if there would be neither a score nor a submission, or no server takes one.
    """
    name, split = options.recipe.data.name, options.recipe.data.test
    if submission.without_labels(name, split, pairs) and (options.submit is None or options.to is not None):
        raise ValueError(
            f"the labels of {name!r}, {split}, are not public, so there is no score here; pass --submit DIR, without "
            "--to, to write the predictions that its evaluation server takes"
        )
    if options.submit is not None:
        submission.refuse_used(options.submit)
        return submission.expected(name, split, pairs, options.submit)
    return None


def _refuse_other_classes(network: Network, classes: Classes, data: str) -> None:
    """Weights know their classes by number: another order would give a score near 0 and no error."""
    hint = "pass the --dataset and --data that they were trained on"
    if len(classes) != network.num_classes:
        raise ValueError(f"the weights are for {network.num_classes} classes, but {data!r} has {len(classes)}; {hint}")
    trained = network.about.classes if network.about is not None else classes
    label = trained.first_other(classes.names)
    if label is not None:
        raise ValueError(
            f"class {label} of the weights is {trained.names[label]!r}, but that of {data!r} is "
            f"{classes.names[label]!r}; {hint}"
        )


def record(recipe: str, score: Score, **circumstances: Any) -> dict[str, Any]:
    """A measured score with what is needed to believe it: recipe, hardware, torch, commit, date, and what is given."""
    return {
        "recipe": recipe,
        **score.to_json(),
        **to_json(circumstances),
        "torch": torch.__version__,
        "hardware": provenance.hardware(),
        "commit": provenance.commit(),
        "date": provenance.today(),
    }
