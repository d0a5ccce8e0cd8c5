"""Processes that train as `tiny_train.py` does, forked from one that has imported everything: a start takes no seconds.

The server is a process of its own without the type checks of the tests.
"""

import json
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import tiny

SERVER = multiprocessing.get_context("forkserver")

Jobs = Sequence[dict[str, Any]]


def serve() -> None:
    """Start the server. A process has one for all: it must be the first to be asked for, or it imports too little."""
    SERVER.set_forkserver_preload(["tiny_train"])
    with patch.dict(os.environ, tiny.environment()):
        forkserver.ensure_running()


def fork(work: Callable[..., object], *given: Any, log: Path, **variables: str) -> ForkServerProcess:
    """Begin the work in a process that writes the log and has these variables of the environment besides."""
    serve()
    process = SERVER.Process(target=begin, args=(work, given, str(log), variables))
    process.start()
    return process


def begin(work: Callable[..., object], given: tuple[Any, ...], log: str, variables: dict[str, str]) -> None:
    """What the process does."""
    os.environ.update(variables)
    if "HF_ENDPOINT" in variables:  # which was read as these were imported
        for name in list(sys.modules):
            if name.split(".")[0] in ("huggingface_hub", "core", "papers", "hub"):
                del sys.modules[name]
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    multiprocessing.set_start_method("fork", force=True)  # for its own processes, as in any other
    code = None
    try:
        work(*given)
    except SystemExit as stopped:
        code = stopped.code
    sys.exit(code)  # when what the work held is gone: processes that load images ignore signals


def start(jobs: Jobs, log: Path) -> ForkServerProcess:
    """Begin the jobs, one after another, in a process."""
    (process,) = start_group(1, jobs, log)
    return process


def start_group(number: int, jobs: Jobs, log: Path) -> list[ForkServerProcess]:
    """Begin the jobs on processes that meet as those of `srun` do; rank 0 writes the log, rank 1 `log.1`."""
    words = json.dumps(jobs, default=str)
    return fork_group(number, train, words, log=log) if number > 1 else [fork(train, words, log=log)]


def fork_group(number: int, work: Callable[..., object], *given: Any, log: Path) -> list[ForkServerProcess]:
    """Begin the work on processes that meet; rank 0 writes the log, rank 1 `log.1`."""
    shared = {"WORLD_SIZE": number, "LOCAL_WORLD_SIZE": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    begun = []
    for rank in range(number):
        variables = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        begun.append(fork(work, *given, log=log.with_name(f"{log.name}.{rank}") if rank else log, **variables))
    return begun


def train(jobs: str) -> None:
    """Do the jobs of `tiny_train.py`, which the server has imported."""
    import tiny_train

    tiny_train.main(jobs)


def run(number: int, jobs: Jobs, log: Path) -> int:
    """Run the jobs one after another on some processes; return the exit status of the first, negative by a signal."""
    processes = start_group(number, jobs, log)
    try:
        return wait(processes[0])
    finally:
        for process in processes:
            process.kill()
            process.join()


def wait(process: ForkServerProcess) -> int:
    """Return the exit status of a process that ends by itself."""
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def port() -> int:
    """Return a port that is free."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def served(words: Sequence[str], env: Mapping[str, str] | None = None, **_: Any) -> subprocess.CompletedProcess[str]:
    """Do as `subprocess.run` does with a command of Python, in a fork of the server; all that it says is an error.

    The environment is that of the server, and what `env` has besides.
    """
    with tempfile.NamedTemporaryFile("r") as log:
        code = wait(fork(be, words[1:], log=Path(log.name), **(env or {})))
        return subprocess.CompletedProcess(words, code, "", log.read())


def command(
    words: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None, **_: Any
) -> subprocess.CompletedProcess[str]:
    """Do as `subprocess.run` does with a command of Python, in a fork of this process, which has imported most."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        sys.stdout.flush()  # or the fork would say it once more
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            os.dup2(said.fileno(), 1)
            os.dup2(complained.fileno(), 2)
            os.environ.update(env or {})
            os.chdir(cwd or ".")
            be(words[1:])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = []
        for file in (said, complained):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(words, code, *texts)


def be(words: Sequence[str]) -> NoReturn:
    """Go on as `python WORDS`: `-m MODULE` or a script, and its arguments."""
    code: Any = 1
    try:
        if words[0] == "-m":
            sys.argv = list(words[1:])
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(words)
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
