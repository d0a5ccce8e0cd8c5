"""What becomes of the processes of a run, on one computer or several, when one of them is lost."""

import time
from pathlib import Path

import forked
import pytest
from tiny import NAME


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
