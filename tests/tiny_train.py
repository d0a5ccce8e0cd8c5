"""Train as the jobs say that stand as JSON in the first argument; run by `forked.py`, by `torchrun` and `windows.py`.

A job has `to`, and may have `noisy`, `optimisation`, `run`, `backend` for `torch.compile`, and one of `kill_at`, a call
of the loss, `stop_at`, one that raises, so that the next job follows, `fail_at`, one that raises and ends all jobs, and
`kill_in_save`, a save in the middle of whose writing the process is killed. `pause` is the length of a step in seconds.
With `lost`, the seconds for which others are waited for, rank 1 alone is killed by `kill_at`, or at `freeze_at` no
longer answers.
"""

import contextlib
import datetime
import functools
import gc
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import tiny
import torch

from core import machine
from core.training.loop import train

if __name__ != "__main__":
    gc.freeze()  # what the server forks looks for no garbage among what is imported


def die(_: object = None) -> None:
    """SIGKILL, which no process can catch, by its number, which `windows.py` can't take away."""
    os.kill(os.getpid(), 9)


def freeze(_: object = None) -> None:
    """Stay, but do nothing more."""
    os.kill(os.getpid(), signal.SIGSTOP)


def fail(_: object) -> None:
    raise ValueError("an error that nobody catches")


def die_in_save(number: int) -> None:
    """Let the save of this number write half of its file, flush it, and die."""
    save, calls = torch.save, 0

    def half(value: Any, file: BinaryIO) -> None:
        nonlocal calls
        calls += 1
        if calls < number:
            save(value, file)
            return
        stream = io.BytesIO()
        save(value, stream)
        file.write(stream.getvalue()[: stream.tell() // 2])
        file.flush()
        die()

    torch.save = half


def slowly(pause: float, output: tiny.Output, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The loss, after a pause."""
    time.sleep(pause)
    return tiny.loss(output, labels)


def main(jobs: str) -> None:
    torch.set_num_threads(1)
    leave = torch.distributed.destroy_process_group
    torch.distributed.destroy_process_group = lambda *_: None  # processes that met once stay together for all jobs
    for job in json.loads(jobs):
        objective = tiny.After(job["kill_at"], die) if "kill_at" in job else tiny.loss
        if "lost" in job:
            machine.LOST = datetime.timedelta(seconds=job["lost"])
            at, event = (job["kill_at"], die) if "kill_at" in job else (job["freeze_at"], freeze)
            objective = tiny.After(at, event) if os.environ["RANK"] == "1" else tiny.loss
        if "fail_at" in job:
            objective = tiny.After(job["fail_at"], fail)
        if "stop_at" in job:
            objective = tiny.After(job["stop_at"], tiny.kill)
        if job.get("pause"):
            objective = functools.partial(slowly, job["pause"])
        if "kill_in_save" in job:
            die_in_save(job["kill_in_save"])
        if "backend" in job:
            torch.compile = functools.partial(torch.compile, backend=job["backend"])
        what = tiny.recipe(job.get("noisy", True), **job.get("optimisation", {}))
        run = {name: Path(value) if name == "cache" else value for name, value in job.get("run", {}).items()}
        with contextlib.suppress(tiny.Killed), tiny.undrawn():
            train(tiny.begin(Path(job["to"]), what, objective, **run))
    if torch.distributed.is_initialized():
        leave()


if __name__ == "__main__":
    main(sys.argv[1])
