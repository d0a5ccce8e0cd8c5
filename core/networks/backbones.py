"""Backbones: a photograph becomes four maps of features, C1 to C4, from fine to coarse.

The networks are timm's. At output stride 8 a ResNet keeps its last two stages at an eighth of the image and dilates
their 3x3 convolutions instead; as in torchvision, the first block of a dilated stage keeps the dilation of the stage
before it (layer3: 1, 2, 2, ...; layer4: 2, 4, 4), and a Bottleneck strides in its 3x3 convolution. With equal weights
C1 to C4 equal those of torchvision's dilated ResNets bit for bit.

    image    b 3 h w            RGB, or `in_channels` others, normalised with `normalisation(backbone)`
    C1..C4   b c h/s w/s        c and s: `Features.channels` and `Features.strides`; sizes are rounded up

What timm's networks are, and which public weights fit them, says `core.networks.known`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import timm
from torch import nn

from core.errors import require, unknown
from core.networks.features import Features, features_of
from core.networks.known import LEVELS, PerChannel, described
from core.values import Rare

Stem = Literal["plain", "deep32", "deep64"]


STEMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep32": {"stem_type": "deep", "stem_width": 32},
    "deep64": {"stem_type": "deep", "stem_width": 64},
}


@dataclass(frozen=True)
class Backbone:
    """Which feature extractor: part of an architecture, so that a recipe is JSON.

    Raises:
        ValueError: if no such network can be built.
    """

    name: str = "resnet101"
    """resnet18, resnet34, resnet50, resnet101, ..., or any other network of timm."""
    stem: Rare[Stem] = "plain"
    """The first convolutions: one 7x7 to 64 channels, or three 3x3 to 32-32-64 or 64-64-128."""
    output_stride: Rare[int] = 8
    """Size of the image over the size of C4: 8, 16 or 32."""
    multi_grid: Rare[tuple[int, ...] | None] = None
    """Dilations of the last stage's blocks, not factors: (4, 8, 16) in DANet."""
    in_channels: int = 3
    """Of the image; with another number than 3, RGB's weights are folded into it as timm does."""

    def __post_init__(self) -> None:
        network = described(self.name)
        require(1 <= self.in_channels <= 255, f"in_channels must be 1 to 255, got {self.in_channels}")
        if self.stem not in network.stems:
            raise ValueError(unknown(f"{self.name} with the stem", self.stem, network.stems))
        if self.output_stride not in network.output_strides:
            strides = ", ".join(map(str, network.strides))
            fixed = "" if len(network.output_strides) > 1 else f", and it can't be dilated; pass {network.strides[-1]}"
            wrong = unknown(f"{self.name} at output stride", self.output_stride, network.output_strides)
            raise ValueError(f"{wrong}: its maps have the strides {strides}{fixed}")
        if self.multi_grid is None:
            return

        object.__setattr__(self, "multi_grid", tuple(self.multi_grid))  # JSON has lists
        blocks = network.last_blocks
        if blocks == 0 or self.output_stride == 32:
            raise ValueError(
                f"multi-grid {self.multi_grid} needs a ResNet whose last stage is dilated, got {self.name} at output "
                f"stride {self.output_stride}; set output_stride to 8 or 16, or multi_grid to None"
            )
        if len(self.multi_grid) != blocks or min(self.multi_grid) < 1:
            raise ValueError(
                f"multi-grid for {self.name} needs {blocks} dilations of at least 1, one for each block of its last "
                f"stage, got {self.multi_grid}; pass {blocks} or set multi_grid to None"
            )


def build(backbone: Backbone) -> Features:
    """Build the feature extractor with random weights.

    timm starts the last BatchNorm of each residual block at zero, so that an untrained block is its own shortcut:
    dilation changes nothing yet, and the convolutions beside the shortcut receive no gradient in the first step.
    """
    network = described(backbone.name)
    arguments = {**network.arguments, **STEMS[backbone.stem], "in_chans": backbone.in_channels}
    if backbone.output_stride != network.strides[-1]:
        arguments["output_stride"] = backbone.output_stride
    body = timm.create_model(network.timm_name, features_only=True, out_indices=LEVELS, **arguments)
    if backbone.multi_grid is not None:
        _dilate(body.get_submodule("layer4"), backbone.multi_grid)
    return features_of(body, network.multiple)


def normalisation(backbone: Backbone) -> tuple[PerChannel, PerChannel]:
    """Return mean and standard deviation of each channel, in 0..1, that the public weights were trained with.

    Of one channel, the mean of those of RGB, whose weights are added up; more repeat RGB's, as their weights do.
    """
    network = described(backbone.name)
    if backbone.in_channels == 1:
        return (sum(network.mean) / 3,), (sum(network.std) / 3,)
    colours = [number % 3 for number in range(backbone.in_channels)]
    return tuple(network.mean[colour] for colour in colours), tuple(network.std[colour] for colour in colours)


def _dilate(stage: nn.Module, rates: tuple[int, ...]) -> None:
    """Give all 3x3 convolutions of each block one dilation: conv2 of a Bottleneck, both of a BasicBlock."""
    for block, rate in zip(stage.children(), rates, strict=True):
        for convolution in block.children():
            if isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
                convolution.dilation = convolution.padding = (rate, rate)
