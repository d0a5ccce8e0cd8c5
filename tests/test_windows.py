"""What keeps to Windows' rules is tried in a process that has them (`windows.py`); nothing here has run on Windows."""

import errno
import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from tiny import NAME, begin, differing, left

from core import machine
from core.datasets import cache, prepare
from core.training import lock
from core.training.loop import train

SCRIPT = Path(__file__).with_name("windows.py")


@pytest.mark.slow
def test_a_run_on_windows_stops_and_goes_on_bit_for_bit(tmp_path: Path, one_thread: None) -> None:
    """Lock, states, best weights, cache, and a spawned process that loads images: the run is that of other systems."""
    kept: dict[str, Any] = {"keep": "best", "validate_every": 1, "workers": 0}
    stopped = {"to": tmp_path / "stopped", "run": kept}
    spawned = {"to": tmp_path / "spawned", "run": {"workers": 1, "cache": tmp_path / "cache"}}
    jobs = json.dumps([{**stopped, "stop_at": 5}, stopped, spawned], default=str)
    done = forked.served([sys.executable, str(SCRIPT), jobs])
    assert done.returncode == 0, done.stderr
    assert "going on at step 4" in done.stderr

    train(begin(tmp_path / "whole", **kept))
    assert differing(left(tmp_path / "whole" / NAME), left(tmp_path / "stopped" / NAME)) == []
    train(begin(tmp_path / "plain"))
    assert differing(left(tmp_path / "plain" / NAME), left(tmp_path / "spawned" / NAME)) == []
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob(".lock"))


def test_the_lock_of_windows_keeps_others_out_and_is_closed_before_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The byte that is locked lies behind the text, so that others can read whose it is."""
    places, free = [], True

    def locking(descriptor: int, mode: int, number: int) -> None:
        places.append(os.lseek(descriptor, 0, os.SEEK_CUR))
        if not free:
            raise PermissionError(errno.EACCES, "Permission denied")

    msvcrt: Any = types.ModuleType("msvcrt")
    msvcrt.locking, msvcrt.LK_NBLCK = locking, 2
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    spec = importlib.util.spec_from_file_location("windows_lock", Path(lock.__file__))
    assert spec is not None
    assert spec.loader is not None
    windows = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "win32")
        spec.loader.exec_module(windows)

    first = windows.Lock(tmp_path / "run")
    first.take()
    free = False
    with pytest.raises(ValueError, match=rf"belongs to a run that is going on \(process {os.getpid()} on "):
        windows.Lock(tmp_path / "run").take()
    assert places == [windows.FAR] * 2
    first.release()
    assert not (tmp_path / "run").exists()


def test_signals_are_those_that_the_system_has() -> None:
    """Windows' SIGBREAK is not here, and SIGHUP not there."""
    names = {number.name for number in machine.ASKED}
    assert names == ({"SIGINT", "SIGTERM", "SIGBREAK"} if sys.platform == "win32" else {"SIGINT", "SIGTERM", "SIGHUP"})


def test_an_entry_of_the_cache_that_another_process_has_mapped_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several processes that decode one image, Windows lets the first one win."""
    path, pixels = tmp_path / "ab" / "ab.npy", np.arange(12, dtype=np.uint8).reshape(3, 4)
    cache._write(path, pixels, "ab")

    def mapped(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Access is denied", str(path))

    monkeypatch.setattr(os, "replace", mapped)
    cache._write(path, pixels, "ab")
    assert [file.name for file in path.parent.iterdir()] == ["ab.npy"]
    with pytest.raises(ValueError, match="can't be written"):
        cache._write(path, pixels, "of another name")


def test_a_cache_where_no_folder_can_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", closed)
    with pytest.raises(ValueError, match="is read-only or not yours"):
        cache._write(tmp_path / "ab" / "ab.npy", np.zeros(1), "ab")


def test_paths_in_a_manifest_are_written_with_slashes(tmp_path: Path) -> None:
    assert prepare._from(tmp_path / "prepared", tmp_path / "a" / "b.png") == "../a/b.png"
