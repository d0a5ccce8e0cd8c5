"""Several computers, as far as one can show it: launchers and processes that meet at an address of this one."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
from tiny import NAME, differing, left

SCRIPT = str(Path(tiny.__file__).with_name("tiny_train.py"))


def port() -> int:
    """A port that is free."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def start(words: Sequence[str], job: dict[str, Any], log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Begin the job in a process, or by a launcher."""
    command = [sys.executable, *words, SCRIPT, json.dumps([job], default=str)]
    with log.open("w") as output:
        environment = {**tiny.environment(), **variables}
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_two_launchers_of_one_process_equal_one_launcher_of_two(tmp_path: Path) -> None:
    """As on two nodes: each has its own `torchrun`, and they meet at the first one's address."""
    meet = ["--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(port())]
    job = {"to": tmp_path / "nodes", "run": {"validate_every": 1, "keep": "best"}}
    launchers = [
        start(["-m", "torch.distributed.run", *meet, "--node_rank", str(rank)], job, tmp_path / f"{rank}.log")
        for rank in range(2)
    ]
    assert [launcher.wait(200) for launcher in launchers] == [0, 0], (tmp_path / "0.log").read_text()
    one = {**job, "to": tmp_path / "one"}
    assert tiny.in_processes(2, [one], tmp_path / "one.log") == 0
    assert differing(left(tmp_path / "one" / NAME), left(tmp_path / "nodes" / NAME)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "within"), [({"kill_at": 3}, 20), ({"freeze_at": 3}, 20)], ids=["killed", "silent"])
def test_a_lost_process_ends_the_others_in_time(lost: dict[str, int], within: int, tmp_path: Path) -> None:
    """Without a launcher that would end them, as `srun` starts them: at once if it is gone, else after LOST."""
    waited = 5 if "freeze_at" in lost else 600
    job = {"to": tmp_path, "lost": waited, "run": {"save_every": 1}, **lost}
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port())}
    processes = [
        start([], job, tmp_path / f"{rank}.log", RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)
    ]
    try:
        while not (tmp_path / NAME / "state.pt").exists():
            assert processes[0].poll() is None, (tmp_path / "0.log").read_text()
            time.sleep(0.05)
        begun = time.monotonic()
        assert processes[0].wait(within) not in (0, None)
        assert time.monotonic() - begun < within
    finally:
        for process in processes:
            process.kill()
            process.wait()
