"""What differs between computers."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from core import machine, provenance


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("processes", "threads", "expected"), [("1", None, 4), ("2", None, 2), ("8", None, 1), ("1", 3, 3)]
)
def test_a_process_on_a_cpu_gets_its_share_of_the_cores(
    processes: str, threads: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launchers leave one thread to a process that is alone on its computer."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    torch.set_num_threads(1)
    machine.use_cores(torch.device("cpu"), threads)
    assert torch.get_num_threads() == expected


def test_threads_are_left_alone_where_a_gpu_computes() -> None:
    torch.set_num_threads(1)
    machine.use_cores(torch.device("cuda"), 2)
    assert torch.get_num_threads() == 1


def test_the_seed_of_a_step_is_a_function_of_its_numbers() -> None:
    def drawn(*numbers: int) -> float:
        machine.seed_everything(*numbers)
        return float(torch.rand(()))

    assert drawn(0, 5, 1) == drawn(0, 5, 1)
    assert len({drawn(0, 5, 1), drawn(0, 5, 0), drawn(0, 6, 1), drawn(1, 5, 1)}) == 4


def test_a_record_names_hardware_commit_and_date() -> None:
    assert "CPU" in provenance.hardware() or "x" in provenance.hardware()
    assert len(provenance.today()) == 10
    assert provenance.commit() == "unknown" or len(provenance.commit().rstrip("+")) == 12


def test_a_commit_tells_whether_the_tree_was_changed_and_may_leave_paths_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    for file in ("code.py", "ci/records.toml", "core/provenance.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")
    git("init")
    git("add", "-A")
    git("commit", "-m", "everything")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "core" / "provenance.py"))
    clean = provenance.commit()
    assert len(clean) == 12
    (tmp_path / "ci/records.toml").write_text("new")
    assert (provenance.commit(), provenance.commit(besides=["ci/records.toml"])) == (f"{clean}+", clean)
    assert provenance.commit(besides=["ci"]) == clean
    (tmp_path / "code.py").write_text("new")
    assert provenance.commit(besides=["ci/records.toml"]) == f"{clean}+"
