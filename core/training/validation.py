"""Validation while a run trains: when, by which protocol, which weights are kept, and when it has waited enough."""

import math
import shutil
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast

from core import files, machine
from core.datasets.samples import Pairs
from core.datasets.transforms import TestSamples
from core.errors import require
from core.images.pixels import scaled_size
from core.networks.network import Network
from core.networks.weights import stored_bytes
from core.recipe import Protocol
from core.testing.evaluation import count
from core.testing.metrics import Score
from core.training.folder import BEST
from core.training.setup import Training, own_data
from core.training.state import Progress

WHOLE = Protocol()
"""The cheaper validation: the whole image once."""

SHARE = 0.05
"""Where nobody says how often, validation takes at most this share of the pixels of training.

So that it takes less than a tenth of the time: images that are tested one by one, in new processes, cost up
to twice what their pixels say (measured on a CPU, demos on 480 scenes of their own: DANet 0.9 times, RANet 2).
"""


def interval(training: Training[Any]) -> int:
    """The steps between validations; 0: none. After the last step there is one more, if there are any."""
    run, epoch = training.run, len(training.train) // training.recipe.optimisation.batch
    if run.validate_every is not None:
        return run.validate_every * epoch
    if not own_data(training.recipe) and run.keep != "best" and not run.patience:
        return 0
    dear = _pixels_of_validation(training) / (SHARE * _pixels_of_step(training))  # in steps
    number = max(1, int(training.steps / max(dear, epoch)))
    return epoch * math.ceil(training.steps / number / epoch)


def keeps_best(training: Training[Any]) -> bool:
    """Return True if the weights with the best validation are kept beside the last."""
    keep = training.run.keep or ("best" if own_data(training.recipe) else "last")
    return keep == "best" and interval(training) > 0


def protocol(training: Training[Any]) -> Protocol:
    """By which validation tests."""
    return training.recipe.protocol if training.run.validation == "protocol" else WHOLE


def test(training: Training[Any], network: Network, how: Protocol, pairs: Pairs, title: str) -> Score:
    """Test a network, on all processes together."""
    for buffer in network.buffers():  # running means that are not synchronised: test those that will be saved
        broadcast(buffer)
    workers = machine.workers(training.run.workers, training.accelerator.device)
    samples = TestSamples(pairs, network.normalisation)
    return Score(pairs.classes, count(network, samples, how, len(pairs.classes), training.accelerator, workers, title))


def is_best(training: Training[Any], progress: Progress, score: Score) -> bool:
    """Return True if this validation, which is noted, is the best so far."""
    value = 100 * score.mean_iou
    better = progress.best is None or value > progress.best[0]
    if better:
        progress.best = (value, progress.step)
    progress.behind = 0 if better else progress.behind + 1
    progress.ended = 0 < training.run.patience <= progress.behind
    return better


def keep_best(folder: Path, network: Network) -> None:
    """Save the network as `best/`, a checkpoint like any other; a kill leaves the old one or the new one."""
    aside, old = folder / ".best.part", folder / ".best.old.part"
    clean(folder)
    with files.said_if_unwritable(folder / BEST, stored_bytes(network.state_dict())):
        network.save_pretrained(aside)
    if (folder / BEST).exists():
        (folder / BEST).rename(old)
    aside.rename(folder / BEST)
    shutil.rmtree(old, ignore_errors=True)


def refuse_without_best(folder: Path, mean_iou: float, step: int) -> None:
    """Refuse to go on with a run whose best weights, which are tested in the end, have been taken away.

    Raises:
        ValueError: saying which they were.
    """
    require(
        (folder / BEST).is_dir(),
        f"there is no {folder / BEST}, which held the best weights so far (mIoU {mean_iou:.2f}, step {step}): put it "
        "back, pass --run.keep last, or --restart to rename the folder and start over",
    )


def clean(folder: Path) -> None:
    """Put back or remove what a kill in `keep_best` has left."""
    aside, old = folder / ".best.part", folder / ".best.old.part"
    if old.exists() and not (folder / BEST).exists():
        old.rename(folder / BEST)
    for rest in (aside, old):
        shutil.rmtree(rest, ignore_errors=True)


def _pixels_of_step(training: Training[Any]) -> float:
    """What a step computes, in pixels of one forward pass; a backward pass costs two."""
    how = training.recipe.augmentation
    if how.crop is not None:
        size = (how.crop, how.crop)
    else:
        size = scaled_size(*_size(training, training.train), how.edge, how.base, 1.0, how.limit)
    return 3.0 * training.recipe.optimisation.batch * size[0] * size[1]


def _pixels_of_validation(training: Training[Any]) -> float:
    how = protocol(training)
    height, width = scaled_size(*_size(training, training.validation), how.edge, how.base, 1.0, how.limit)
    overlap = (how.crop / how.stride) ** 2 if how.crop and how.stride else 1.0
    passes = sum(scale**2 for scale in how.scales) * (2 if how.flip else 1) * overlap
    return len(training.validation) * height * width * passes


def _size(training: Training[Any], pairs: Pairs) -> tuple[int, int]:
    """Height and width of the first image, in pixels."""
    _, labels = TestSamples(pairs, training.network.normalisation)[0]
    return int(labels.shape[0]), int(labels.shape[1])
