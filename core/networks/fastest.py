"""Which of several forms of one operation is the fastest, found by timing them at the first use."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor


def form_is_fixed(x: Tensor) -> bool:
    """Say whether timing forms is useless (one form only) or forbidden (tracing, determinism, graph capture)."""
    return (
        x.device.type != "cuda"
        or torch.compiler.is_compiling()
        or torch.are_deterministic_algorithms_enabled()
        or torch.cuda.is_current_stream_capturing()
    )


def median_seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of three runs on a device, after one that is not counted."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
