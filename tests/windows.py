"""A process that has what Windows has, and refuses what Windows refuses; then as `tiny_train.py`.

No fcntl, no SIGHUP, no fork; a lock is msvcrt's, which also keeps others from reading what is locked; a descriptor that
only reads can't be synchronised; what is open can't be removed, renamed or replaced; a file is never renamed onto
another. Its processes that load images are spawned, import this file, and so are likewise.
"""

import contextlib
import enum
import errno
import functools
import multiprocessing
import os
import signal
import sys
import types
from typing import Any

import tiny_train  # with all that it imports, whose own rules for Windows are not tried

OURS = ("core", "tiny", "tiny_train")


def opened(path: Any) -> bool:
    """Return True if this process has a file open."""
    real = os.path.realpath(path)
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # what another thread has closed since it was listed
            if os.readlink(f"/proc/self/fd/{number}") == real:
                return True
    return False


def refuse(path: Any) -> None:
    if opened(path):
        raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used", str(path))


def imitate() -> None:
    """Make this process like one of Windows."""
    import fcntl

    fsync, unlink, rename, replace = os.fsync, os.unlink, os.rename, os.replace

    def synchronise(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(descriptor)

    def remove(path: Any, **words: Any) -> None:
        refuse(path)
        unlink(path, **words)

    def move(old: Any, new: Any, over: bool) -> None:
        refuse(old)
        refuse(new)
        if os.path.exists(new) and not over:
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(new))
        (replace if over else rename)(old, new)

    def locking(descriptor: int, mode: int, number: int) -> None:
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, number, place)
        assert place > os.fstat(descriptor).st_size

    os.fsync, os.unlink, os.remove = synchronise, remove, remove  # type: ignore[assignment]
    os.rename, os.replace = functools.partial(move, over=False), functools.partial(move, over=True)
    windows: Any = types.ModuleType("msvcrt")
    windows.locking, windows.LK_NBLCK = locking, 2
    sys.modules.update({"msvcrt": windows, "fcntl": None})  # type: ignore[dict-item]
    names = ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM")
    signal.Signals = enum.IntEnum("Signals", {name: int(signal.Signals[name]) for name in names})  # type: ignore[misc]
    del signal.SIGHUP, signal.SIGKILL, signal.SIGQUIT  # torch's own processes need SIGCHLD here
    del os.sched_getaffinity
    os.process_cpu_count = os.cpu_count  # since Python 3.13; on Linux it asks what is deleted above
    multiprocessing.set_start_method("spawn", force=True)


def ours_again() -> None:
    """Import what is ours once more, as it would be on Windows."""
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    system, sys.platform = sys.platform, "win32"
    import core.training.loop  # noqa: F401

    sys.platform = system


imitate()
ours_again()

if __name__ == "__main__":
    import tiny_train

    tiny_train.main(sys.argv[1])
