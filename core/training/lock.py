"""The lock that keeps a second process out of a run folder."""

import errno
import os
import platform
import sys
import weakref
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from core import provenance
from core.files import make_folder, said_if_unwritable

LOCK = ".lock"

if sys.platform == "win32":
    import msvcrt

    FAR = 2**30
    """The byte that is locked lies behind the text: there, nobody else can read what is locked."""

    def hold(file: FileIO) -> None:
        """Lock a file for this process, or raise OSError if another one has it."""
        file.seek(FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def remove(file: FileIO, path: Path) -> None:
        """Unlock and remove a file; an open one can't be removed there, so that of who has just taken it stays."""
        file.close()
        with suppress(PermissionError):
            path.unlink(missing_ok=True)

else:
    import fcntl

    def hold(file: FileIO) -> None:
        """Lock a file for this process, or raise OSError if another one has it."""
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(file: FileIO, path: Path) -> None:
        """Remove and unlock a file, in this order: nobody may take what is about to go."""
        path.unlink(missing_ok=True)
        file.close()


class Lock:
    """Keeps a second process out of a folder.

    The operating system holds it for this process and ends it with the process, however that ends, so a file that a
    crash has left locks nothing. Processes that load images don't share it. `with lock:` releases it at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._release: weakref.finalize[Any, Any] | None = None

    def take(self) -> None:
        """Make the folder if need be, and lock it.

        Raises:
            ValueError: naming the process that has it, or if it can't be made or locked.
        """
        created = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        path = self.folder / LOCK
        while True:
            make_folder(self.folder)
            with said_if_unwritable(path):
                file = FileIO(os.fspath(path), "a+")
            try:
                hold(file)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                    file.close()
                    raise ValueError(
                        f"{self.folder} lies where files can't be locked ({error.strerror}), so nothing would keep a "
                        "second run out; choose another --to"
                    ) from error
                file.seek(0)
                holder = file.readall().decode("utf-8", "replace").strip() or "unknown"
                file.close()
                raise ValueError(
                    f"{self.folder} belongs to a run that is going on ({holder}); wait for it, stop it, or choose "
                    "another --name or --to"
                ) from error
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
            file.close()  # its holder has just removed it
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}, since {provenance.now()}\n".encode())
        self._release = weakref.finalize(self, _release, file, path, os.getpid(), created)

    def release(self) -> None:
        """Let others in; folders that were made for it and are empty are removed. Does nothing if it is not held."""
        if self._release is not None:
            self._release()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _release(file: FileIO, path: Path, process: int, created: list[Path]) -> None:
    if os.getpid() != process:
        file.close()
        return
    remove(file, path)
    for folder in created:
        if any(folder.iterdir()):
            break
        folder.rmdir()
