"""Files of weights: tensors by name, read without executing anything, and compared before they are loaded."""

import warnings
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from core.errors import listed, require
from core.images.classes import IGNORE
from core.networks.segmenter import Segmenter

WEIGHT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".pth.tar")
"""The endings of files of weights."""

COUNTER = "num_batches_tracked"
"""The end of the names of BatchNorm's counters: no result depends on them, and old files lack them."""

VARIANCE = "running_var"
"""The end of the names of BatchNorm's variances, which are never negative."""

_SCALAR: Any = np.float64().__reduce__()[0]
_KINDS = {np.dtype(code) for code in np.typecodes["AllInteger"] + "efd?"}
_NUMBERS: list[Any] = [_SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"), np.dtype, *{type(kind) for kind in _KINDS}]
"""What a pickle needs to hold a number of numpy's, such as the best score of a training script: plain values."""

Shape = tuple[int, ...]


def read_weights(path: Path, words: Iterable[str] = ()) -> dict[str, Tensor]:
    """Read the tensors of a file of weights (`WEIGHT_ENDINGS`) by name, on the CPU; nothing in it is executed.

    A state dict may stand under "state_dict" or "model", and its names have what PyTorch's wrappers put before them:
    "module." of parallel training and "_orig_mod." of the compiler. Both are left out.

    Args:
        path: the file.
        words: what else the caller takes in place of a file, for the error.

    Raises:
        ValueError: if the file is of another kind, damaged, cut off, or holds more than plain tensors.
        FileNotFoundError: if there is no such file.
    """
    if not path.name.endswith(WEIGHT_ENDINGS):
        others = "".join(f"{word!r}, " for word in words)
        kinds = f"a {', '.join(WEIGHT_ENDINGS[:-1])} or {WEIGHT_ENDINGS[-1]} file"
        raise ValueError(f"weights are {' or '.join(filter(None, (others[:-2], kinds)))}, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of weights {path}")
    content: Any
    try:
        if path.suffix == ".safetensors":
            content = safetensors.torch.load_file(path)
        else:
            with torch.serialization.safe_globals(_NUMBERS), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of sparse tensors, which are refused below
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
    return _plain(path, content)


def _plain(path: Path, content: Mapping[Any, Tensor]) -> dict[str, Tensor]:
    """The tensors by names without wrappings.

    Raises:
        ValueError: if a name is no text, two become one, or a tensor has no dense numbers of its own.
    """
    numbers = [repr(name) for name in content if not isinstance(name, str)]
    require(not numbers, f"{path} has names that are no text: {listed(numbers)}; save a state dict with its names")
    sparse = [name for name, value in content.items() if value.layout != torch.strided or value.is_quantized]
    require(not sparse, f"{path} holds sparse or quantised tensors: {listed(sparse)}; save them dense, as floats")
    empty = [name for name, value in content.items() if value.is_meta]
    require(not empty, f"{path} holds tensors without numbers, of the meta device: {listed(empty)}; save the weights")
    tensors = {unwrapped(name): value for name, value in content.items()}
    require(len(tensors) == len(content), f"{path} has names that differ in 'module.' or '_orig_mod.' only; keep one")
    return tensors


def unwrapped(name: str) -> str:
    """The name of a weight without "_orig_mod." anywhere and "module." at its beginning."""
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


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


def refuse_unsound(where: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights with which no network computes anything.

    Raises:
        ValueError: naming the weights that are no floating-point numbers, not finite, or negative variances.
    """
    weights = {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}
    strange = [f"{name} ({value.dtype})" for name, value in weights.items() if not value.is_floating_point()]
    require(not strange, f"{where} holds weights of other kinds than floating-point numbers: {listed(strange)}")
    infinite = [name for name, value in weights.items() if not value.float().isfinite().all()]
    require(not infinite, f"{where} holds numbers that are not finite, in {listed(infinite)}; fetch or train it again")
    negative = [name for name, value in weights.items() if name.endswith(VARIANCE) and (value.float() < 0).any()]
    require(not negative, f"{where} holds negative variances, in {listed(negative)}; fetch or train it again")


def refuse_shared(where: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that share their memory or repeat a part of it: written, they would be others.

    Raises:
        ValueError: naming them.
    """
    expanded = [name for name, value in tensors.items() if 0 in value.stride() and value.numel() > 1]
    require(not expanded, f"{where} holds expanded tensors: {listed(expanded)}; save them with .contiguous()")
    order = {name: number for number, name in enumerate(tensors)}
    places = sorted((*_place(value), name) for name, value in tensors.items() if value.numel() and not value.is_meta)
    for (start, end, one), (next_start, next_end, other) in pairwise(places):
        first, second = sorted((one, other), key=order.__getitem__)
        same = (start, end) == (next_start, next_end)
        what = f"one tensor as {first} and as {second}" if same else f"{first} and {second} in memory that overlaps"
        require(end <= next_start, f"{where} holds {what}; save each with .clone()")


def _place(value: Tensor) -> tuple[int, int]:
    """Where in memory a tensor begins and ends."""
    last = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
    return value.data_ptr(), value.data_ptr() + (last + 1) * value.element_size()


def stored_bytes(tensors: Mapping[str, Tensor]) -> int:
    """The bytes that the tensors take in a file, beside its header."""
    return sum(tensor.nbytes for tensor in tensors.values())


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def load_matching(network: Segmenter, state: Mapping[str, Tensor], other_classes: bool = False) -> tuple[str, ...]:
    """Load weights, in place; classifiers of another number of classes are left out, by name, and stay as they are.

    Args:
        network: what takes the weights.
        state: the weights by name.
        other_classes: leave the classifiers out also where their number is the network's.

    Returns:
        The names that were left out; empty if the classes are the network's.

    Raises:
        ValueError: if anything else is missing, unexpected or of another shape; all of it is listed.
    """
    expected, given = shapes(network.state_dict()), shapes(state)
    with torch.device("meta"):
        other = shapes(type(network)(network.num_classes % IGNORE + 1, network.architecture).state_dict())
    classifiers = [name for name in expected if other[name] != expected[name]]
    foreign = other_classes or all(name in given and given[name] != expected[name] for name in classifiers)
    dropped = tuple(classifiers) if foreign else ()
    kept = {name: value for name, value in state.items() if name not in dropped}
    wanted = {name: shape for name, shape in expected.items() if name not in dropped}
    refuse_misfits(f"the weights do not fit the {type(network).__name__}", wanted, shapes(kept))
    network.load_state_dict(kept, strict=not dropped)
    return dropped
