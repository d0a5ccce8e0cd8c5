"""Backbones: a photograph becomes four maps of features, C1 to C4, from fine to coarse.

The networks are timm's. At output stride 8 a ResNet keeps its last two stages at an eighth of the image and dilates
their 3x3 convolutions instead; as in torchvision, the first block of a dilated stage keeps the dilation of the stage
before it (layer3: 1, 2, 2, ...; layer4: 2, 4, 4), and a Bottleneck strides in its 3x3 convolution. With equal weights
C1 to C4 equal those of torchvision's dilated ResNets bit for bit.

    image    b 3 h w            RGB, normalised with `normalisation(backbone)`
    C1..C4   b c h/s w/s        c and s: `Features.channels` and `Features.strides`; sizes are rounded up

A new timm network needs its name in `BackboneName` and a row in `NETWORKS`.

Public ImageNet weights: `.tv_in1k` on the Hugging Face Hub is torchvision's first generation, what "pretrained" meant
in 2019 (BSD-3-Clause); `.gluon_in1k` is GluonCV's, with deep stems (Apache-2.0);
`.aa_in1k` is EfficientNet's own of 2019, trained with AutoAugment (Apache-2.0).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import timm
from jaxtyping import Float
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from core.errors import unknown
from core.networks import imagenet, recompute
from core.networks.repository import download
from core.networks.weights import COUNTER, read_weights, refuse_misfits, refuse_unsound, shapes
from core.recipe import WeightsSource

BackboneName = Literal[
    "resnet10_tiny",
    "resnet16_tiny",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "tf_efficientnet_b7",
    "hrnet_w48",
]
Stem = Literal["plain", "deep32", "deep64"]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class TimmNetwork:
    """How timm builds the network of one name, what may be asked of it, and which public weights fit it."""

    timm_name: str
    last_blocks: int  # blocks in the last stage, each with a dilation of its own under multi-grid; 0: not a ResNet
    arguments: Mapping[str, Any] = field(default_factory=dict)  # for timm.create_model
    hub: Mapping[str, str] = field(default_factory=dict)  # stem -> ImageNet weights, below timm/
    stems: tuple[str, ...] = ("plain", "deep32", "deep64")
    output_strides: tuple[int, ...] = (8, 16, 32)
    classifier: tuple[str, ...] = ("fc.", "classifier.")  # prefixes of the keys that features do without
    multiple: int = 1  # sides of the image must be divisible by it: smaller ones are padded
    mean: Colour = IMAGENET_DEFAULT_MEAN
    std: Colour = IMAGENET_DEFAULT_STD


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

    name: BackboneName = "resnet101"
    stem: Stem = "plain"  # the first convolutions: one 7x7 to 64 channels, or three 3x3 to 32-32-64 or 64-64-128
    output_stride: Literal[8, 16, 32] = 8  # size of the image over the size of C4
    multi_grid: tuple[int, ...] | None = None  # dilations of the last stage's blocks, not factors: (4, 8, 16) in DANet

    def __post_init__(self) -> None:
        network = NETWORKS.get(self.name)
        if network is None:
            raise ValueError(unknown("backbone", self.name, NETWORKS))
        if self.stem not in network.stems:
            raise ValueError(unknown(f"{self.name} with the stem", self.stem, network.stems))
        if self.output_stride not in network.output_strides:
            raise ValueError(unknown(f"{self.name} at output stride", self.output_stride, network.output_strides))
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

    def __init__(self, body: nn.Module, channels: Iterable[int], strides: Iterable[int], multiple: int = 1) -> None:
        super().__init__()
        self.multiple = multiple
        self.recompute = False  # `core.networks.recompute`
        self.body = body
        self.channels: tuple[int, ...] = tuple(channels)
        self.strides: tuple[int, ...] = tuple(strides)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return [C1, C2, C3, C4]."""
        if self.recompute and self.training:
            return recompute.recomputed(self.body, image)
        if self.multiple == 1:
            return self.body(image)
        height, width = image.shape[-2:]
        maps = self.body(nn.functional.pad(image, (0, -width % self.multiple, 0, -height % self.multiple)))
        return [
            map_[..., : -(-height // stride), : -(-width // stride)]
            for map_, stride in zip(maps, self.strides, strict=True)
        ]


def build(backbone: Backbone) -> Features:
    """Build the feature extractor with random weights.

    timm starts the last BatchNorm of each residual block at zero, so that an untrained block is its own shortcut:
    dilation changes nothing yet, and the convolutions beside the shortcut receive no gradient in the first step.
    """
    network = NETWORKS[backbone.name]
    body = timm.create_model(
        network.timm_name,
        features_only=True,
        out_indices=(1, 2, 3, 4),
        output_stride=backbone.output_stride,
        **network.arguments,
        **STEMS[backbone.stem],
    )
    if backbone.multi_grid is not None:
        _dilate(body.get_submodule("layer4"), backbone.multi_grid)
    maps: Any = body.feature_info
    return Features(body, maps.channels(), maps.reduction(), network.multiple)


def normalisation(backbone: Backbone) -> tuple[Colour, Colour]:
    """Return mean and standard deviation of the RGB values, in 0..1, that the public weights were trained with."""
    network = NETWORKS[backbone.name]
    return network.mean, network.std


def load_weights(features: Features, backbone: Backbone, weights: str | Path) -> None:
    """Load ImageNet weights into `features`, in place, all or nothing.

    `weights` is a source of `core.networks.imagenet` (downloaded once, then read from the Hub's cache), "none" to stay
    random, or a .safetensors, .pth, .pt or .bin file with torchvision's, timm's or CSAIL's names. Half precision
    becomes the dtype of `features`. Only tensors are read from a pickle, never code.

    Raises:
        ValueError: if no public weights exist, or if the file is of another kind or network; keys are listed.
        FileNotFoundError: if there is no such file.
        OSError: if the Hub cannot be reached and the weights are not in its cache.
    """
    if weights == "none":
        return
    path = _download(backbone, cast(WeightsSource, weights)) if weights in get_args(WeightsSource) else Path(weights)
    classifier = NETWORKS[backbone.name].classifier
    named = imagenet.renamed(read_weights(path, get_args(WeightsSource)))
    tensors = {key: value for key, value in named.items() if not key.startswith(classifier)}

    expected = {key: shape for key, shape in shapes(features.body.state_dict()).items() if not key.endswith(COUNTER)}
    given = {key: shape for key, shape in shapes(tensors).items() if not key.endswith(COUNTER)}
    refuse_misfits(f"{path} does not fit {backbone.name} with the {backbone.stem} stem", expected, given)
    refuse_unsound(str(path), tensors)
    features.body.load_state_dict(tensors, strict=False)  # only counters can still differ


def _dilate(stage: nn.Module, rates: tuple[int, ...]) -> None:
    """Give all 3x3 convolutions of each block one dilation: conv2 of a Bottleneck, both of a BasicBlock."""
    for block, rate in zip(stage.children(), rates, strict=True):
        for convolution in block.children():
            if isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
                convolution.dilation = convolution.padding = (rate, rate)


def on_hub(backbone: Backbone, source: WeightsSource) -> str | None:
    """The Hub's repository of the weights of a source; None if it has none."""
    public = NETWORKS[backbone.name].hub.get(backbone.stem)
    name = imagenet.repository(backbone.name, backbone.stem, source, public)
    return f"timm/{name}" if name else None


def _download(backbone: Backbone, source: WeightsSource) -> Path:
    """Return the file of the public weights, from the Hub or its cache."""
    repository = on_hub(backbone, source)
    if repository is None:
        public = [f"{name} with {stem}" for name, row in NETWORKS.items() for stem in row.hub]
        raise ValueError(
            f"the Hub has no weights {source!r} for {backbone.name} with the {backbone.stem} stem"
            + (f", only for {', '.join(public)}" if source == "hub" else "")
            + f"; {imagenet.where(backbone.name, backbone.stem, source)}"
        )
    try:
        return download(repository, "model.safetensors")
    except Exception as error:  # the Hub's transport has kinds of its own, which change between its releases
        raise OSError(
            f"cannot get the weights {repository} from the Hugging Face Hub ({type(error).__name__}): run `hf download "
            f"{repository} model.safetensors` where it can be reached, or pass --backbone-weights FILE with a local "
            f"file or --backbone-weights none to start from random weights"
        ) from error
