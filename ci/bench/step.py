"""Training steps of a recipe, beside the same network with the usual attention: images a second and peak memory.

    python -m ci.bench step danet-r101-cityscapes --device cuda --precision bf16 --batch 4
    python -m ci.bench step ranet-r101-cityscapes --device cuda --batch 2 --compile
    python -m ci.bench step danet-r18-camvid --device cuda --precision bf16 --compile --graphs

A step is what the training loop does with a batch that lies on the device already: forward, loss, backward, SGD. The
input is random, and so are the weights. Targets are for danet-r101-cityscapes at a batch of 4 in bf16, on an H200 or
H100: images a second at least those of the usual form, in at most 0.72 of its memory; compiled, at least 1.25 times
those of the usual form as it is.

On CUDA it also says how often a step waits for the device; RANet must, because the image decides how many regions it
has.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from ci.bench import attention
from ci.bench.harness import Line, growth, on_cuda, report, seconds
from core import machine
from core.errors import require
from core.networks.attention import forced
from core.recipe import Precision, Recipe
from core.run import ChannelsLast
from core.training.learner import make_optimiser
from papers import paper_of

TARGETS = {("danet-r101-cityscapes", "bf16", 4): (1.0, 0.72, 1.25)}
"""By recipe, precision and batch: images a second, memory, and images a second compiled, as shares of the usual's."""

Program = Literal["as it is", "compiled", "compiled, with CUDA graphs"]
"""What runs: the network, or what PyTorch's compiler makes of it."""

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Step:
    """A training step that can be repeated."""

    def __init__(
        self,
        recipe: Recipe[Any],
        device: str,
        precision: Precision,
        batch: int,
        crop: int,
        channels_last: ChannelsLast,
        program: Program = "as it is",
    ) -> None:
        paper = paper_of(recipe.name)
        machine.seed_everything(0)
        self.network = paper.build(recipe).to(device).train()
        place = torch.device(device)
        self.last = machine.channels_last(channels_last, place, precision, self.network)
        if self.last:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.optimiser = make_optimiser(self.network, recipe.optimisation, place)
        self.run: Callable[[Tensor], Any] = self.network
        if program != "as it is":
            self.run = machine.compiled(self.network, graphs=program == "compiled, with CUDA graphs")
        self.loss = paper.objective(recipe.architecture)
        self.image = torch.randn(batch, 3, crop, crop, device=device)
        if self.last:
            self.image = self.image.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(recipe.data.num_classes, (batch, crop, crop), device=device)
        self.device, self.precision = place.type, precision
        self.scaler = torch.amp.GradScaler(self.device, enabled=precision == "fp16")

    def __call__(self) -> None:
        """Do one step."""
        dtype = DTYPES.get(self.precision)
        with torch.autocast(self.device, dtype) if dtype else nullcontext():
            terms = self.loss(self.run(self.image), self.labels)
            total = torch.stack(list(terms.values())).sum()
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()


def waits(step: Callable[[], None]) -> int:
    """Return how often a step waits for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def main(
    recipe: tyro.conf.Positional[str],
    device: str = "cpu",
    precision: Precision = "fp32",
    batch: int | None = None,
    crop: int | None = None,
    channels_last: ChannelsLast = "auto",
    compile: bool = False,
    graphs: bool = False,
    rounds: int = 8,
    to: Path | None = None,
) -> int:
    """Measure training steps, ours and the usual one on the same network; return 1 if a target is missed.

    Args:
        recipe: any row of any paper.
        device: "cpu" or a CUDA device.
        precision: of the products and convolutions.
        batch: images; None: the recipe's.
        crop: side of the input in pixels; None: the recipe's.
        channels_last: layout of the images in memory; "auto" as the training loop decides.
        compile: measure the compiled network too, beside the usual one as it is.
        graphs: measure the compiled network with its kernels replayed as CUDA graphs too.
        rounds: timed rounds.
        to: a file for the figures, as JSON.

    Raises:
        ValueError: if there is no such recipe, or `graphs` is asked of a CPU.
    """
    require(not graphs or on_cuda(device), f"--graphs replays kernels of a GPU, got --device {device}; leave it out")
    programs: list[Program] = ["compiled"] if compile else []
    programs += ["compiled, with CUDA graphs"] if graphs else []
    row = paper_of(recipe).recipes[recipe]
    batch, crop = batch or row.optimisation.batch, crop or row.augmentation.crop or 480
    name, make = f"{recipe}, {precision}", partial(Step, row, device, precision, batch, crop, channels_last)
    time_target, memory_target, compiled_target = TARGETS.get((recipe, precision, batch), (None, None, None))
    plain = make()
    runs: dict[str, Callable[[], None]] = {"usual": forced(attention.usual)(plain), "ours": plain}
    times = seconds(runs, rounds, device, uncounted=3)
    usual = batch / times["usual"]
    lines = [Line(name, batch / times["ours"], "images/s", usual, time_target, higher=True)]
    if on_cuda(device):
        held = {form: growth(run, device) / 2**20 for form, run in runs.items()}
        lines.append(Line(f"{name}: memory", held["ours"], "MiB", held["usual"], memory_target))
        lines.append(Line(f"{name}: waits for the device", waits(plain), "a step"))
    del plain, runs
    for program in programs:
        step = make(program=program)
        took = seconds({program: step}, rounds, device, uncounted=3)[program]
        del step  # so that the next one has its memory
        target = compiled_target if program == "compiled" else None
        lines.append(Line(f"{name}, {program}", batch / took, "images/s", usual, target, higher=True))
    return report(lines, device, to)
