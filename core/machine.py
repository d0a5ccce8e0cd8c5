"""What differs between computers: processes, precision, seeds, batches, BatchNorm over processes, trackers."""

import os
import zlib
from pathlib import Path
from typing import TypeVar, cast

import timm.layers
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from torch import nn

from core.recipe import ChannelsLast, Precision, Run

Module = TypeVar("Module", bound=nn.Module)


def mixed_precision(precision: Precision) -> str:
    """Accelerate's word for a precision.

    Raises:
        ValueError: if it is not to be had on this computer.
    """
    if precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("--run.precision fp16 needs a GPU; on a CPU choose bf16 or fp32")
    return "no" if precision == "fp32" else precision


def start(run: Run, batch: int, folder: Path) -> Accelerator:
    """Join the processes of this run, as `accelerate launch` or `torchrun` started them.

    Raises:
        ValueError: if the batch can't be shared equally, or the precision or a tracker is not to be had here.
    """
    available = {str(tracker) for tracker in get_available_trackers()}
    absent = [name for name in run.trackers if name not in available]  # accelerate would leave them out in silence
    if absent:
        raise ValueError(f"the tracker {absent[0]} is not installed: pip install {absent[0]}, or leave it out")
    accelerator = Accelerator(
        mixed_precision=mixed_precision(run.precision),
        gradient_accumulation_steps=run.accumulate,
        log_with=list(run.trackers) or None,
        project_dir=folder,
    )
    use_cores(accelerator.device, run.threads)
    parts = accelerator.num_processes * run.accumulate
    if batch % parts:
        raise ValueError(
            f"a batch of {batch} can't be shared equally by {accelerator.num_processes} processes x "
            f"{run.accumulate} accumulated parts; choose numbers whose product divides {batch}"
        )
    return accelerator


def channels_last(choice: ChannelsLast, device: torch.device, precision: Precision) -> bool:
    """Return True if images lie in memory with their colours beside each other: it pays on a GPU in half precision."""
    return choice == "on" or (choice == "auto" and device.type == "cuda" and precision != "fp32")


def compiled(network: Module) -> Module:
    """Compile a network for images of any size."""
    return cast(Module, torch.compile(network))


def use_cores(device: torch.device, threads: int | None = None) -> None:
    """Let a process that computes on a CPU use its share of the cores.

    `accelerate launch` and `torchrun` leave each process one thread, also where it is alone.
    """
    if device.type == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(threads or max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def seed_everything(*numbers: int) -> None:
    """Seed torch with a pure function of the numbers, e.g. (seed, step, process).

    Called before each step, it makes dropout independent of everything that happened before, so no state of any
    random generator needs saving.
    """
    torch.manual_seed(zlib.crc32(repr(numbers).encode()))


def synchronise_batchnorm(network: Module, accelerator: Accelerator) -> Module:
    """Let BatchNorm see the whole batch when several GPUs share it.

    On CPU processes torch has no such BatchNorm; there each process keeps its own, and says so. Uses timm's
    conversion, because torch's own drops the activations of EfficientNet.
    """
    if accelerator.num_processes == 1 or not any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules()
    ):
        return network
    if accelerator.device.type != "cuda":
        accelerator.print("BatchNorm is not synchronised over CPU processes: each sees only its share of the batch")
        return network
    return cast(Module, timm.layers.convert_sync_batchnorm(network))
