"""The training loop: one function that you can hold in your head, and what it does at the end.

Everything random is a pure function of (seed, step, process): the order of the images, their augmentation, dropout.
So is the learning rate. A state is therefore weights, momentum and a step, and a run that was killed and resumed is
bit for bit the run that was not.
"""

import time
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, tqdm
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from core import files, machine, provenance
from core.datasets.transforms import Batch, Collate, Order, TestSamples, TrainingSamples
from core.images import curves, pictures, sheets
from core.networks.inference import infer
from core.networks.network import Network
from core.recipe import Architecture, Optimisation, Protocol
from core.testing.evaluation import evaluate
from core.testing.metrics import Score
from core.testing.report import record
from core.training import checkpoint
from core.training.setup import METRICS, SCORE, STATE, Training
from core.values import to_json

WHOLE = Protocol()
"""The cheaper validation: the whole image once."""


def parameter_groups(network: Network, optimisation: Optimisation) -> list[dict[str, Any]]:
    """The backbone learns at the recipe's rate, everything else at `head_multiplier` times it."""
    backbone = list(network.backbone.parameters())
    known = {id(parameter) for parameter in backbone}
    head = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [
        {"params": backbone, "multiplier": 1.0, "lr": optimisation.learning_rate},
        {"params": head, "multiplier": optimisation.head_multiplier, "lr": optimisation.learning_rate},
    ]


def make_optimiser(network: Network, optimisation: Optimisation, device: torch.device) -> torch.optim.Optimizer:
    """SGD with momentum; on a GPU all parameters in one kernel."""
    return torch.optim.SGD(
        parameter_groups(network, optimisation),
        momentum=optimisation.momentum,
        weight_decay=optimisation.weight_decay,
        fused=device.type == "cuda" or None,
    )


def train(training: Training[Architecture]) -> Score:
    """Train, test and save.

    Leaves in the run folder: `model.safetensors`, `config.json` and `fingerprint.json` for `from_pretrained`, the
    resumable `state.pt`, `metrics.jsonl`, `score.json`, `curves.png` and `predictions.png`.

    Raises:
        FloatingPointError: naming the loss term that is no longer finite, and the last good state.
    """
    recipe, run, accelerator = training.recipe, training.run, training.accelerator
    optimisation, steps, state = recipe.optimisation, training.steps, training.state

    # ---- network, optimiser, and where they were
    plain = machine.synchronise_batchnorm(training.network, accelerator).to(accelerator.device)
    channels_last = machine.channels_last(run.channels_last, accelerator.device, run.precision)
    if channels_last:
        plain = plain.to(memory_format=torch.channels_last)
    optimiser: Any = make_optimiser(plain, optimisation, accelerator.device)
    average = ModelEmaV3(plain, decay=optimisation.ema) if optimisation.ema else None
    first, seconds = 0, 0.0
    if state is not None:
        first, seconds = state["step"], state["seconds"]
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.module.load_state_dict(state["average"])
    network, optimiser = accelerator.prepare(
        machine.compiled(plain, run.cuda_graphs) if run.compile else plain, optimiser
    )
    if state is not None and accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(state["scaler"])
    tested = plain if average is None else cast(Network, average.module)

    # ---- batches
    samples = TrainingSamples(training.train, recipe.augmentation, plain.normalisation, run.seed, run.cache)
    order = Order(
        len(samples),
        optimisation.batch,
        range(first, steps),
        run.seed,
        accelerator.process_index,
        accelerator.num_processes,
        run.accumulate,
    )
    batches = iter(
        DataLoader(
            samples,
            batch_sampler=order,
            collate_fn=Collate(recipe.augmentation.multiple),
            num_workers=machine.workers(run.workers, accelerator.device),
            pin_memory=accelerator.device.type == "cuda",
        )
    )
    epoch = len(samples) // optimisation.batch

    # ---- steps
    metrics = _open_folder(training, first)
    bar = tqdm(range(first, steps), initial=first, total=steps, unit="step", smoothing=0.05)
    window: dict[str, Tensor] = {}
    started = since = time.perf_counter()
    logged, waited = first, 0.0
    plain.train()
    for step in bar:
        rate = optimisation.rate(step, steps)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["multiplier"]
        machine.seed_everything(run.seed, step, accelerator.process_index)
        for _ in range(run.accumulate):
            asked = time.perf_counter()
            batch: Batch = next(batches)
            waited += time.perf_counter() - asked
            image, labels = batch.on(accelerator.device, plain.normalisation, channels_last)
            with accelerator.accumulate(network):
                terms = training.loss(network(image), labels)
                accelerator.backward(torch.stack(list(terms.values())).sum())
                optimiser.step()
                optimiser.zero_grad()
            for name, term in terms.items():
                window[name] = window.get(name, 0.0) + term.detach() / run.accumulate
        if average is not None:
            average.update(plain)

        done = step + 1
        saving = done % run.save_every == 0 or done == steps
        if saving or done % run.log_every == 0:
            now = time.perf_counter()
            line = _line(window, done, logged, rate, plain, accelerator)
            line["images_per_second"] = optimisation.batch * (done - logged) / (now - since)
            _refuse_nonfinite(line, logged, training)
            window, logged, since = {}, done, now
            metrics.add(**line)
            if accelerator.is_main_process:
                shown = {name: f"{value:.3f}" for name, value in line["terms"].items()}
                bar.set_postfix(**shown, rate=f"{rate:.2e}", images_s=f"{line['images_per_second']:.1f}")
            accelerator.log({"loss": line["loss"], "learning_rate": rate, **line["terms"]}, step=done)
        if run.validate_every and done % (run.validate_every * epoch) == 0 and done < steps:
            score = _validate(training, tested)
            since = time.perf_counter()
            metrics.add(step=done, validation=_percent(score))
            accelerator.log({f"validation/{name}": value for name, value in _percent(score).items()}, step=done)
        if saving:
            spent = seconds + time.perf_counter() - started
            _save(training, plain, optimiser, average, done, spent)
    bar.close()
    spent = time.perf_counter() - started
    return _finish(training, tested, metrics, seconds + spent, waited / spent)


def _line(
    window: dict[str, Tensor], done: int, logged: int, rate: float, network: nn.Module, accelerator: Accelerator
) -> dict[str, Any]:
    """The means of the loss terms since the last line, and the learned scalars of the network.

    And what it observed of itself in the last step: its buffers that are one floating number. Terms and observations
    are means over all processes.
    """
    means = accelerator.reduce(torch.stack(list(window.values())) / (done - logged), "mean").tolist()
    terms = dict(zip(window, means, strict=True))
    scalars = {name: value.item() for name, value in network.named_parameters() if value.ndim == 0}
    line = {"step": done, "loss": sum(means), "terms": terms, "learning_rate": rate, "scalars": scalars}
    buffers = {name: value for name, value in network.named_buffers() if value.ndim == 0 and value.is_floating_point()}
    if buffers:
        observed = accelerator.reduce(torch.stack(list(buffers.values())), "mean").tolist()
        line["observed"] = dict(zip(buffers, observed, strict=True))
    return line


def _refuse_nonfinite(line: dict[str, Any], logged: int, training: Training[Architecture]) -> None:
    wrong = [name for name, value in line["terms"].items() if not torch.isfinite(torch.tensor(value))]
    if wrong:
        good = training.folder / STATE
        last = f"the last good state is {good}" if good.is_file() else "no state was saved yet"
        raise FloatingPointError(
            f"the loss term {', '.join(map(repr, wrong))} is not finite between steps {logged} and {line['step']}; "
            f"{last}. Lower --recipe.optimisation.learning-rate, or choose --run.precision fp32"
        )


def _open_folder(training: Training[Architecture], first: int) -> checkpoint.Metrics:
    """Make the run folder ready: the first thing that is written. An earlier run is set aside, never overwritten."""
    accelerator, run, folder = training.accelerator, training.run, training.folder
    if accelerator.is_main_process:
        if run.restart and folder.exists():
            number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}.{n}").exists())
            folder.rename(folder.with_name(f"{folder.name}.{number}"))
        folder.mkdir(parents=True, exist_ok=True)
    metrics = checkpoint.Metrics(folder / METRICS, first, writing=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    if run.trackers:
        accelerator.init_trackers(training.recipe.name, config={"seed": run.seed})
    where = f"going on at step {first}" if first else "from the beginning"
    accelerator.print(f"{training.recipe.name}: {training.recipe.summary}")
    accelerator.print(
        f"{len(training.train)} training images, {training.steps} steps of {training.recipe.optimisation.batch}, "
        f"{where}, in {folder}, on {provenance.hardware()}"
    )
    for name, (old, new) in training.changed.items():
        accelerator.print(f"  changed from the published recipe: {name}: {old} -> {new}")
    return metrics


def _save(
    training: Training[Architecture],
    network: Network,
    optimiser: Any,
    average: ModelEmaV3 | None,
    step: int,
    seconds: float,
) -> None:
    """Write the state from which this run can go on, if its weights are finite."""
    accelerator = training.accelerator
    if accelerator.is_main_process:
        weights = network.state_dict()
        broken = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f"{broken[0]} and {len(broken) - 1} other weights are not finite after step {step}; "
                f"the last good state is in {training.folder}, if there is one"
            )
        state = {
            "network": weights,
            "optimiser": optimiser.state_dict(),
            "average": average.module.state_dict() if average is not None else None,
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
            "step": step,
            "seconds": seconds,
            "recipe": to_json(training.recipe),
            "changed": to_json(training.changed),
            "images": len(training.train),
            "seed": training.run.seed,
            "accumulate": training.run.accumulate,
        }
        checkpoint.save_state(training.folder / STATE, state)
    accelerator.wait_for_everyone()


def _validate(training: Training[Architecture], network: Network) -> Score:
    protocol = training.recipe.protocol if training.run.validation == "protocol" else WHOLE
    return _test(training, network, protocol, "validation")


def _test(training: Training[Architecture], network: Network, protocol: Protocol, title: str) -> Score:
    pairs = training.validation if title == "validation" else training.test
    samples = TestSamples(pairs, network.normalisation)
    for buffer in network.buffers():  # running means that are not synchronised: test those that will be saved
        broadcast(buffer)
    workers = machine.workers(training.run.workers, training.accelerator.device)
    return evaluate(network, samples, protocol, pairs.classes, training.accelerator, workers, title)


def _percent(score: Score) -> dict[str, float]:
    return {"mean_iou": 100 * score.mean_iou, "pixel_accuracy": 100 * score.pixel_accuracy}


def _finish(
    training: Training[Architecture], network: Network, metrics: checkpoint.Metrics, seconds: float, waiting: float
) -> Score:
    """Save the network, test it with the recipe's protocol, and leave the score and the pictures.

    `waiting` is the share of this command's training time in which it waited for images.
    """
    accelerator, recipe, folder = training.accelerator, training.recipe, training.folder
    if accelerator.is_main_process:
        aside = folder / ".model.part"
        network.save_pretrained(aside)
        for file in aside.iterdir():
            file.replace(folder / file.name)
        aside.rmdir()
    score = _test(training, network, recipe.protocol, "test")
    if accelerator.is_main_process:
        metrics.add(step=training.steps, test=_percent(score))
        circumstances = {
            "changed": training.changed,
            "reported": recipe.reported,
            "split": recipe.data.test,
            "images": len(training.test),
            "protocol": recipe.protocol,
            "device": accelerator.device.type,
            "seed": training.run.seed,
            "processes": accelerator.num_processes,
            "precision": training.run.precision,
            "training_seconds": round(seconds),
            "waiting_for_data": round(waiting, 3),
        }
        files.write_json(folder / SCORE, record(recipe.name, score, **circumstances))
        curves.curves(metrics.lines, folder / "curves.png")
        _draw_predictions(training, network)
        accelerator.print(score.table())
        hint = "; more --run.workers or a --run.cache make it less" if waiting > 0.1 else ""
        accelerator.print(f"{waiting:.1%} of the training time was spent waiting for data{hint}")
        accelerator.print(f"{folder} holds the checkpoint, {SCORE}, {METRICS}, curves.png and predictions.png")
    accelerator.end_training()
    return score


def _draw_predictions(training: Training[Architecture], network: Network) -> None:
    """Image, labels and prediction of four test images, side by side."""
    pairs = training.test
    samples = TestSamples(pairs, network.normalisation)
    network.eval()
    rows = []
    for index in range(0, len(pairs), max(1, len(pairs) // 4))[:4]:
        image, labels = samples[index]
        with training.accelerator.autocast():
            prediction = infer(network, image.to(training.accelerator.device), training.recipe.protocol).argmax(0).cpu()
        colours = [pictures.colourise(part, pairs.classes) for part in (labels, prediction)]
        rows.append([samples.picture(index), *colours])
    sheet = sheets.contact_sheet(rows, ["image", "labels", "prediction"], pairs.classes)
    sheet.save(training.folder / "predictions.png")
