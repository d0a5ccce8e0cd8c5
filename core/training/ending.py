"""The end of a run: its checkpoint, its test, and what shows how it went."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from core import files, machine
from core.datasets.transforms import TestSamples
from core.images import curves, matrix
from core.networks import repository
from core.networks.network import Network
from core.networks.weights import stored_bytes
from core.testing.contributions import Contributions, contributions
from core.testing.metrics import Score
from core.testing.report import record
from core.training import validation
from core.training.folder import BEST, METRICS, SCORE
from core.training.gallery import gallery
from core.training.log import Log
from core.training.setup import Training
from core.training.state import Progress

MOST = 50
"""Images that a run is tested on once more without each module; evaluate.py --modules takes them all."""


def finish(training: Training[Any], network: Network, progress: Progress, log: Log, best: bool) -> Score:
    """Save the network, test it, or the best weights if these are kept, and leave the score and the pictures."""
    accelerator, recipe, folder = training.accelerator, training.recipe, training.folder
    seconds, waiting = log.seconds, log.waited / max(log.seconds, 1e-9)
    machine.on_main(accelerator, partial(_save, network, folder))
    checkpoint = folder / BEST if best else folder
    tested = type(network).from_pretrained(checkpoint).to(accelerator.device) if best else network
    score = validation.test(training, tested, recipe.protocol, training.test, "test")
    log.score(progress.step, "test", score)
    parts = _contributions(training, tested)
    told = {
        "weights": files.sha256(checkpoint / repository.WEIGHTS),
        "tested": f"best, of step {progress.best[1]}" if best and progress.best else f"last, of step {progress.step}",
        "changed": training.changed,
        "resumed": training.resumed,
        "reported": recipe.reported,
        "split": recipe.data.test,
        "images": len(training.test),
        "protocol": recipe.protocol,
        "seed": training.run.seed,
        **{name: training.around[name] for name in ("device", "processes", "threads", "precision")},
        **({"modules": parts.to_json()} if parts else {}),
        "training_seconds": round(progress.seconds + seconds),
        "waiting_for_data": round(waiting, 3),
    }

    def leave() -> None:
        measured = record(recipe.name, score, **told)
        for place in {checkpoint, folder}:
            files.write_json(place / SCORE, measured)
        with files.said_if_unwritable(folder / "curves.png"):
            curves.curves(log.metrics.lines, folder / "curves.png")
        with files.said_if_unwritable(folder / "confusion.png"):
            matrix.confusion_matrix(score.confusion, score.classes, folder / "confusion.png")
        with files.said_if_unwritable(folder / "predictions.png"):
            gallery(tested, training.test, recipe.protocol, accelerator).save(folder / "predictions.png")

    machine.on_main(accelerator, leave)
    accelerator.print(score.table())
    if parts:
        accelerator.print(parts.table())
    hint = "; more --run.workers or a --run.cache make it less" if waiting > 0.1 else ""
    accelerator.print(f"{waiting:.1%} of the training time was spent waiting for data{hint}")
    accelerator.print(_last_words(training, checkpoint, told["tested"]))
    accelerator.end_training()
    return score


def _contributions(training: Training[Any], network: Network) -> Contributions | None:
    """What each module contributes, on at most MOST images at one scale: less than a test for each."""
    samples = TestSamples(training.test, network.normalisation)
    once = replace(training.recipe.protocol, scales=(1.0,), flip=False)
    workers = machine.workers(training.run.workers, training.accelerator.device)
    return contributions(network, samples, once, training.test.classes, training.accelerator, workers, most=MOST)


def _save(network: Network, folder: Path) -> None:
    aside = folder / ".model.part"
    with files.said_if_unwritable(folder / repository.WEIGHTS, stored_bytes(network.state_dict())):
        network.save_pretrained(aside)
    for file in aside.iterdir():
        file.replace(folder / file.name)
    aside.rmdir()


def _last_words(training: Training[Any], checkpoint: Path, tested: str) -> str:
    """Where everything is, and how to go on from here."""
    script = Path(sys.argv[0])
    evaluate = script.with_name("evaluate.py") if script.name == "train.py" else Path("evaluate.py")
    return (
        f"\n{checkpoint} holds the checkpoint that was tested ({tested}); {SCORE}, {METRICS}, curves.png, "
        f"confusion.png and predictions.png lie in {training.folder}.\n"
        f"To segment images: python -m hub.predict {checkpoint} IMAGE --to out\n"
        f"To test it again: python {evaluate} --weights {checkpoint}\n"
        f"To train on from it: the training command with --starts-from {checkpoint} and another --name"
    )
