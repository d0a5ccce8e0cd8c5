"""How fast and how frugal `core.networks.attention` is beside the usual form: product, softmax, product.

    OMP_WAIT_POLICY=passive python -m ci.attention_benchmark
    python -m ci.attention_benchmark --positions 4096 --device cuda

Both run in float32 in the same process, in turns, so that other jobs on the machine slow both alike; the medians are
compared. Without OMP_WAIT_POLICY=passive that holds on an idle machine only: on a busy one, threads that spin while
they wait for each other slow the form of more and smaller steps, which is ours, up to tenfold. Peak memory is what
forward and backward add to the inputs, each measured in a fresh process (Linux only). The exit code is 1 if a target is
missed:

    time      forward, and forward + backward             at most 0.8 of the usual form
    spread    the same with energies of deviation 20      at most 0.2 of the usual form
    memory    forward + backward                          at most 1/12 of the usual form

With spread energies many weights of the usual form are denormal numbers. The target of 0.2 is for processors on which
these are slow (the usual form takes more than twice its own time for ordinary energies). Others, AMD's Zen among them,
have nothing to gain: there the target of ordinary energies holds for spread ones too, and the report says so.

The targets are set for the default size, which takes two minutes and 2 GB on two cores.
"""

import datetime
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor

from core.networks.attention import FORMS, attention

ORDINARY, SPREAD = 2.9, 20.0  # standard deviation of the energies
TIME_TARGET, SPREAD_TARGET, MEMORY_TARGET = 0.8, 0.2, 1 / 12
SLOW_DENORMALS = 2.0  # from this factor on, denormal numbers count as slow

Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def usual(Q: Tensor, K: Tensor, V: Tensor) -> Tensor:
    """Return softmax(Q K^T) V of Q (b d n), K (b d m), V (b c m), storing n x m weights."""
    weights = torch.bmm(Q.transpose(1, 2), K).softmax(dim=2)
    return torch.bmm(V, weights.transpose(1, 2))


def inputs(
    positions: int, key: int, value: int, deviation: float, device: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Q, K, V and a gradient of the output, for energies of a given standard deviation."""
    torch.manual_seed(0)
    scale = (deviation / key**0.5) ** 0.5
    Q, K = (torch.randn(1, key, positions, device=device) * scale for _ in range(2))
    V, gradient = (torch.randn(1, value, positions, device=device) for _ in range(2))
    return Q, K, V, gradient


def forward(form: Form, Q: Tensor, K: Tensor, V: Tensor, gradient: Tensor) -> None:
    """Run a form without gradient."""
    with torch.no_grad():
        form(Q, K, V)


def training(form: Form, Q: Tensor, K: Tensor, V: Tensor, gradient: Tensor) -> None:
    """Run a form and its backward pass."""
    leaves = [x.detach().requires_grad_() for x in (Q, K, V)]
    torch.autograd.grad(form(*leaves), leaves, gradient)


def seconds(runs: Mapping[str, Callable[[], None]], rounds: int, device: str) -> dict[str, float]:
    """Return the median seconds of each run over interleaved rounds, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def growth(name: Literal["usual", "attention"], positions: int, key: int, value: int, device: str) -> int:
    """Return the bytes that forward and backward of a form add to its inputs; call it in a new process."""
    form = {"usual": usual, "attention": attention}[name]
    training(form, *inputs(64, key, value, ORDINARY, device))  # libraries load at their first use
    arguments = inputs(positions, key, value, ORDINARY, device)
    before = peak(device)
    training(form, *arguments)
    return peak(device) - before


def peak(device: str) -> int:
    """Return the most bytes that this process has held so far: resident on a CPU, allocated on CUDA."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def growth_in_new_process(
    name: Literal["usual", "attention"], positions: int, key: int, value: int, device: str = "cpu"
) -> int:
    """Return `growth`, measured where nothing else has used memory yet."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(growth, name, positions, key, value, device).result()


def machine(device: str) -> str:
    """Return what the numbers were measured with: processor, threads, version, date."""
    if device != "cpu":
        processor = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"
    waiting = f"OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'not set')}"
    return f"{processor}; torch {torch.__version__}; {waiting}; {datetime.date.today().isoformat()}"


def say(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def judge(what: str, ours: float, theirs: float, unit: str, target: float, note: str = "") -> bool:
    """Write one measurement and its ratio, and return whether the target is met."""
    met = ours <= target * theirs
    say(
        f"{what:32} usual {theirs:9.3f} {unit}   attention {ours:9.3f} {unit}   ratio {ours / theirs:6.3f}   "
        f"target <= {target:.3f} {'met' if met else 'NOT met'}{note}"
    )
    return met


def main(positions: int = 9409, key: int = 64, value: int = 512, rounds: int = 5, device: str = "cpu") -> int:
    """Compare attention with product, softmax, product in time and memory; return 1 if a target is missed.

    Args:
        positions: queries, and keys (9409 = 97 x 97).
        key: channels of a query and of a key.
        value: channels of a value.
        rounds: timed rounds, at least 5 for the targets to mean anything.
        device: "cpu" or a CUDA device.
    """
    say(machine(device))
    say(f"{positions} positions, keys of {key} channels, values of {value}, float32, {rounds} rounds")
    kinds: dict[str, Form] = {"usual": usual, "attention": attention}
    passes = {"forward": forward, "forward + backward": training}
    ordinary = inputs(positions, key, value, ORDINARY, device)
    spread = inputs(positions, key, value, SPREAD, device)
    runs = {
        f"{kind}, {name}, {energies}": partial(run, form, *arguments)
        for energies, arguments in (("ordinary", ordinary), ("spread", spread))
        for name, run in passes.items()
        for kind, form in kinds.items()
    }
    times = seconds(runs, rounds, device)

    met = []
    for name in passes:
        ours, theirs = (times[f"{kind}, {name}, ordinary"] for kind in ("attention", "usual"))
        met.append(judge(f"time, {name}", ours, theirs, "s", TIME_TARGET))
    for name in passes:
        ours, theirs = (times[f"{kind}, {name}, spread"] for kind in ("attention", "usual"))
        slowdown = theirs / times[f"usual, {name}, ordinary"]
        if slowdown >= SLOW_DENORMALS:
            met.append(judge(f"spread, {name}", ours, theirs, "s", SPREAD_TARGET))
        else:
            note = f" (not {SPREAD_TARGET}: denormal numbers slow the usual form only {slowdown:.2f}-fold here)"
            met.append(judge(f"spread, {name}", ours, theirs, "s", TIME_TARGET, note))

    ours, theirs = (growth_in_new_process(k, positions, key, value, device) / 1e6 for k in ("attention", "usual"))
    met.append(judge("memory, forward + backward", ours, theirs, "MB", MEMORY_TARGET))
    if device != "cpu":
        report_forms(ordinary, rounds, device)
    return 0 if all(met) else 1


def report_forms(arguments: tuple[Tensor, Tensor, Tensor, Tensor], rounds: int, device: str) -> None:
    """Write the times of every exact form that this device can run."""
    for name, form in FORMS.items():
        try:
            times = seconds(
                {"f": partial(forward, form, *arguments), "t": partial(training, form, *arguments)}, rounds, device
            )
        except (RuntimeError, ValueError) as error:
            say(f"form {name}: refused ({str(error).splitlines()[0]})")
            continue
        say(f"form {name}: forward {times['f']:.4f} s, forward + backward {times['t']:.4f} s")


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
