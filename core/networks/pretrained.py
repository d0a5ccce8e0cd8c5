"""Weights that a backbone begins with: of ImageNet from the Hub, or a file's, by timm's or torchvision's names."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

import timm
import torch
from torch import Tensor

from core.networks import imagenet
from core.networks.backbones import Backbone
from core.networks.features import Features
from core.networks.known import NETWORKS, TimmNetwork, described
from core.networks.repository import download
from core.networks.weights import COUNTER, Shape, read_weights, refuse_misfits, refuse_unsound, shapes
from core.recipe import WeightsSource


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
    content = imagenet.renamed(read_weights(path, get_args(WeightsSource)))
    tensors = _folded(features, _of_features(features, backbone, content))
    fits = f"{path} does not fit {backbone.name} with the {backbone.stem} stem"
    refuse_misfits(fits, _counted(features.body.state_dict()), _counted(tensors))
    refuse_unsound(str(path), tensors)
    features.body.load_state_dict(tensors, strict=False)  # only counters can still differ


def _counted(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shapes of weights without counters, which old files lack."""
    return {name: shape for name, shape in shapes(tensors).items() if not name.endswith(COUNTER)}


def _of_features(features: Features, backbone: Backbone, content: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a classification network by the names of its features, without its classifier.

    timm gives features other names than the whole network: stages_0 for stages.0, or one prefix for all.
    """
    if backbone.name in NETWORKS:
        classifier = NETWORKS[backbone.name].classifier
        return {name: value for name, value in content.items() if not name.startswith(classifier)}
    ours = {_flat(name.removeprefix("model.")): name for name in features.body.state_dict()}
    network = described(backbone.name)
    with torch.device("meta"):
        whole = timm.create_model(network.timm_name, **network.arguments).state_dict()
    needed = [name for name in whole if _flat(name) in ours]
    if any(name not in content for name in needed if not name.endswith(COUNTER)):
        content = _in_todays_names(network, content)
    others = {name for name in whole if _flat(name) not in ours}
    return {ours.get(_flat(name), name): value for name, value in content.items() if name not in others}


def _folded(features: Features, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with a first convolution of RGB folded into one of other channels, by timm's rule."""
    folded, given = dict(tensors), shapes(tensors)
    for name, shape in shapes(features.body.state_dict()).items():
        if len(shape) == 4 and shape[1] != 3 and given.get(name) == (shape[0], 3, *shape[2:]):
            folded[name] = timm.models.adapt_input_conv(shape[1], tensors[name])
    return folded


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _in_todays_names(network: TimmNetwork, content: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights by the names that timm gives them today, if it knows how theirs are to be changed; else as they are."""
    known = {"state_dict": dict(content)}
    try:
        whole = timm.create_model(network.timm_name, pretrained=True, pretrained_cfg_overlay=known, **network.arguments)
    except Exception:  # it raises whatever its own rules for old names meet
        return content
    return whole.state_dict()


def on_hub(backbone: Backbone, source: WeightsSource) -> str | None:
    """The Hub's repository of the weights of a source; None if it has none."""
    public = described(backbone.name).hub.get(backbone.stem)
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
