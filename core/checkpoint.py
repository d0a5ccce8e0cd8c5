"""What a run leaves on disk, written so that a kill at any moment leaves the old file or the new one, never half."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".pth.tar")
"""The endings of files of weights."""

_NUMBER: Any = np.float64().__reduce__()[0]
_NUMBERS: list[Any] = [_NUMBER, (_NUMBER, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType]
"""What a pickle needs to hold a number of numpy's, such as the best score of a training script: plain values."""

Shape = tuple[int, ...]


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


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values as one file."""
    with written_aside(path) as aside:
        torch.save(dict(state), aside)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, on the CPU; nothing in it is executed.

    Raises:
        ValueError: if the file is damaged or not of this kind.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no kinds, and its own text advises to execute what the file holds
        raise ValueError(
            f"{path} can't be read: it is damaged, or holds more than tensors and plain values, which is not executed; "
            "remove it to begin anew, or fetch it again"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(
            f"{path} can't be read: it holds a {type(state).__name__}, not a dict; remove it to begin anew"
        )
    return state


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of weights (`WEIGHTS`) by name, on the CPU; nothing in it is executed.

    A state dict may stand under "state_dict" or "model", and its names under "module.", as training scripts leave it.

    Raises:
        ValueError: if the file is of another kind, damaged, cut off, or holds more than tensors.
        FileNotFoundError: if there is no such file.
    """
    if not path.name.endswith(WEIGHTS):
        raise ValueError(f"weights are a {', '.join(WEIGHTS[:-1])} or {WEIGHTS[-1]} file, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of weights {path}")
    content: Any
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        else:
            with torch.serialization.safe_globals(_NUMBERS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # neither library names its kinds, and torch's text advises to execute the file
        raise ValueError(
            f"{path} is damaged, cut off, or holds more than tensors, which could run code and is not loaded; fetch it "
            "again, or save its state dict alone, best as .safetensors"
        ) from error
    for wrapping in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapping), dict):
            content = content[wrapping]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} is not a state dict: a dict of tensors, alone or under 'state_dict' or 'model'")
    return {key.removeprefix("module."): value for key, value in content.items()}


def read_shapes(path: Path) -> dict[str, Shape]:
    """Read the shape of each tensor of a .safetensors file, and not the tensors.

    Raises:
        ValueError: if the file is damaged or cut off.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own kind is no OSError, and a file of another kind gives others
        raise ValueError(f"{path} is damaged or cut off ({error}); fetch it again") from error


def refuse_misfits(fits: str, expected: Mapping[str, Shape], given: Mapping[str, Shape]) -> None:
    """Refuse a state dict whose names or shapes are not the expected ones; `fits` is the clause "A does not fit B".

    Raises:
        ValueError: listing the names that are missing, unexpected, and of another shape.
    """
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    misshaped = [
        f"{name} {given[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    if missing or unexpected or misshaped:
        raise ValueError(
            f"{fits}; missing: {listed(missing)}; unexpected: {listed(unexpected)}; of another shape: "
            f"{listed(misshaped)}"
        )


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def listed(names: Iterable[str], most: int = 8) -> str:
    """The names in one line, cut after `most` of them."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + rest) or "none"


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
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that were written whole: a kill may have cut the last one."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
