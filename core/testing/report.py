"""Test a checkpoint by a recipe: the command behind every `evaluate.py`."""

from typing import Any

import torch
from accelerate import Accelerator

from core import datasets, files, machine, provenance
from core.command import EvaluationOptions
from core.datasets import servers as submission
from core.datasets.transforms import TestSamples
from core.images.classes import Classes
from core.networks import repository
from core.networks.network import Network
from core.recipe import Architecture, Run
from core.testing.evaluation import count
from core.testing.metrics import Score
from core.values import to_json


def load(kind: type[Network], options: EvaluationOptions[Architecture]) -> Network:
    """The network that the options name.

    Raises:
        ValueError: if there is none.
    """
    return kind.from_pretrained(_place(options))


def _place(options: EvaluationOptions[Architecture]) -> str:
    """The folder or repository of the weights that the options name."""
    recipe = options.recipe
    where = options.weights or str(Run().to / (recipe.same_weights_as or recipe.name))
    if repository.local(where) is None and (where.count("/") != 1 or options.weights is None):
        raise ValueError(
            f"there are no weights in {where}; train them with train.py {recipe.same_weights_as or recipe.name}, or "
            "pass --weights with a run folder or the org/name of a repository on the Hugging Face Hub"
        )
    return where


def evaluate_checkpoint(kind: type[Network], options: EvaluationOptions[Architecture]) -> Score | None:
    """Test a checkpoint with the recipe's data and protocol, print the table, and return the score.

    With `submit`, the predictions are left there as the data set's server takes them, and checked; None is returned
    where only the server has the labels.

    Raises:
        ValueError: if the data or the weights are missing or do not belong together, only a server has the labels and
            `submit` is not given, or no server takes such predictions.
    """
    recipe = options.recipe
    network = load(kind, options)
    pairs = datasets.read(recipe.data.name, options.data, recipe.data.test)
    _refuse_other_classes(network, pairs.classes, recipe.data.name)
    export = _export(options, pairs)
    accelerator = Accelerator(mixed_precision=machine.mixed_precision(options.precision))
    machine.use_cores(accelerator.device)
    part = range(accelerator.process_index, len(pairs), accelerator.num_processes)
    datasets.refuse_wrong_labels(pairs, part, quiet=not accelerator.is_main_process)

    samples = TestSamples(pairs, network.normalisation)
    network = network.to(accelerator.device)
    if machine.channels_last("auto", accelerator.device, options.precision):
        network = network.to(memory_format=torch.channels_last)
    keep = export.write if export is not None else None
    accelerator.wait_for_everyone()  # none writes before all have found the folder empty
    counts = count(
        network,
        samples,
        recipe.protocol,
        len(pairs.classes),
        accelerator,
        machine.workers(options.workers, accelerator.device),
        recipe.data.test,
        keep,
    )
    if export is not None and accelerator.is_main_process:
        export.check()
        accelerator.print(submission.ready(export))
    if submission.without_labels(recipe.data.name, recipe.data.test, pairs):
        return None
    score = Score(pairs.classes, counts)
    accelerator.print(score.table())
    for row in recipe.reported:
        accelerator.print(f"reported: {row.value:.2f} {row.metric} ({row.paper}, {row.table}, {row.row}, {row.split})")
    if network.about is not None and network.about.changed:
        accelerator.print(f"these weights were not trained by the published recipe: {network.about.changed}")
    if options.to is not None and accelerator.is_main_process:
        told = {
            "weights": files.sha256(repository.fetch(_place(options), [repository.WEIGHTS]) / repository.WEIGHTS),
            "split": recipe.data.test,
            "images": len(pairs),
            "protocol": recipe.protocol,
            "device": accelerator.device.type,
            "precision": options.precision,
        }
        files.write_json(options.to, record(recipe.name, score, **told))
        accelerator.print(f"wrote {options.to}")
    return score


def _export(options: EvaluationOptions[Architecture], pairs: datasets.Pairs) -> submission.Submission | None:
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
        return submission.plan(name, split, pairs, options.submit)
    return None


def _refuse_other_classes(network: Network, classes: Classes, data: str) -> None:
    """Weights know their classes by number: another order would give a score near 0 and no error."""
    hint = "pass the --dataset and --data that they were trained on"
    if len(classes) != network.num_classes:
        raise ValueError(f"the weights are for {network.num_classes} classes, but {data!r} has {len(classes)}; {hint}")
    trained = network.about.classes.names if network.about is not None else classes.names
    for label, (old, new) in enumerate(zip(trained, classes.names, strict=True)):
        if old != new:
            raise ValueError(f"class {label} of the weights is {old!r}, but that of {data!r} is {new!r}; {hint}")


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
