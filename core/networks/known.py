"""The networks of timm that may be a backbone.

Those of the papers and their weights are the rows of `NETWORKS`. Of any other that gives four maps
(`timm.list_models()`, such as convnext_tiny or resnet18d), everything is as timm says: weights, normalisation, strides
and channels; what it can't do is found out by building it without memory (`described`).

Public ImageNet weights: `.tv_in1k` on the Hugging Face Hub is torchvision's first generation, what "pretrained" meant
in 2019 (BSD-3-Clause); `.gluon_in1k` is GluonCV's, with deep stems (Apache-2.0);
`.aa_in1k` is EfficientNet's own of 2019, trained with AutoAugment (Apache-2.0).
"""

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from core.errors import require, unknown
from core.networks.features import Features, features_of

PerChannel = tuple[float, ...]


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
    mean: PerChannel = IMAGENET_DEFAULT_MEAN
    std: PerChannel = IMAGENET_DEFAULT_STD
    strides: tuple[int, ...] = (4, 8, 16, 32)  # of its maps, undilated


NETWORKS: dict[str, TimmNetwork] = {
    "resnet10_tiny": TimmNetwork(  # ours, for demonstrations and tests; its stem is its own: 8-8-16
        timm_name="resnet18",
        last_blocks=1,
        arguments={"layers": (1, 1, 1, 1), "channels": (16, 32, 48, 96), "stem_type": "deep", "stem_width": 8},
        stems=("plain",),
    ),
    "resnet16_tiny": TimmNetwork(  # ours, for the bundled networks; its stem is its own: 12-12-24
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
        return features_of(timm.create_model(name, features_only=True, out_indices=LEVELS, **arguments))


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
