"""The training loop: one function that you can hold in your head.

Everything random is a pure function of (seed, step, process): the order of the images, their augmentation, dropout.
So is the learning rate. A state is therefore weights, momentum and a step, and a run that was killed and resumed is
bit for bit the run that was not, in the same circumstances (`core.training.state.circumstances`).
"""

from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from core import files, machine, provenance
from core.datasets.loading import loading
from core.datasets.transforms import Batch, Collate, Order, TrainingSamples
from core.networks.network import Network
from core.recipe import AnyArchitecture
from core.testing.metrics import Score
from core.training import folder, state, validation
from core.training.ending import finish
from core.training.gallery import gallery
from core.training.learner import Learner
from core.training.log import Log
from core.training.setup import Training
from core.training.signals import Signals
from core.training.state import Progress
from core.values import to_json


def train(training: Training[AnyArchitecture]) -> Score:
    """Train, test and save.

    Leaves in the run folder: `model.safetensors`, `config.json` and `fingerprint.json` for `from_pretrained`, the last
    two resumable states, `run.json`, `metrics.jsonl`, `score.json` and pictures; `best/` if the best weights are kept.

    Raises:
        FloatingPointError: naming what is no longer finite, and the last good state.
        SystemExit: with 128 + its number after a signal; the state is saved, and the same command goes on.
    """
    run, accelerator, steps = training.run, training.accelerator, training.steps
    with training.lock, Signals(accelerator) as asked:
        # ---- the folder, the network and its optimiser, as they were
        machine.on_main(accelerator, partial(_open_folder, training))
        learner, progress = Learner(training), Progress.of(training.state)
        log = Log(training, progress.step)
        every, best = validation.interval(training), validation.keeps_best(training)
        if best and progress.best is not None:
            validation.refuse_without_best(training.folder, *progress.best)
        _announce(training, progress, every)

        learner.train()
        with loading(_batches(training, learner.plain, progress.step)) as batches:
            for step in log.steps(progress.step, progress.step if progress.ended else steps):
                # ---- learn from one batch
                rate = learner.set_rate(step)
                machine.seed_everything(run.seed, step, accelerator.process_index)
                for _ in range(run.accumulate):
                    image, labels = log.next(batches).on(
                        accelerator.device, learner.plain.normalisation, learner.channels_last
                    )
                    with accelerator.accumulate(learner.network):
                        terms = training.loss(learner.network(image), labels)
                        learner.learn(torch.stack(list(terms.values())).sum())
                    log.add(terms)
                if learner.average is not None:
                    learner.average.update(learner.plain)
                progress.step = step + 1

                # ---- say how it goes, validate, and save
                last, received = progress.step == steps, asked.agreed()
                saving = last or progress.step % run.save_every == 0
                if saving or progress.step % run.log_every == 0:
                    log.line(progress.step, rate, learner.plain)
                if every and (last or progress.step % every == 0):
                    saving |= _validate(training, learner, progress, log, best)
                if saving or received:
                    _save(training, learner, progress, log)
                if received and not last:
                    log.say(f"stopped at step {progress.step}; the same command goes on")
                    raise SystemExit(128 + received)
                if progress.ended:
                    log.say(f"stopped early: {run.patience} validations in a row were no better")
                    break

        # ---- test what was learnt
        asked.nothing_to_save()
        return finish(training, learner.tested, progress, log, best)


def _batches(training: Training[Any], network: Network, first: int) -> DataLoader[Batch]:
    """This process's parts of all batches from a step on."""
    recipe, run, accelerator = training.recipe, training.run, training.accelerator
    samples = TrainingSamples(training.train, recipe.augmentation, network.normalisation, run.seed, run.cache)
    order = Order(
        len(samples),
        recipe.optimisation.batch,
        range(first, training.steps),
        run.seed,
        accelerator.process_index,
        accelerator.num_processes,
        run.accumulate,
    )
    return DataLoader(
        cast("Dataset[Batch]", samples),
        batch_sampler=order,
        collate_fn=Collate(recipe.augmentation.multiple),
        num_workers=machine.workers(run.workers, accelerator.device),
        pin_memory=accelerator.device.type == "cuda",
    )


def _open_folder(training: Training[Any]) -> None:
    """Make the run folder ready: the first thing that is written. An earlier run is renamed, never overwritten."""
    if training.run.restart:
        training.lock.release()
        if training.folder.exists():
            folder.rename_old(training.folder)
        training.lock.take()
    if training.state is not None and training.state["damaged"]:
        (training.folder / folder.STATE).unlink()  # else it would take the place of the good one before it
    validation.clean(training.folder)
    data = training.run.data and training.run.data.absolute()  # for evaluate.py, which may be called elsewhere
    files.write_json(training.folder / folder.COMMAND, to_json(replace(training.run, data=data)))


def _announce(training: Training[Any], progress: Progress, every: int) -> None:
    say, recipe = training.accelerator.print, training.recipe
    where = f"going on at step {progress.step}" if progress.step else "from the beginning"
    say(f"{recipe.name}: {recipe.summary}")
    say(
        f"{len(training.train)} training images, {training.steps} steps of {recipe.optimisation.batch}, {where}, in "
        f"{training.folder}, on {provenance.hardware()}"
        + (f"; validation every {every} steps and at the end" if every else "")
    )
    for name, (old, new) in training.changed.items():
        say(f"  changed from the published recipe: {name}: {old} -> {new}")
    for note in training.notes:
        say(f"note: {note}")


def _validate(training: Training[Any], learner: Learner, progress: Progress, log: Log, best: bool) -> bool:
    """Return True if this validation, which may keep the weights as the best, changed what a state holds."""
    how = validation.protocol(training)
    score = validation.test(training, learner.tested, how, training.validation, "validation")
    better = validation.is_best(training, progress, score)
    if training.run.trackers:
        machine.on_main(training.accelerator, partial(_show, training, learner, progress, log))
    log.score(progress.step, "validation", score)
    mean = 100 * score.mean_iou
    log.show({"val_mIoU": f"{mean:.2f}"})
    log.say(
        f"step {progress.step}: validation mIoU {mean:.2f}, pixel accuracy {100 * score.pixel_accuracy:.2f}"
        + (", the best so far" if better else "")
    )
    if best and better:
        machine.on_main(training.accelerator, partial(validation.keep_best, training.folder, learner.tested))
    return (best and better) or progress.ended


def _show(training: Training[Any], learner: Learner, progress: Progress, log: Log) -> None:
    how = validation.protocol(training)
    picture = gallery(learner.tested, training.validation, how, training.accelerator)
    log.picture(progress.step, "validation/predictions", picture)


def _save(training: Training[Any], learner: Learner, progress: Progress, log: Log) -> None:
    """Write the state from which this run can go on, if its numbers are finite."""
    rest = {**training.decides, "around": training.around, "resumed": training.resumed, "changed": training.changed}
    rest = {name: to_json(value) for name, value in rest.items()} | log.pending()
    seconds = progress.seconds + log.seconds
    machine.on_main(training.accelerator, lambda: state.save(training.folder, learner.state(), progress, seconds, rest))
