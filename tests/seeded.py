"""Weights and pictures that anyone can draw again: each tensor comes from its own name, by numpy's generator alone."""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

RESIDUAL_SCALARS = {"alpha", "beta", "gamma"}  # what multiplies an attention's context, by several authors' names


def weight(key: str, shape: Sequence[int]) -> Tensor:
    """Return the tensor of one entry of a state dict.

    A convolution keeps the variance of its input, a BatchNorm is close to the identity without being it, and the
    scalars that start at zero are 0.7, so that an attention counts.
    """
    if key.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    numbers = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(tuple(shape)).astype(np.float32)
    *_, leaf = names = key.split(".")
    if leaf == "running_var":
        numbers = 1 + 0.1 * np.abs(numbers)
    elif RESIDUAL_SCALARS & set(names):
        numbers = np.full_like(numbers, 0.7)
    elif leaf in ("running_mean", "bias"):
        numbers = 0.1 * numbers
    elif len(shape) == 1:
        numbers = 1 + 0.1 * numbers
    else:
        numbers = numbers * np.float32(math.sqrt(1 / math.prod(shape[1:])))
    return torch.tensor(numbers, dtype=torch.float32).reshape(tuple(shape))


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return a state dict for these names and shapes."""
    return {key: weight(key, shape) for key, shape in shapes.items()}


def drawn(module: Module) -> Module:
    """Give a module float64 weights drawn from their names, and put it into eval mode."""
    module.load_state_dict(weights({key: tuple(value.shape) for key, value in module.state_dict().items()}))
    return module.double().eval()


def parameters(module: nn.Module | None) -> int:
    """Return how many numbers a module learns."""
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return independent numbers of variance 1."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def image(height: int, width: int) -> Tensor:
    """Return a batch of one picture of noise, b c h w."""
    return noise(1, 3, height, width)
