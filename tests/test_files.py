"""Files are written whole, on every platform, and what keeps them from being written is said."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core import files


def fail(path: Path, error: Exception, content: bytes = b"x") -> None:
    """Fail after a part of a file was written."""
    with files.written_aside(path) as aside:
        aside.write_bytes(content)
        raise error


def test_files_are_synchronised_as_windows_demands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, a descriptor that only reads can't be synchronised."""
    synchronised = []

    def fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        synchronised.append(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_json(tmp_path / "a.json", {"a": 1})
    assert files.read_json(tmp_path / "a.json") == {"a": 1}
    assert len(synchronised) == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError(f"Error while serializing: {os.strerror(errno.ENOSPC)} (os error 28)"),
    ],
)
def test_a_full_disk_is_said_with_the_file_and_what_is_left(error: Exception, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_text("old")
    with pytest.raises(ValueError, match=r"state\.pt can't be written: the disk is full, [\d.]+ MiB.*than 3\.0 MiB"):
        fail(tmp_path / "state.pt", error, bytes(3 * 2**20))
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert (tmp_path / "state.pt").read_text() == "old"


def test_a_disk_that_is_full_is_known_whatever_the_writer_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> Any:
        return type("Usage", (), {"free": 1000})

    monkeypatch.setattr(files.shutil, "disk_usage", full)
    with pytest.raises(ValueError, match="the disk is full, 0.0 MiB free"):
        fail(tmp_path / "a", RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"))


@pytest.mark.slow
def test_what_a_state_needs_is_said_where_a_file_may_not_grow(tmp_path: Path) -> None:
    """PyTorch's own writer says "unexpected pos" then; in a process of its own, for the limit stays."""
    script = """
import resource, signal, sys, torch
from pathlib import Path
from core.training.checkpoint import save_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    save_state(Path(sys.argv[1]), {"network": {"w": torch.zeros(2**20)}})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "state.pt"], capture_output=True, text=True)
    assert "state.pt can't be written: File too large, and it needs 4.0 MiB" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder_is_said(number: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"a\.json can't be written: {tmp_path} is read-only or not yours"):
        fail(tmp_path / "a.json", OSError(number, os.strerror(number), str(tmp_path / ".a.json.part")))


def test_a_file_where_a_folder_must_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(ValueError, match=rf"{folder} can't be written: {tmp_path / 'a'} is a file, not a folder"):
            files.make_folder(folder)


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    for error in (PermissionError(errno.EACCES, "Permission denied", "/elsewhere/image.png"), KeyError("a")):
        with pytest.raises(type(error)):
            fail(tmp_path / "a.json", error)
