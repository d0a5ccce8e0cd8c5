"""Backbones: a photograph becomes four maps of features, C1 to C4, from fine to coarse.

The networks are timm's. At output stride 8 a ResNet keeps its last two stages at an eighth of the image and dilates
their 3x3 convolutions instead; as in torchvision, the first block of a dilated stage keeps the dilation of the stage
before it (layer3: 1, 2, 2, ...; layer4: 2, 4, 4), and a Bottleneck strides in its 3x3 convolution. With equal weights
C1 to C4 equal those of torchvision's dilated ResNets bit for bit.

    image    b 3 h w            RGB, or `in_channels` others, normalised with `normalisation(backbone)`
    C1..C4   b c h/s w/s        c and s: `Features.channels` and `Features.strides`; sizes are rounded up

The papers' networks and their weights are the rows of `NETWORKS`. Of any other network of timm that gives four maps
(`timm.list_models()`, such as convnext_tiny or resnet18d), everything is as timm says: weights, normalisation, strides
and channels; what it can't do is found out by building it without memory (`described`).

Public ImageNet weights: `.tv_in1k` on the Hugging Face Hub is torchvision's first generation, what "pretrained" meant
in 2019 (BSD-3-Clause); `.gluon_in1k` is GluonCV's, with deep stems (Apache-2.0);
`.aa_in1k` is EfficientNet's own of 2019, trained with AutoAugment (Apache-2.0).
"""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import timm
import torch
from jaxtyping import Float
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from core.errors import require, unknown
from core.networks import recompute
from core.values import Rare

Stem = Literal["plain", "deep32", "deep64"]
Colour = tuple[float, ...]


@dataclass(frozen=True)
class TimmNetwork:
    """How timm builds the network of one name, what may be asked of it, and which public weights fit it."""

    timm_name: str
    last_blocks: int  # blocks in the last stage, each with a dilation of its own under multi-grid; 0: not a ResNet
    arguments: Mapping[str, Any] = field(default_factory=dict)  # for timm.create_model
    hub: Mapping[str, str] = field(default_factory=dict)  # stem -> ImageNet weights, below timm/
    stems: tuple[str, ...] = ("plain", "deep32", "deep64")
    output_strides: tuple[int, ...] = (8, 16, 32)
    classifier: tuple[str, ...] = ("fc.", "classifier.")  # prefixes of a paper's network's keys that features lack
    multiple: int = 1  # sides of the image must be divisible by it: smaller ones are padded
    mean: Colour = IMAGENET_DEFAULT_MEAN
    std: Colour = IMAGENET_DEFAULT_STD
    strides: tuple[int, ...] = (4, 8, 16, 32)  # of its maps, undilated


NETWORKS: dict[str, TimmNetwork] = {
    "resnet10_tiny": TimmNetwork(  # ours, for demonstrations and tests; its stem is its own: 8-8-16
        timm_name="resnet18",
        last_blocks=1,
        arguments={"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 96), "stem_type": "deep", "stem_width": 8},
        stems=("plain",),
    ),
    "resnet16_tiny": TimmNetwork(  # ours, for the networks that come with the repository; its stem is its own: 12-12-24
        timm_name="resnet18",
        last_blocks=1,
        arguments={"layers": (2, 2, 2, 1), "channels": (24, 32, 64, 96), "stem_type": "deep", "stem_width": 12},
        stems=("plain",),
    ),
    "resnet18": TimmNetwork("resnet18", last_blocks=2, hub={"plain": "resnet18.tv_in1k"}),
    "resnet34": TimmNetwork("resnet34", last_blocks=3, hub={"plain": "resnet34.tv_in1k"}),
    "resnet50": TimmNetwork(
        "resnet50",
        last_blocks=3,
        hub={"plain": "resnet50.tv_in1k", "deep32": "resnet50c.gluon_in1k", "deep64": "resnet50s.gluon_in1k"},
    ),
    "resnet101": TimmNetwork(
        "resnet101",
        last_blocks=3,
        hub={"plain": "resnet101.tv_in1k", "deep32": "resnet101c.gluon_in1k", "deep64": "resnet101s.gluon_in1k"},
    ),
    "tf_efficientnet_b7": TimmNetwork(  # C1 to C4 come from the second, third, fifth and seventh of its seven stages
        "tf_efficientnet_b7",
        last_blocks=0,
        hub={"plain": "tf_efficientnet_b7.aa_in1k"},
        stems=("plain",),
        classifier=("classifier.", "conv_head.", "bn2."),
    ),
    "hrnet_w48": TimmNetwork(  # C1 to C4 are the four resolutions of its last stage: HRNetV2
        "hrnet_w48",
        last_blocks=0,
        arguments={"feature_location": ""},
        hub={"plain": "hrnet_w48.ms_in1k"},
        stems=("plain",),
        output_strides=(32,),
        classifier=("classifier.", "final_layer.", "incre_modules.", "downsamp_modules."),
        multiple=32,
    ),
}

LEVELS = (-4, -3, -2, -1)
"""Which of its maps a network gives: the last four."""

FLEXIBLE: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""What lets a network of timm take images of any size: nothing, or a word that some transformers have."""

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


class Features(nn.Module):
    """C1 to C4 of a backbone: their `channels`, and their `strides` such as (4, 8, 8, 8).

    Where the sides of the image must be divisible by `multiple`, it is padded at the right and at the bottom with 0,
    the mean colour, and the maps are cut to the size that they have with any other backbone.

    The network is timm's, in `body`. Its keys are the classification network's without the classifier; for a plain
    ResNet, torchvision's without `fc`.
    """

    def __init__(
        self,
        body: nn.Module,
        channels: Iterable[int],
        strides: Iterable[int],
        multiple: int = 1,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = multiple
        self.recompute = False  # `core.networks.recompute`
        self.channels_last = channels_last  # of the body's maps: some transformers of timm give b h w c
        self.body = body
        self.channels: tuple[int, ...] = tuple(channels)
        self.strides: tuple[int, ...] = tuple(strides)

    def forward(self, image: Float[Tensor, "b _ h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return [C1, C2, C3, C4]."""
        height, width = image.shape[-2:]
        if self.multiple > 1:
            image = nn.functional.pad(image, (0, -width % self.multiple, 0, -height % self.multiple))
        found = recompute.recomputed(self.body, image) if self.recompute and self.training else self.body(image)
        if self.channels_last:
            found = [map_.permute(0, 3, 1, 2).contiguous() for map_ in found]
        if self.multiple == 1:
            return found
        return [
            map_[..., : -(-height // stride), : -(-width // stride)]
            for map_, stride in zip(found, self.strides, strict=True)
        ]


def described(name: str) -> TimmNetwork:
    """How timm builds a network: the row of a paper's, and for another what timm says of it.

    Raises:
        ValueError: if timm has no such network, or it does not give four maps of images of any size.
    """
    return NETWORKS[name] if name in NETWORKS else _another(name)


@functools.cache
def _another(name: str) -> TimmNetwork:
    if not (re.fullmatch(r"[\w.-]+", name) and timm.is_model(name)):  # timm would download what has a colon
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        others = f"timm.list_models(), such as {near[0]}" if near else "timm.list_models()"
        raise ValueError(f"{unknown('backbone', name, NETWORKS)}; or any of {others}")
    errors = []
    for arguments in FLEXIBLE:
        try:
            return _described(name, arguments)
        except Exception as error:  # each network of timm has its own for what it can't do
            errors.append(error)
    raise ValueError(
        f"{name} is no backbone: it gives no four maps of images of any size ({' '.join(str(errors[0]).split())}); "
        "choose another of timm.list_models()"
    ) from errors[0]


def _described(name: str, arguments: Mapping[str, Any]) -> TimmNetwork:
    """What timm says of a network that is built with these arguments, and what it shows."""
    natural = _on_meta(name, arguments)
    last = natural.strides[-1]
    multiple = 1 if _fits(65, 97, name, arguments) else last
    require(multiple == 1 or _gives_rounded_up(natural, 3 * last, 5 * last), "its maps have other sizes than it says")
    dilated = [step for step in (8, 16) if step < last and _fits(96, 160, name, {**arguments, "output_stride": step})]
    public = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    repository = str(public.hf_hub_id or "") if public else ""
    return TimmNetwork(
        name,
        last_blocks=0,
        arguments=arguments,
        hub={"plain": repository.removeprefix("timm/")} if repository.startswith("timm/") else {},
        stems=("plain",),
        output_strides=(*dilated, last),
        multiple=multiple,
        mean=public.mean if public else IMAGENET_DEFAULT_MEAN,
        std=public.std if public else IMAGENET_DEFAULT_STD,
        strides=natural.strides,
    )


def _on_meta(name: str, arguments: Mapping[str, Any]) -> Features:
    with torch.device("meta"):
        return _features(timm.create_model(name, features_only=True, out_indices=LEVELS, **arguments))


def _fits(height: int, width: int, name: str, arguments: Mapping[str, Any]) -> bool:
    """Return True if a network can be built so, with the output stride that is asked for, and takes images so large."""
    try:
        features = _on_meta(name, arguments)
        asked = arguments.get("output_stride", features.strides[-1])
        return features.strides[-1] == asked and _gives_rounded_up(features, height, width)
    except Exception:  # each network of timm has its own
        return False


@torch.no_grad()
def _gives_rounded_up(features: Features, height: int, width: int) -> bool:
    """Return True if the maps of an image have its sizes over their strides, rounded up."""
    found = features.eval()(torch.empty(1, 3, height, width, device="meta"))
    sizes = [(-(-height // stride), -(-width // stride)) for stride in features.strides]
    return [tuple(map_.shape[1:]) for map_ in found] == [
        (channels, *size) for channels, size in zip(features.channels, sizes, strict=True)
    ]


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
    return _features(body, network.multiple)


def _features(body: nn.Module, multiple: int = 1) -> Features:
    info: Any = body.feature_info
    channels_last = str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC")
    return Features(body, info.channels(), info.reduction(), multiple, channels_last)


def normalisation(backbone: Backbone) -> tuple[Colour, Colour]:
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
