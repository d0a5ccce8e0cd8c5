"""Strides and dilations of every convolution of every backbone in use, stage by stage.

A row says how many convolutions in a row have the same (kernel, stride, dilation); 1x1 ones are left out. ResNets as
torchvision dilates them: the first block of a dilated stage keeps the dilation of the stage before it.
"""

import functools
import itertools

import pytest
import torch
from torch import nn

from core.networks.backbones import Backbone, build
from core.networks.features import Features
from papers import every

Runs = list[tuple[int, tuple[int, int, int]]]  # how many, (kernel, stride, dilation)

PLAIN: Runs = [(1, (7, 2, 1))]
DEEP: Runs = [(1, (3, 2, 1)), (2, (3, 1, 1))]
STEMS = {"plain": PLAIN, "deep32": DEEP, "deep64": DEEP}

BLOCKS = {  # 3x3 convolutions in the four stages
    "resnet10_tiny": (2, 2, 2, 2),
    "resnet16_tiny": (4, 4, 4, 2),
    "resnet18": (4, 4, 4, 4),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}


def resnet(backbone: Backbone) -> list[Runs]:
    """The stem and four stages: strides 4, 8, and then 8 and 8 with dilations 2 and 4, or 16 and 32."""
    first, second, third, fourth = BLOCKS[backbone.name]
    stages: list[Runs] = [
        DEEP if backbone.name.endswith("_tiny") else STEMS[backbone.stem],
        [(first, (3, 1, 1))],
        [(1, (3, 2, 1)), (second - 1, (3, 1, 1))],
    ]
    if backbone.output_stride == 32:
        return [*stages, *([(1, (3, 2, 1)), (number - 1, (3, 1, 1))] for number in (third, fourth))]
    assert backbone.output_stride == 8
    last: Runs = [(1, (3, 1, 2)), (fourth - 1, (3, 1, 4))]
    if backbone.multi_grid is not None:
        assert backbone.multi_grid == (4, 8, 16)  # DANet's: absolute, one for each of three bottlenecks
        last = [(1, (3, 1, 4)), (1, (3, 1, 8)), (1, (3, 1, 16))]
    return [*stages, [(1, (3, 1, 1)), (third - 1, (3, 1, 2))], last]


EFFICIENTNET: Runs = [  # stem and 4, 7, 7, 10, 10, 13, 4 blocks; the strides of the fourth and sixth stage dilate
    *((1, (3, 2, 1)), (4, (3, 1, 1))),
    *((1, (3, 2, 1)), (6, (3, 1, 1))),
    *((1, (5, 2, 1)), (6, (5, 1, 1))),
    *((1, (3, 1, 1)), (9, (3, 1, 2))),
    *((11, (5, 1, 2)), (12, (5, 1, 4))),
    (4, (3, 1, 4)),
]

USED = sorted({recipe.architecture.backbone for paper in every() for recipe in paper.recipes.values()}, key=str)


EACH = pytest.mark.parametrize(
    "backbone", USED, ids=lambda one: f"{one.name} {one.stem} {one.output_stride} {one.multi_grid}"
)


@functools.cache
def built(backbone: Backbone) -> Features:
    with torch.device("meta"):
        return build(backbone)


def found(module: nn.Module) -> Runs:
    kinds = [
        (part.kernel_size[0], part.stride[0], part.dilation[0])
        for part in module.modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size[0] > 1
    ]
    return [(len(list(run)), kind) for kind, run in itertools.groupby(kinds)]


@EACH
def test_strides_and_dilations(backbone: Backbone) -> None:
    body = built(backbone).body
    if backbone.name == "tf_efficientnet_b7":
        assert found(body) == EFFICIENTNET
    elif backbone.name == "hrnet_w48":
        assert {dilation for _, (*_, dilation) in found(body)} == {1}
    else:
        stages = [found(body.get_submodule(name)) for name in ("conv1", "layer1", "layer2", "layer3", "layer4")]
        assert stages == resnet(backbone)


@EACH
def test_strides_of_the_maps(backbone: Backbone) -> None:
    assert built(backbone).strides == ((4, 8, 8, 8) if backbone.output_stride == 8 else (4, 8, 16, 32))


@EACH
def test_padding_keeps_dilated_maps_in_place(backbone: Backbone) -> None:
    body = built(backbone).body
    for name, part in body.named_modules():
        if isinstance(part, nn.Conv2d) and part.stride == (1, 1) and not isinstance(part.padding, str):
            assert part.padding[0] == part.dilation[0] * (part.kernel_size[0] // 2), name
