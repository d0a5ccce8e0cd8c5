"""The networks of all papers with small backbones and drawn weights, for what every one of them must do."""

import dataclasses
from typing import Any

import torch
from seeded import noise, weights
from torch import Tensor, nn

from core.networks.backbones import Backbone, Features
from core.networks.network import Network
from core.values import differences
from papers import every

CLASSES = 5
SURE = 100.0  # what RANet's classifiers of RCB are multiplied by: pixels are then sure enough to make several regions

PAPERS = {paper.folder: paper for paper in every()}


def tiny(architecture: Any) -> Any:
    """Return the architecture on the tiny backbone, at its own output stride on a ResNet."""
    stride = 32 if architecture.backbone.output_stride == 32 and architecture.backbone.name != "hrnet_w48" else 8
    return dataclasses.replace(architecture, backbone=Backbone("resnet10_tiny", output_stride=stride))


def heads(paper: str) -> dict[str, Any]:
    """Return every architecture of a paper's recipes but for the backbone, by what differs from the default one."""
    with torch.device("meta"):
        default = tiny(PAPERS[paper].network(CLASSES).architecture)
    found = {}
    for recipe in PAPERS[paper].recipes.values():
        architecture = tiny(recipe.architecture)
        changes = differences(default, architecture)
        name = ", ".join(f"{field}={value}" for field, (_, value) in sorted(changes.items()) if "backbone" not in field)
        found[name or "default"] = architecture
    return found


def drawn(network: Network) -> Network:
    """Give a network float64 weights drawn from their names; what starts at zero is not."""
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    for name, parameter in network.named_parameters():
        if name == "construct.weight":
            nn.init.constant_(parameter, 0.9)  # within its bounds, so that it has a gradient
        elif name.startswith("heads.") and "trunk" not in name and type(network).__name__ == "RANet":
            parameter.data *= SURE if parameter.ndim == 4 else 1.0
    return network.double()


def build(paper: str, architecture: Any) -> Network:
    """Return a drawn network of five classes."""
    return drawn(PAPERS[paper].network(CLASSES, architecture))


def pictures(number: int = 2, height: int = 65, width: int = 97) -> Tensor:
    """Return images of noise."""
    return noise(number, 3, height, width).double()


def labels(number: int = 2, height: int = 65, width: int = 97) -> Tensor:
    """Return stripes of five classes, with some pixels ignored."""
    rows = (torch.arange(number * height * width).reshape(number, height, width) // 700) % CLASSES
    rows[:, 20:24] = 255
    return rows


class Sampled(nn.Module):
    """Maps of one convolution each, with the sizes of a backbone's."""

    def __init__(self, like: Features) -> None:
        super().__init__()
        sizes = zip(like.channels, like.strides, strict=True)
        self.convolve = nn.ModuleList(nn.Conv2d(3, channels, 1, stride) for channels, stride in sizes)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [convolve(image).relu() for convolve in self.convolve]


def sample(network: Network) -> None:
    """Let one convolution make each map of a network, for what traces it: a backbone is half of that work."""
    backbone = network.backbone
    network.backbone = Features(Sampled(backbone), backbone.channels, backbone.strides)
