"""Several computers, as far as one can show it: launchers and processes that meet at an address of this one."""

import json
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
import tiny
from tiny import NAME, differing, left

SCRIPT = str(Path(tiny.__file__).with_name("tiny_train.py"))


@pytest.mark.slow
def test_two_launchers_of_one_process_equal_two_processes(tmp_path: Path) -> None:
    """As on two nodes: each has its own `torchrun`, and they meet at the first one's address."""
    meet = ["--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(forked.port())]
    job = {"to": tmp_path / "nodes", "run": {"validate_every": 1, "keep": "best"}}
    launchers = []
    for rank in range(2):
        words = ["-m", "torch.distributed.run", *meet, "--node_rank", str(rank), SCRIPT, json.dumps([job], default=str)]
        with (tmp_path / f"{rank}.log").open("w") as log:
            launchers.append(subprocess.Popen([sys.executable, *words], env=tiny.environment(), stdout=log, stderr=log))
    assert [launcher.wait() for launcher in launchers] == [0, 0], (tmp_path / "0.log").read_text()
    one = {**job, "to": tmp_path / "one"}
    assert forked.run(2, [one], tmp_path / "one.log") == 0, (tmp_path / "one.log").read_text()
    assert differing(left(tmp_path / "one" / NAME), left(tmp_path / "nodes" / NAME)) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [{"kill_at": 3, "lost": 600}, {"freeze_at": 3, "lost": 5}], ids=["killed", "silent"])
def test_a_lost_process_ends_the_others_in_time(lost: dict[str, int], tmp_path: Path) -> None:
    """Without a launcher that would end them, as `srun` starts them: at once if it is gone, else after LOST."""
    processes = forked.start_group(2, [{"to": tmp_path, "run": {"save_every": 1}, **lost}], tmp_path / "log")
    try:
        while not (tmp_path / NAME / "state.pt").exists():
            assert processes[0].is_alive(), (tmp_path / "log").read_text()
            time.sleep(0.05)
        processes[0].join(300)  # half of what would be waited for, if it were
        assert processes[0].exitcode not in (0, None)
    finally:
        for process in processes:
            process.kill()
            process.join()
