"""Layers that every paper stacks and none gives an equation."""

from torch import nn


def convolution(channels: int, width: int, kernel_size: int = 3) -> nn.Sequential:
    """A convolution that keeps the size (odd kernels), without bias; batch normalisation; ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def classifier(channels: int, num_classes: int) -> nn.Sequential:
    """Dropout of whole channels (0.1), then a 1x1 convolution with bias to a score for each class."""
    return nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, num_classes, kernel_size=1))
