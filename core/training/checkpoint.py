"""What a run leaves on disk beside its weights: its state and its metrics."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.files import said_if_unwritable, written_aside


def save_state(path: Path, state: Mapping[str, Any], previous: Path | None = None) -> None:
    """Write tensors and plain values as one file; the one that it replaces is kept as `previous`.

    A kill at any moment leaves a whole file under one of the two names.
    """
    with written_aside(path, sum(value.nbytes for _, value in _tensors(state))) as aside:
        with aside.open("wb") as file:  # its own errors say what is wrong with the disk, PyTorch's do not
            torch.save(dict(state), file)
        if previous is not None and path.exists():
            os.replace(path, previous)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, on the CPU; nothing in it is executed.

    Raises:
        ValueError: if the file is damaged, which its checksums tell, not of this kind, or holds a number that is not
            finite.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a checksum differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no kinds, and its own text advises to execute what the file holds
        raise ValueError(
            f"{path} can't be read: it is damaged, or holds more than tensors and plain values, which is not executed; "
            "remove it to start over, or copy it again"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"{path} can't be read: it holds a {type(state).__name__}, not a dict; remove it to start over"
        )
    broken = not_finite(state)
    if broken:
        raise ValueError(f"{path} holds numbers that are not finite ({broken}); remove it to start over")
    return state


def not_finite(state: Any) -> str:
    """Name the first tensor that holds a number that is not finite, and how many more do; "" if all are finite."""
    broken = [name for name, value in _tensors(state) if value.is_floating_point() and not value.isfinite().all()]
    return "" if not broken else broken[0] + (f" and {len(broken) - 1} more" if len(broken) > 1 else "")


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from _tensors(item, f"{name}.{key}")


class Metrics:
    """The lines of `metrics.jsonl`; those after the step from which a run goes on, and its test, are dropped.

    Only one process should be `writing`; in the others this does nothing.
    """

    def __init__(self, path: Path, step: int, writing: bool = True) -> None:
        self.path, self.writing, self.lines = path, writing, list[dict[str, Any]]()
        if not writing:
            return
        self.lines = [line for line in _whole_lines(path) if line["step"] <= step and "test" not in line]
        with written_aside(path) as aside:
            aside.write_text("".join(json.dumps(line) + "\n" for line in self.lines), encoding="utf-8")

    def add(self, **line: Any) -> None:
        """Append a line, if this process is the one that writes."""
        if not self.writing:
            return
        self.lines.append(line)
        with said_if_unwritable(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that were written whole: a kill may have cut the last one."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(line, dict) or "step" not in line:
            break
        lines.append(line)
    return lines
