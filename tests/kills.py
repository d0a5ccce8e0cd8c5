"""A campaign of kills; not a test, for it takes minutes: `python tests/kills.py [--processes 2] [--minutes 5]`.

A tiny run keeps its best weights, validates each epoch and saves a state at each step. It is killed with SIGKILL, all
its processes at once, and the same command goes on; at the end everything that it leaves must be, bit for bit, what a
run leaves that nobody has killed. Two kinds:

    everywhere    just before each single operation on files: renaming, removing, making a folder, synchronising
    at random     up to three kills a run, at moments drawn from its length

Each run is forked from this process, which has imported everything, so that a kill costs a second.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import tiny
import torch
from tiny import NAME, differing

from core import provenance
from core.training.loop import train

OPERATIONS = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "open")
RUN: dict[str, Any] = {"keep": "best", "validate_every": 1, "save_every": 1}


def die_before(number: int) -> None:
    """Let this process be killed just before its operation of this number on files."""
    left = number

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*given, **named)

        return instead

    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name)))


def begin(to: Path, processes: int, dying: int = 0) -> list[int]:
    """Fork the processes of the run; that of rank 0 may be killed before an operation on files."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = opened.getsockname()[1]
    pids = []
    for rank in range(processes):
        pid = os.fork()
        if not pid:
            child(to, rank, processes, port, dying)
        pids.append(pid)
    return pids


def child(to: Path, rank: int, processes: int, port: int, dying: int) -> None:
    log = os.open(to.with_suffix(f".{rank}.log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(tiny.environment())
    if processes > 1:
        shared = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "MASTER_PORT": port, "RANK": rank}
        os.environ.update({name: str(value) for name, value in {**shared, "LOCAL_RANK": rank}.items()})
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    code = 1
    try:
        torch.set_num_threads(1)
        if dying and not rank:
            die_before(dying)
        train(tiny.begin(to, tiny.recipe(ema=0.5), **RUN))
        code = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


def wait(pids: list[int], seconds: float = 120.0) -> list[int | None]:
    """The exit status of each process, negative after a signal; None if it goes on after these seconds."""
    codes: list[int | None] = [None] * len(pids)
    end = time.monotonic() + seconds
    while None in codes and time.monotonic() < end:
        for number, pid in enumerate(pids):
            if codes[number] is None:
                done, status = os.waitpid(pid, os.WNOHANG)
                codes[number] = os.waitstatus_to_exitcode(status) if done else None
        time.sleep(0.002)
    return codes


def kill(pids: list[int], codes: list[int | None]) -> None:
    """Kill what goes on, and wait for it."""
    for pid, code in zip(pids, codes, strict=True):
        if code is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def outcome(to: Path) -> dict[str, Any]:
    """Everything that the run leaves: also its best weights, and the names of its files."""
    folder = to / NAME
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {**tiny.left(folder), "best": safetensors.torch.load_file(folder / "best/model.safetensors"), "names": names}


def moment(folder: Path) -> str:
    """What lies there after a kill: which file was being written."""
    if not folder.exists():
        return "before the folder"
    names = {path.name for path in folder.iterdir()}
    parts = sorted(name for name in names if name.endswith(".part"))
    if parts:
        return "in " + ", ".join(parts)
    if "state.pt" not in names:
        return "between two states" if "state.previous.pt" in names else "before the first state"
    return "at the end" if "model.safetensors" in names else "while it trains"


def survives(to: Path, processes: int, expected: dict[str, Any], kill_it: Callable[[int], bool], most: int) -> str:
    """Kill a run up to `most` times, let it end, and say what is wrong with it; "" if nothing."""
    for attempt in range(most):
        if not kill_it(attempt):
            break
    pids = begin(to, processes)
    codes = wait(pids)
    kill(pids, codes)
    if any(codes):
        return f"exit {codes}: " + to.with_suffix(".0.log").read_text()[-400:]
    wrong = differing(expected, outcome(to))
    if not wrong:
        shutil.rmtree(to)
    return ", ".join(wrong[:5])


def main() -> None:
    """Say how many kills there were, when, and what did not survive them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("runs/kills"))
    options = parser.parse_args()
    commit = provenance.commit()
    provenance.commit = lambda: commit  # the same for all, though somebody commits meanwhile
    to, processes, draw = options.to, options.processes, random.Random(options.seed)
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    end = time.monotonic() + 60 * options.minutes

    begun = time.monotonic()
    codes = wait(begin(to / "whole", processes))
    assert not any(codes), (to / "whole.0.log").read_text()
    length = time.monotonic() - begun
    expected = outcome(to / "whole")
    when: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    wrong: dict[str, str] = {}

    def operation(number: int) -> Callable[[int], bool]:
        def kill_it(attempt: int) -> bool:
            pids = begin(to / f"o{number}", processes, number)
            codes = wait(pids[:1])
            kill(pids[1:], [None] * (processes - 1))
            if codes[0] == -signal.SIGKILL:
                tried["everywhere"] += 1
                when[moment(to / f"o{number}" / NAME)] += 1
                return True
            over.append(number)
            return False

        return kill_it

    def random_moment(number: int) -> Callable[[int], bool]:
        def kill_it(attempt: int) -> bool:
            pids = begin(to / f"r{number}", processes)
            codes = wait(pids, draw.uniform(0, length))
            kill(pids, codes)
            if None in codes:
                tried["at random"] += 1
                when[moment(to / f"r{number}" / NAME)] += 1
            return None in codes

        return kill_it

    over: list[int] = []
    number = 0
    while not over and time.monotonic() < end:
        number += 1
        if problem := survives(to / f"o{number}", processes, expected, operation(number), 1):
            wrong[f"before operation {number}"] = problem
    runs = number
    while time.monotonic() < end:
        runs += 1
        if problem := survives(to / f"r{runs}", processes, expected, random_moment(runs), 3):
            wrong[f"random run {runs}"] = problem
    found = {"processes": processes, "seconds of a run": round(length, 2), "kills": dict(tried), "when": dict(when)}
    print(json.dumps({**found, "runs": runs, "not survived": wrong, "all operations": bool(over)}, indent=2))  # noqa: T201
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
