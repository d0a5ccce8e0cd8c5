"""How operations are counted: the conventions of the papers, and ours where a paper prints none.

thop      of late 2019: multiply-adds of convolutions, with their biases, and 4 operations for each number that batch
          normalisation is given (DF-DAM)
ptflops   the same with 2 operations, and one for each number that a ReLU or a pooling is given (SANet)
products  multiply-adds of convolutions, without biases, and of the products of attentions (ours)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import core.networks.attention  # noqa: F401  defines torch.ops.core.attention

SIZE = (640, 320)
"""Of the input in DF-DAM's tables, in pixels."""

Rules = Callable[[nn.Module, Tensor, Tensor], int]
"""Operations of one call of a module, from it, what it was given and what it returned."""


@dataclass(frozen=True)
class Complexity:
    """Parameters in millions, multiply-adds in thousand millions."""

    parameters: float
    multiply_adds: float

    def printed(self) -> tuple[float, float]:
        """Return both as the paper prints them."""
        return round(self.parameters, 2), round(self.multiply_adds, 2)

    def deviation(self, reported: "Complexity") -> tuple[float, float]:
        """Return by how much both differ from reported ones, as fractions."""
        return self.parameters / reported.parameters - 1, self.multiply_adds / reported.multiply_adds - 1


def cost(module: nn.Module, given: Tensor, returned: Tensor) -> int:
    """Return the operations of one call of a module, as thop of late 2019 counts them.

    A convolution takes a multiply-add for each weight behind each number that it returns, and one more if it has a
    bias; a transposed one too, though it is the numbers given that meet every weight. Batch normalisation takes 4
    operations for each number, adaptive average pooling an addition. Activations, maximum pooling and interpolation
    are free.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        behind_each = module.in_channels // module.groups * math.prod(module.kernel_size)
        return returned.numel() * (behind_each + (module.bias is not None))
    if isinstance(module, nn.BatchNorm2d):
        return 4 * given.numel()
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return given.numel()
    return 0


def cost_by_ptflops(module: nn.Module, given: Tensor, returned: Tensor) -> int:
    """Return the operations of one call of a module, as the tool ptflops counts them.

    As `cost`, but batch normalisation takes 2 operations for each number, a ReLU 1, and pooling of every kind 1 for
    each number given.
    """
    if isinstance(module, nn.Conv2d):
        return cost(module, given, returned)
    if isinstance(module, nn.BatchNorm2d):
        return 2 * given.numel()
    if isinstance(module, nn.ReLU | nn.AvgPool2d | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
        return given.numel()
    return 0


def complexity(build: Callable[[], nn.Module], size: tuple[int, int] = SIZE, rules: Rules = cost) -> Complexity:
    """Count a network on one image of a size in pixels, without memory or arithmetic: on the meta device."""
    operations = 0

    def add(module: nn.Module, given: Any, returned: Any) -> None:
        nonlocal operations
        operations += rules(module, given[0], returned)

    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        for module in network.modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(add)
        network(torch.empty(1, 3, *size))
    return Complexity(parameters(network), operations / 1e9)


def products(build: Callable[[], nn.Module], size: tuple[int, int]) -> Complexity:
    """Count the multiply-adds of convolutions and of products, on one image of a size in pixels, on the meta device.

    The products of `core.networks.attention` are n m (d + c).

    Raises:
        RuntimeError: if what the network computes depends on the values of the image, as RANet's regions do.
    """

    def attention(Q: Any, K: Any, V: Any, *rest: Any, **more: Any) -> int:
        return 2 * Q[0] * Q[2] * K[2] * (Q[1] + V[1])

    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.core.attention: attention})
    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        with counter:
            network(torch.empty(1, 3, *size))
    return Complexity(parameters(network), counter.get_total_flops() / 2e9)


def parameters(network: nn.Module) -> float:
    """The parameters of a network, in millions."""
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6
