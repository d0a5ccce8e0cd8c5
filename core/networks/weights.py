"""Files of weights: tensors by name, read without executing anything, and compared before they are loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from core.errors import listed

WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".pth.tar")
"""The endings of files of weights."""


_NUMBER: Any = np.float64().__reduce__()[0]


_NUMBERS: list[Any] = [_NUMBER, (_NUMBER, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Float64DType]
"""What a pickle needs to hold a number of numpy's, such as the best score of a training script: plain values."""


Shape = tuple[int, ...]


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
