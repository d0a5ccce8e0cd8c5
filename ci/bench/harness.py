"""What the benchmarks share: interleaved timing, peak memory, and a table of figures with their targets.

On a busy machine the threads of a CPU slow down whoever has more and smaller steps, by spinning while they wait for
each other: set OMP_WAIT_POLICY=passive.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from core import provenance
from core.files import write_json


@dataclass(frozen=True)
class Line:
    """A figure: ours, beside the usual form's where there is one.

    Attributes:
        name: what was measured.
        ours: in `unit`.
        unit: such as "ms", "MiB", "images/s".
        usual: the usual form's figure, in the same unit.
        target: the most (or, with `higher`, the least) that ours may be, as a share of the usual form's, or in `unit`
            where there is none; None: for information.
        higher: whether more is better.
    """

    name: str
    ours: float
    unit: str
    usual: float | None = None
    target: float | None = None
    higher: bool = False

    @property
    def value(self) -> float:
        """What the target is held against."""
        return self.ours if self.usual is None else self.ours / self.usual

    @property
    def met(self) -> bool | None:
        """Return True if the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.higher else self.value <= self.target

    def cells(self) -> tuple[str, ...]:
        """The line as a row of `table`."""
        ours = f"{self.ours:.4g} {self.unit}"
        usual = "" if self.usual is None else f"{self.usual:.4g} {self.unit}"
        ratio = "" if self.usual is None else f"{self.value:.3f}"
        sign = ">=" if self.higher else "<="
        target = "" if self.target is None else f"{sign} {self.target:.3g}"
        return self.name, ours, usual, ratio, target, {None: "", True: "met", False: "NOT met"}[self.met]


HEADINGS = ("what", "ours", "usual form", "ratio", "target", "")


def table(lines: Sequence[Line]) -> str:
    """Lines in aligned columns."""
    rows = [HEADINGS, *(line.cells() for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def report(lines: Sequence[Line], device: str, to: Path | None = None) -> int:
    """Print the lines and with `to` write them as JSON; return 1 if a target is missed, else 0."""
    say(f"{where(device)}\n{table(lines)}")
    if to is not None:
        write_json(to, {"where": where(device), "lines": [asdict(line) for line in lines]})
    return int(any(line.met is False for line in lines))


def say(text: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def where(device: str) -> str:
    """What the figures were measured with: processor, threads, version, commit, date."""
    if on_cuda(device):
        processor = torch.cuda.get_device_name(device)
    else:
        waiting = os.environ.get("OMP_WAIT_POLICY", "not set")
        processor = f"{provenance.processor()}, {torch.get_num_threads()} threads, OMP_WAIT_POLICY {waiting}"
    return f"{processor}; torch {torch.__version__}; commit {provenance.commit()}; {provenance.today()}"


def on_cuda(device: str) -> bool:
    """Return True if a device's name is that of an NVIDIA GPU."""
    return torch.device(device).type == "cuda"


def seconds(
    runs: Mapping[str, Callable[[], object]], rounds: int, device: str, uncounted: int = 1, processor: bool = False
) -> dict[str, float]:
    """Return the median seconds of each run over interleaved rounds, after some that are not counted.

    With `processor`, on a CPU, the time of the processor counts where it is less than the clock's: on a busy machine
    the clock counts the work of others too.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(uncounted + rounds):
        for name, run in runs.items():
            synchronise(device)
            clock, worked = time.perf_counter(), time.process_time()
            run()
            synchronise(device)
            passed, worked = time.perf_counter() - clock, time.process_time() - worked
            times[name].append(min(passed, worked) if processor and not on_cuda(device) else passed)
    return {name: statistics.median(values[uncounted:]) for name, values in times.items()}


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if on_cuda(device):
        torch.cuda.synchronize(device)


def peak(device: str) -> int:
    """Return the most bytes that this process has held so far: resident on a CPU (Linux only), allocated on CUDA."""
    if on_cuda(device):
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def growth(run: Callable[[], object], device: str) -> int:
    """Return the bytes that a run holds at most beyond what was there before; on a CPU, call it in a new process."""
    synchronise(device)
    if on_cuda(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if on_cuda(device) else peak(device)
    run()
    synchronise(device)
    return peak(device) - before


def in_new_process(function: Callable[..., int], *arguments: Any) -> int:
    """Call a function of this package where nothing else has used memory yet."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
