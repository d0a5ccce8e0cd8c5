"""What differs between computers: processes, precision, seeds, batches, BatchNorm over processes, trackers."""

import ctypes
import os
import platform
import signal
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import timm.layers
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, broadcast_object_list
from torch import nn

from core.recipe import FP16, Precision
from core.run import ChannelsLast, Run

Module = TypeVar("Module", bound=nn.Module)

LOST = timedelta(minutes=10)
"""How long a process waits for the others of its run, at most, before it ends with an error."""


ASKED = tuple(number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"))
"""What asks a program to stop, as far as this system has it: Ctrl-C, a batch system, a closed terminal, Ctrl-Break."""


def mixed_precision(precision: Precision) -> str:
    """Accelerate's word for a precision.

    Raises:
        ValueError: if this computer does not have it.
    """
    if precision == "fp16" and not torch.cuda.is_available():
        raise ValueError(FP16)
    return "no" if precision == "fp32" else precision


def start(run: Run, batch: int, folder: Path) -> Accelerator:
    """Join the processes of this run, as `accelerate launch` or `torchrun` started them.

    Raises:
        ValueError: if the batch can't be shared equally, or this computer has not the precision or a tracker.
    """
    if run.deterministic:
        be_deterministic()
    available = {str(tracker) for tracker in get_available_trackers()}
    absent = [name for name in run.trackers if name not in available]  # accelerate would leave them out without a word
    if absent:
        raise ValueError(f"the tracker {absent[0]} is not installed: pip install {absent[0]}, or leave it out")
    accelerator = Accelerator(
        mixed_precision=mixed_precision(run.precision),
        # A plugin, because accelerate lets a variable of the environment overrule a plain number.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=run.accumulate),
        log_with=list(run.trackers) or None,
        project_dir=folder,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LOST)],
    )
    use_cores(accelerator.device, run.threads)
    keep_memory(accelerator.device)
    parts = accelerator.num_processes * run.accumulate
    if batch % parts:
        raise ValueError(
            f"a batch of {batch} can't be shared equally by {accelerator.num_processes} processes x "
            f"{run.accumulate} accumulated parts; choose numbers whose product divides {batch}"
        )
    return accelerator


def on_main(accelerator: Accelerator, act: Callable[[], object]) -> None:
    """Do something on the main process; what it refuses is raised on all of them, so that none waits for it.

    Raises:
        ValueError, OSError, FloatingPointError: as `act` does.
    """
    refused: list[Exception | None] = [None]
    if accelerator.is_main_process:
        try:
            act()
        except (ValueError, OSError, FloatingPointError) as error:
            refused = [error]
    broadcast_object_list(refused)
    if refused[0] is not None:
        raise refused[0]


def use_cores(device: torch.device, threads: int | None = None) -> None:
    """Let a process that computes on a CPU use its share of the cores.

    `accelerate launch` and `torchrun` leave each process one thread, also where it is alone.
    """
    if device.type == "cpu":
        torch.set_num_threads(threads or _share_of_cores())


def keep_memory(device: torch.device) -> None:
    """Let a process that trains on a CPU keep what a step frees for the next one, where the C library is glibc.

    It gives large blocks back to the system at once, and each step would fetch the same pages again: a seventh of the
    time of a step of danet-demo, a fifth of sanet-tiny-camvid's (one core of an AMD EPYC, torch 2.15, 2026-11-28).
    """
    if device.type == "cpu" and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)


_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
"""The numbers that malloc.h gives to what mallopt sets: blocks with pages of their own, and what may stay unused."""


def workers(chosen: int | None, device: torch.device) -> int:
    """How many processes load images for this process: the chosen number, or by the machine.

    Beside a GPU: this process's share of the cores but one, which it needs itself, at least 1 and at most 16. Where the
    CPU computes, the network needs the cores: 2, or 1 if the share is a single core.
    """
    if chosen is not None:
        return chosen
    share = _share_of_cores()
    return min(share, 2) if device.type == "cpu" else min(max(share - 1, 1), 16)


def _share_of_cores() -> int:
    """The cores that this process may use, divided by the processes of this run on this machine; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def channels_last(choice: ChannelsLast, device: torch.device, precision: Precision, network: Module) -> bool:
    """Return True if images and weights are to use the channels_last memory layout.

    "auto" is on for CUDA in half precision, where tensor cores take that layout, but for a network with depthwise
    convolutions: cuDNN's for it are slow, above all dilated ones. The kernels of a step of sanet-b7-pascal-context,
    batch 8, in bfloat16 take 453 ms of an H200 with it and 278 ms without (torch 2.11, 2026-11-27). Whole steps were
    measured before this rule only, without it: 461 ms in bfloat16, 329 ms in float32 (ci/bench/README.md).
    """
    if choice != "auto":
        return choice == "on"
    layers = (part for part in network.modules() if isinstance(part, nn.Conv2d))
    depthwise = any(1 < part.groups == part.in_channels for part in layers)
    return device.type == "cuda" and precision != "fp32" and not depthwise


def compiled(network: Module, graphs: bool = False) -> Module:
    """The network as PyTorch's compiler makes it, with the same weights; `graphs` replays kernels as CUDA graphs.

    The second size of images compiles it again, for all sizes that follow.
    """
    return cast(Module, torch.compile(network, mode="reduce-overhead" if graphs else None))


def be_deterministic() -> None:
    """Let the same computation give the same bits on one GPU; what can't raises RuntimeError with its name.

    For the whole process, before it uses the GPU: cuBLAS reads its variable once.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


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
