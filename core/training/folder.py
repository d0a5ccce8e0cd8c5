"""The folder of a run: how it is called, what lies in it, and the lock that keeps a second process out."""

import fcntl
import hashlib
import json
import os
import platform
import weakref
from pathlib import Path
from typing import IO, Any

from core import provenance
from core.recipe import Recipe, Run
from core.values import differences

STATE = "state.pt"
PREVIOUS = "state.previous.pt"
SCORE = "score.json"
METRICS = "metrics.jsonl"
COMMAND = "run.json"
BEST = "best"
LOCK = ".lock"


def place(recipe: Recipe[Any], run: Run, published: Recipe[Any], weights: str) -> Path:
    """The folder of a run: `--name`, or the row's name if nothing was changed, or a name that says what was.

    Another data set gives `ROW-on-DATASET-123abc`, another change `ROW-changed-123abc`; the digits are those of the
    changes, so each change has a folder of its own. `weights` says whose ImageNet weights it begins with.
    """
    if run.name is not None:
        return run.to / run.name
    changed = differences(published, recipe)
    if weights != recipe.backbone_weights:
        changed["backbone_weights"] = (recipe.backbone_weights, weights)
    if not changed:
        return run.to / recipe.name
    digits = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6]
    data = recipe.data.name.replace(":", "-").replace("/", "-")
    word = "changed" if recipe.data.name == published.data.name else f"on-{data}"
    return run.to / f"{recipe.name}-{word}-{digits}"


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder without a state that holds more than a run leaves that was stopped before its first one.

    Raises:
        ValueError: if there is anything else.
    """
    visible = [path.name for path in folder.iterdir() if path.name != LOCK and path.suffix != ".part"]
    begun = METRICS in visible and SCORE not in visible
    if visible and not begun and visible != [COMMAND]:
        raise ValueError(
            f"{folder} holds files but no {STATE} to go on from; pass --restart to rename it and start over, or "
            "another --name or --to"
        )


def set_aside(folder: Path) -> None:
    """Rename a folder to the first free one of NAME.1, NAME.2, ..."""
    number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}.{n}").exists())
    folder.rename(folder.with_name(f"{folder.name}.{number}"))


class Lock:
    """Keeps a second process out of a folder.

    The operating system holds it for this process and ends it with the process, however that ends, so a file that a
    crash has left locks nothing. Forked processes that load images don't share it. `with lock:` releases it at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._release: weakref.finalize[Any, Any] | None = None

    def take(self) -> None:
        """Make the folder if need be, and lock it.

        Raises:
            ValueError: naming the process that has it.
        """
        created = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / LOCK
        while True:
            file = path.open("a+", encoding="utf-8")
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                file.close()
                raise ValueError(
                    f"{self.folder} belongs to a run that is going on ({holder}); wait for it, stop it, or choose "
                    "another --name or --to"
                ) from error
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
            file.close()  # its holder has just removed it
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}, since {provenance.now()}\n")
        file.flush()
        self._release = weakref.finalize(self, _release, file, path, os.getpid(), created)

    def release(self) -> None:
        """Let others in; folders that were made for it and are empty are removed. Does nothing if it is not held."""
        if self._release is not None:
            self._release()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _release(file: IO[str], path: Path, process: int, created: list[Path]) -> None:
    if os.getpid() == process:
        path.unlink(missing_ok=True)
        for folder in created:
            if any(folder.iterdir()):
                break
            folder.rmdir()
    file.close()
