"""Where a number comes from: the commit, the computer and the date that stand beside it."""

import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch


def hardware() -> str:
    """This computer in words, for the record beside a measured number."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'threads' if threads > 1 else 'thread'}, {platform.machine()}"


def processor() -> str:
    """The model of the CPU as the system names it, or else its kind."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def today() -> str:
    """The date in UTC, year first."""
    return datetime.now(UTC).date().isoformat()


def now() -> str:
    """The time in UTC to the second."""
    return datetime.now(UTC).isoformat(sep=" ", timespec="seconds")


def commit(besides: Sequence[str] = ()) -> str:
    """The commit of this source tree, "+" appended if it was changed besides these paths, or "unknown" outside git."""
    here = Path(__file__).parent.parent
    looked_at = [".", *(f":(exclude){path}" for path in besides)]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no", "--", *looked_at) else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
