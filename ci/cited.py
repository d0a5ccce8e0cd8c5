"""Networks of others that DF-DAM's Tables 4 and 6 count, and whose layers are public: written for counting alone.

They show by which rules the paper counts: those that reproduce these rows judge ours.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet101

from core.networks.blocks import convolution


class FullyConvolutional(nn.Module):
    """FCN-8s on VGG-16 (Long et al., CVPR 2015): 100 pixels of padding, learned enlargements, two skips."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels, padding = 3, 100
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=padding), nn.ReLU()]
                channels, padding = width, 1
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
        self.score = nn.Sequential(
            *(nn.Conv2d(512, 4096, 7), nn.ReLU(), nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Conv2d(4096, classes, 1))
        )
        self.score_fourth, self.score_third = nn.Conv2d(512, classes, 1), nn.Conv2d(256, classes, 1)
        self.enlarge_to_fourth, self.enlarge_to_third = (
            nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False) for _ in range(2)
        )
        self.enlarge = nn.ConvTranspose2d(classes, classes, 16, stride=8, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores of an image, b 3 h w, before they are cut to its size."""
        maps = [image]
        for stage in self.stages:
            maps.append(stage(maps[-1]))

        def add(small: Tensor, large: Tensor) -> Tensor:
            top, left = ((a - b) // 2 for a, b in zip(large.shape[-2:], small.shape[-2:], strict=True))
            return small + large[..., top : top + small.shape[-2], left : left + small.shape[-1]]

        fourth = add(self.enlarge_to_fourth(self.score(maps[5])), self.score_fourth(maps[4]))
        return self.enlarge(add(self.enlarge_to_third(fourth), self.score_third(maps[3])))


class DeepLab(nn.Module):
    """DeepLab-v2 (Chen et al., PAMI 2018): strides in 1x1 convolutions, pooling that rounds up, four scores."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        body = resnet101(replace_stride_with_dilation=[False, True, True])
        body.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        body.layer2[0].conv1.stride, body.layer2[0].conv2.stride = (2, 2), (1, 1)
        self.body = nn.Sequential(*list(body.children())[:-2])
        self.scores = nn.ModuleList(nn.Conv2d(2048, classes, 3, padding=d, dilation=d) for d in (6, 12, 18, 24))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the four scores of an image, b 3 h w, at an eighth of its size."""
        features = self.body(image)
        return [score(features) for score in self.scores]


class PyramidPooling(nn.Module):
    """PSPNet (Zhao et al., CVPR 2017) with its auxiliary classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        body = resnet101(replace_stride_with_dilation=[False, True, True])
        *layers, last = list(body.children())[:-2]
        self.third, self.fourth = nn.Sequential(*layers), last
        self.bins = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), convolution(2048, 512, 1)) for size in (1, 2, 3, 6)
        )
        self.classify = nn.Sequential(convolution(4096, 512), nn.Conv2d(512, classes, 1))
        self.classify_third = nn.Sequential(convolution(1024, 1024), nn.Conv2d(1024, classes, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of an image, b 3 h w, and the auxiliary ones, at an eighth of its size."""
        third = self.third(image)
        fourth = self.fourth(third)
        pooled = [functional.interpolate(part(fourth), fourth.shape[-2:], mode="bilinear") for part in self.bins]
        return self.classify(torch.cat([fourth, *pooled], dim=1)), self.classify_third(third)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "FCN-8s-heavy": FullyConvolutional,
    "DeepLab(Res101)": DeepLab,
    "PSPNet(Res101)": PyramidPooling,
}
"""By the name of the row, from the number of classes."""
