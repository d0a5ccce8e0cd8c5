"""ImageNet weights by their source: where they are, and from which of them a file is.

    hub       what timm's repository on the Hugging Face Hub has for a backbone: torchvision's first generation for a
              plain ResNet, GluonCV's for a deep stem (`core.networks.backbones`)
    gluon     GluonCV's for a plain ResNet, on the Hub too (Apache-2.0)
    csail     the files that CSAILVision/semantic-segmentation-pytorch downloads, with the deep stem 64-64-128; nobody
              states their licence, and the Hub does not have them: one must bring the file
    none      no weights

A file is known by the first digits of its sha256 where its publisher says them, else by the names in it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
from torch import Tensor

from core import files
from core.networks.weights import read_weights
from core.recipe import WeightsSource

GLUON = ("resnet18", "resnet34", "resnet50", "resnet101")
"""Plain ResNets with a repository timm/NAME.gluon_in1k."""

CSAIL = ("resnet18", "resnet50", "resnet101")
"""ResNets with the stem deep64 and a file of CSAIL's."""

CSAIL_URL = "http://sceneparsing.csail.mit.edu/model/pretrained_resnet/{}-imagenet.pth"

CSAIL_NAMES = {
    "conv1.": "conv1.0.",
    "bn1.": "conv1.1.",
    "conv2.": "conv1.3.",
    "bn2.": "conv1.4.",
    "conv3.": "conv1.6.",
    "bn3.": "bn1.",
}
"""Prefixes of the stem, theirs -> timm's; all else has the same names."""

TORCHVISION = {
    "resnet18": ("5c106cde", "f37072fd"),
    "resnet34": ("333f7ec4", "b627a593"),
    "resnet50": ("19c8e357", "0676ba61"),
    "resnet101": ("5d3b4d8f", "63fe2227"),
}
"""The first digits of the sha256 of torchvision's files, which are in their names and by which it checks them.

There are two of each, as it saved the same weights again. The Hub's `.tv_in1k` are made from them.
"""

SOURCE, DIGEST = "source", "sha256"
"""What a converted file says of its origin, in the metadata of safetensors."""


def from_csail(names: Iterable[str]) -> bool:
    """Return True if a file has CSAIL's names: three convolutions of a stem side by side, and their classifier."""
    return {"conv1.weight", "conv2.weight", "conv3.weight", "bn3.weight", "fc.weight"} <= set(names)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by timm's names, if they have CSAIL's."""
    if not from_csail(tensors):
        return dict(tensors)
    found = {}
    for name, tensor in tensors.items():
        prefix = name.split(".")[0] + "."
        found[CSAIL_NAMES.get(prefix, prefix) + name.removeprefix(prefix)] = tensor
    return found


def has_csail(backbone: str, stem: str) -> bool:
    """Return True if there is a file of CSAIL's for this backbone."""
    return backbone in CSAIL and stem == "deep64"


def source_of(file: Path, backbone: str, stem: str) -> WeightsSource | None:
    """From which source a file of weights of this backbone is; None if nothing says so.

    Raises:
        ValueError: if the file is damaged.
        FileNotFoundError: if there is none.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file of weights {file}")
    if stem == "plain" and files.sha256(file).startswith(TORCHVISION.get(backbone, ("none",))):
        return "hub"
    if has_csail(backbone, stem):
        converted = file.suffix == ".safetensors" and _metadata(file).get(SOURCE) == "csail"
        return "csail" if converted or from_csail(read_weights(file)) else None
    return None


def repository(backbone: str, stem: str, source: WeightsSource, public: str | None) -> str | None:
    """The name, below timm/ on the Hub, of a backbone's weights; None if the Hub has none.

    Args:
        backbone: its name.
        stem: its stem.
        source: whose weights.
        public: what the source "hub" stands for.
    """
    if source == "gluon" and backbone in GLUON and stem == "plain":
        return f"{backbone}.gluon_in1k"
    return public if source == "hub" else None


def where(backbone: str, stem: str, source: WeightsSource) -> str:
    """What to do if the Hub has no weights of a source for a backbone."""
    if source == "csail" and has_csail(backbone, stem):
        url = CSAIL_URL.format(backbone)
        return f"fetch {url} and pass --backbone-weights {url.rsplit('/', 1)[-1]}"
    return "pass --backbone-weights FILE or --backbone-weights none"


def _metadata(file: Path) -> Mapping[str, str]:
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}
    except Exception as error:  # safetensors' own kind is no OSError
        raise ValueError(f"{file} is damaged or cut off ({error}); fetch it again") from error
