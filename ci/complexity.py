"""Parameters and multiply-adds of DF-DAM, beside Tables 4 and 6 of its paper.

    python -m ci.complexity

The columns "Params" and "GFLOPs" are the only place where that paper says how large its layers are. What they count is
known from the rows of networks that are public: with the rules of `cost`, those of the tool thop as of late 2019,
PSPNet, DeepLab and FCN-8s come out as printed (tests/test_complexity.py). Auxiliary classifiers count.

The exit code is 1 if the form "budget" is not what the paper prints, or the form "text" is more than 0.25 % off.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from core.backbones import Backbone, BackboneName
from papers.dfdam.model import DFDAM, Architecture

SIZE = (640, 320)
TOLERANCE = 0.0025  # of the form "text"

Form = Literal["budget", "text"]
FORMS: tuple[Form, ...] = ("budget", "text")


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


@dataclass(frozen=True)
class Row:
    """A row "Ours" of the paper."""

    table: str
    backbone: BackboneName
    classes: int
    reported: Complexity


ROWS = (
    Row("Table 4", "resnet18", 19, Complexity(11.57, 10.31)),
    Row("Table 6", "resnet101", 21, Complexity(43.24, 35.52)),
)


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


def complexity(build: Callable[[], nn.Module], size: tuple[int, int] = SIZE) -> Complexity:
    """Count a network on one image of a size in pixels, without memory or arithmetic: on the meta device."""
    operations = 0

    def add(module: nn.Module, given: Any, returned: Any) -> None:
        nonlocal operations
        operations += cost(module, given[0], returned)

    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        for module in network.modules():
            if not any(True for _ in module.children()):
                module.register_forward_hook(add)
        network(torch.empty(1, 3, *size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Complexity(parameters / 1e6, operations / 1e9)


def ours(row: Row, form: Form) -> Complexity:
    """Count the DF-DAM of a row in one of its forms."""
    architecture = Architecture(Backbone(row.backbone, output_stride=32), dual_attention_fusion=form)
    return complexity(lambda: DFDAM(row.classes, architecture))


def meets(row: Row, form: Form) -> bool:
    """Whether the form "budget" is what the paper prints, or the form "text" within 0.25 % of it."""
    counted = ours(row, form)
    if form == "budget":
        return counted.printed() == row.reported.printed()
    return max(map(abs, counted.deviation(row.reported))) <= TOLERANCE


def line(row: Row, form: Form) -> str:
    """Return a line of the table that `main` prints."""
    counted, reported = ours(row, form), row.reported
    parameters, multiply_adds = counted.deviation(reported)
    return (
        f"{row.table}  {row.backbone:9}  {row.classes} classes  {form:6}  "
        f"{reported.parameters:7.2f} {counted.parameters:7.3f} {parameters:+7.2%}   "
        f"{reported.multiply_adds:7.2f} {counted.multiply_adds:7.3f} {multiply_adds:+7.2%}   "
        f"{'met' if meets(row, form) else 'NOT met'}"
    )


def main() -> int:
    """Print ours beside the paper's; return 1 if a target is missed."""
    sys.stdout.write(f"3 x {SIZE[0]} x {SIZE[1]}; parameters / 1e6 and multiply-adds / 1e9: paper, ours, difference\n")
    for row in ROWS:
        for form in FORMS:
            sys.stdout.write(line(row, form) + "\n")
    return 0 if all(meets(row, form) for row in ROWS for form in FORMS) else 1


if __name__ == "__main__":
    sys.exit(main())
