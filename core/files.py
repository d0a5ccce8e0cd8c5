"""Files written in one piece: a kill at any moment leaves the old file or the new one, never half.

Files are synchronised through a descriptor that may write, as Windows demands.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import require

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a full disk, a used-up quota, and a limit of the size of a file."""


@contextmanager
def written_aside(path: Path, needed: int = 0) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it onto `path` when the writing has ended well.

    `needed` is how many bytes it takes, where that is known before.

    Raises:
        ValueError: naming the file and what is left on the disk, if it is full or the folder can't be written to.
    """
    aside = path.with_name(f".{path.name}.part")
    with said_if_unwritable(path, needed):
        yield aside
        synchronise(aside)
        os.replace(aside, path)


def make_folder(path: Path) -> None:
    """Make a folder, and those that it lies in.

    Raises:
        ValueError: if a file lies in its place, or nothing may be written there.
    """
    with said_if_unwritable(path):
        path.mkdir(parents=True, exist_ok=True)


PICTURES = (".png", ".jpg", ".pdf")
"""Endings of the files that figures are written to."""


def refuse_no_picture(path: Path, option: str = "--to") -> None:
    """Refuse a file whose name says no format of pictures, before one is made.

    Raises:
        ValueError: naming the option and the endings that there are.
    """
    require(path.suffix.lower() in PICTURES, f"{option} must end in {', '.join(PICTURES)}, got {str(path)!r}")


def synchronise(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def said_if_unwritable(path: Path, needed: int = 0) -> Iterator[None]:
    """Say which file could not be written, and why, where the system does not.

    Raises:
        ValueError: if the disk is full, or the folder is read-only, closed to this user, or a file.
    """
    try:
        yield
    except Exception as error:  # writers wrap the system's error in their own
        blocking = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
        if blocking is not None and isinstance(error, FileExistsError | NotADirectoryError):
            raise ValueError(f"{path} can't be written: {blocking} is a file, not a folder; choose another") from error
        folder = next(folder for folder in path.absolute().parents if folder.is_dir())
        found = _system_error(error, folder)
        if found is None:
            raise
        if found in FULL:
            part = path.with_name(f".{path.name}.part")
            written = part.stat().st_size if part.is_file() else 0
            part.unlink(missing_ok=True)
            free = shutil.disk_usage(folder).free
            full = f"the disk is full, {free / 2**20:.1f} MiB free" if found == errno.ENOSPC else os.strerror(found)
            takes = f"{needed / 2**20:.1f} MiB" if needed else f"more than {written / 2**20:.1f} MiB"
            raise ValueError(
                f"{path} can't be written: {full}, and it needs {takes}; free some, or choose another folder"
            ) from error
        raise ValueError(
            f"{path} can't be written: {folder} is read-only or not yours; change its permissions, or choose another "
            "folder"
        ) from error


def _system_error(error: BaseException | None, folder: Path) -> int | None:
    """The number of the system's error for a full or closed disk, also where a writer gives its text only."""
    if shutil.disk_usage(folder).free < 2**20:
        return errno.ENOSPC
    while error is not None:
        if isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS):
            return error.errno
        if isinstance(error, PermissionError) and error.filename and Path(error.filename).absolute().parent == folder:
            return error.errno
        for number in (*FULL, errno.EROFS):
            if os.strerror(number) in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON in one piece."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the hash by which a file is known."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read JSON; None if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
