"""Parameters and multiply-adds of a network, as papers count them, and as we do where a paper prints nothing.

    thop      of late 2019: multiply-adds of convolutions, with their biases, and 4 operations for each number that
              batch normalisation is given
    ptflops   the same with 2 operations, and one for each number that a ReLU or a pooling is given
    products  multiply-adds of convolutions, without biases, and of the products of attentions (ours)

Networks are counted on the meta device: without memory or arithmetic.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import core.networks.attention  # noqa: F401  defines torch.ops.core.attention

Build = Callable[[], nn.Module]


@dataclass(frozen=True)
class Complexity:
    """Parameters in millions, and multiply-adds in billions; NaN if the values of the image decide them."""

    parameters: float
    multiply_adds: float


@dataclass(frozen=True)
class Convention:
    """How a paper counts, and the size of its image in pixels, height and width."""

    rules: Literal["thop", "ptflops", "products"]
    size: tuple[int, int]

    def count(self, build: Build) -> Complexity:
        """Count a network; its multiply-adds are NaN if the values of the image decide them, as RANet's regions do."""
        try:
            return products(build, self.size) if self.rules == "products" else layers(build, self.size, self.rules)
        except RuntimeError as error:
            if "meta tensor" not in str(error):
                raise
            with torch.device("meta"):
                return Complexity(parameters(build()), math.nan)


@dataclass(frozen=True)
class Printed:
    """A number that a paper prints of a network, beside ours.

    Attributes:
        place: the table and the row.
        text: the number with its unit, as printed: "11.57 M", "10.31 G".
        ours: in that unit.
        tolerance: the most that ours may differ, as a fraction; 0: it must round to the printed digits; None: it is
            printed for information.
        how: what was counted.
    """

    place: str
    text: str
    ours: float
    tolerance: float | None
    how: str

    @property
    def deviation(self) -> float:
        """By how much ours differs, as a fraction."""
        return self.ours / float(self.text.split()[0]) - 1

    @property
    def met(self) -> bool | None:
        """Return True if ours is within the tolerance; None without one."""
        if self.tolerance is None:
            return None
        digits = self.text.split()[0]
        if self.tolerance == 0:
            return f"{self.ours:.{len(digits.partition('.')[2])}f}" == digits
        return abs(self.deviation) <= self.tolerance

    def __str__(self) -> str:
        """The line that `python -m ci.complexity` prints."""
        verdict = {None: "", True: "  met", False: "  NOT met"}[self.met]
        return f"{self.place:42} {self.text:>9}  {self.ours:9.3f} {self.deviation:+8.2%}{verdict}  {self.how}"


def printed(
    place: str, texts: tuple[str, str], counted: Complexity, tolerance: float | None, how: str
) -> list[Printed]:
    """Both numbers of a network, in millions and in billions."""
    ours = counted.parameters, counted.multiply_adds
    return [Printed(place, text, value, tolerance, how) for text, value in zip(texts, ours, strict=True)]


def layers(build: Build, size: tuple[int, int], rules: Literal["thop", "ptflops"]) -> Complexity:
    """Count what a network's layers do with one image of a size."""
    operations = 0
    cost = {"thop": thop, "ptflops": ptflops}[rules]

    def add(module: nn.Module, given: Any, returned: Any) -> None:
        nonlocal operations
        operations += cost(module, given[0], returned)

    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        for module in network.modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(add)
        network(torch.empty(1, 3, *size))
    return Complexity(parameters(network), operations / 1e9)


def thop(module: nn.Module, given: Tensor, returned: Tensor) -> int:
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


def ptflops(module: nn.Module, given: Tensor, returned: Tensor) -> int:
    """Return the operations of one call of a module, as the tool ptflops counts them.

    As `thop`, but batch normalisation takes 2 operations for each number, a ReLU 1, and pooling of every kind 1 for
    each number given.
    """
    if isinstance(module, nn.Conv2d):
        return thop(module, given, returned)
    if isinstance(module, nn.BatchNorm2d):
        return 2 * given.numel()
    if isinstance(module, nn.ReLU | nn.AvgPool2d | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
        return given.numel()
    return 0


def products(build: Build, size: tuple[int, int]) -> Complexity:
    """Count the multiply-adds of convolutions and of products, on one image of a size.

    The products of `core.networks.attention` are n m (d + c).

    Raises:
        RuntimeError: if what the network computes depends on the values of the image.
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
