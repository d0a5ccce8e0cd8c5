"""Files written in one piece: a kill at any moment leaves the old file or the new one, never half."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it onto `path` when the writing has ended well."""
    aside = path.with_name(f".{path.name}.part")
    yield aside
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, path)


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
