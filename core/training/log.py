"""What a run says while it trains: lines of `metrics.jsonl`, the bar, and the trackers."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from core.datasets.transforms import Batch
from core.progress import SILENCE
from core.testing.metrics import Score
from core.training import checkpoint
from core.training.folder import METRICS, SCORE
from core.training.setup import Training
from core.training.state import diverged
from core.values import flat, to_json


class Log:
    """Collects the loss terms of steps and writes their means."""

    def __init__(self, training: Training[Any], first: int) -> None:
        accelerator, state = training.accelerator, training.state
        self.training, self.accelerator = training, accelerator
        self.metrics = checkpoint.Metrics(training.folder / METRICS, first, writing=accelerator.is_main_process)
        self.logged: int = first if state is None else state["logged"]
        pending: dict[str, Tensor] = {} if state is None else state["window"]
        self.window = {name: value.to(accelerator.device) for name, value in pending.items()}
        self.begun, self.since, self.since_step, self.waited = time.perf_counter(), time.perf_counter(), first, 0.0
        self.told = self.begun
        self.bar: Any = None
        self.words: dict[str, str] = {}
        over = state is not None and (first == training.steps or state["ended"])
        if training.run.trackers and not (over and (training.folder / SCORE).is_file()):
            config = {**flat(to_json(training.recipe), "recipe"), **flat(to_json(training.run), "run")}
            plain = {
                name: value if isinstance(value, int | float | str) else str(value) for name, value in config.items()
            }
            forget = {"tensorboard": {"purge_step": first + 1}}  # what a killed run has said of the steps from here on
            accelerator.init_trackers(training.recipe.name, config=plain, init_kwargs=forget)

    @property
    def seconds(self) -> float:
        """Since the first step of this command."""
        return time.perf_counter() - self.begun

    def steps(self, first: int, last: int) -> Iterator[int]:
        """The steps that are left, with a bar on a terminal."""
        steps, hidden = self.training.steps, not (self.accelerator.is_main_process and sys.stderr.isatty())
        self.bar = tqdm(range(first, last), initial=first, total=steps, unit="step", smoothing=0.05, disable=hidden)
        self.begun = self.since = self.told = time.perf_counter()
        yield from self.bar
        self.bar.close()

    def next(self, batches: Iterator[Batch]) -> Batch:
        """The next part of a batch; the time that it takes counts as waiting."""
        asked = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - asked
        return batch

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count the terms of a part of a batch."""
        for name, term in terms.items():
            self.window[name] = self.window.get(name, 0.0) + term.detach() / self.training.run.accumulate

    def line(self, done: int, rate: float, network: nn.Module) -> None:
        """Write the means since the last line.

        Raises:
            FloatingPointError: naming the loss term that is not finite, and the last good state.
        """
        now, accelerator = time.perf_counter(), self.accelerator
        line = self._means(done, rate, network)
        batch = self.training.recipe.optimisation.batch
        line["images_per_second"] = batch * (done - self.since_step) / (now - self.since)
        self._refuse_nonfinite(line)
        self.window, self.logged, self.since, self.since_step = {}, done, now, done
        self.metrics.add(**line)
        shown = {name: f"{value:.3f}" for name, value in line["terms"].items()}
        self.show({**shown, "rate": f"{rate:.2e}", "images_s": f"{line['images_per_second']:.1f}"})
        self._tell(done)
        accelerator.log({"loss": line["loss"], "learning_rate": rate, **line["terms"]}, step=done)

    def show(self, words: dict[str, str]) -> None:
        """Put values beside the bar; those of other names stay."""
        if self.accelerator.is_main_process:
            self.words = {**self.words, **words}
            self.bar.set_postfix(**self.words)

    def _tell(self, done: int) -> None:
        """Give a log that is no terminal, and so has no bar, a line now and then."""
        now, steps = time.perf_counter(), self.training.steps
        if self.accelerator.is_main_process and self.bar.disable and now - self.told >= SILENCE:
            self.told = now
            left = tqdm.format_interval((steps - done) * (now - self.begun) / (done - self.bar.n))
            words = ", ".join(f"{name} {value}" for name, value in self.words.items())
            self.say(f"step {done} of {steps}: {words}; {left} left")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self.accelerator.is_main_process:
            tqdm.write(text)

    def score(self, done: int, kind: str, score: Score) -> None:
        """Write a score, "validation" or "test", to the metrics and the trackers, with the IoU of each class."""
        values = {"mean_iou": 100 * score.mean_iou, "pixel_accuracy": 100 * score.pixel_accuracy}
        self.metrics.add(step=done, **{kind: values})
        classes = {
            f"{kind}/iou/{name}": 100 * value
            for name, value in zip(score.classes.names, score.iou, strict=True)
            if value is not None
        }
        self.accelerator.log({**{f"{kind}/{name}": value for name, value in values.items()}, **classes}, step=done)
        self.since, self.since_step = time.perf_counter(), done

    def picture(self, done: int, name: str, image: Image.Image) -> None:
        """Show a picture in the trackers."""
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({name: np.asarray(image)[None]}, step=done, dataformats="NHWC")
            elif tracker.name == "wandb":
                tracker.log_images({name: [image]}, step=done)
            else:
                import trackio  # which accelerate has no pictures for

                tracker.log({name: trackio.Image(image)}, step=done)

    def pending(self) -> dict[str, Any]:
        """What a state keeps of the steps since the last line."""
        names = list(self.window)
        if names:
            means = self.accelerator.reduce(torch.stack(list(self.window.values())), "mean")
            return {"logged": self.logged, "window": dict(zip(names, means.unbind(), strict=True))}
        return {"logged": self.logged, "window": {}}

    def _means(self, done: int, rate: float, network: nn.Module) -> dict[str, Any]:
        """The means of the loss terms since the last line, and the learned scalars of the network.

        And what it observed of itself in the last step: its buffers that are one floating number. Terms and
        observations are means over all processes.
        """
        reduce = self.accelerator.reduce
        means = reduce(torch.stack(list(self.window.values())) / (done - self.logged), "mean").tolist()
        terms = dict(zip(self.window, means, strict=True))
        scalars = {name: value.item() for name, value in network.named_parameters() if value.ndim == 0}
        line = {"step": done, "loss": sum(means), "terms": terms, "learning_rate": rate, "scalars": scalars}
        found = {
            name: value for name, value in network.named_buffers() if value.ndim == 0 and value.is_floating_point()
        }
        if found:
            observed = reduce(torch.stack(list(found.values())), "mean").tolist()
            line["observed"] = dict(zip(found, observed, strict=True))
        return line

    def _refuse_nonfinite(self, line: dict[str, Any]) -> None:
        wrong = [name for name, value in line["terms"].items() if not torch.isfinite(torch.tensor(value))]
        if wrong:
            terms, steps = ", ".join(map(repr, wrong)), f"between steps {self.logged} and {line['step']}"
            raise diverged(f"the loss term {terms} is not finite {steps}", self.training.folder)
