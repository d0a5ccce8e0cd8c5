"""Pixels as a network takes them: RGB tensors, their normalisation, and the size of a scaled image."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from core.errors import require
from core.recipe import Edge, Protocol

LOOKED_AT = 769
"""The longest side in pixels of a picture whose attention is drawn: the work may grow with its fourth power."""


EXTREME = 1e6
"""Of a mean and a standard deviation, and of what it divides by: beyond are no images, and soon no float32."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel in [0, 1] that the backbone's weights expect; red, green and blue.

    Raises:
        ValueError: if there are not equally many of both, or a deviation is not positive.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        channels = len(self.mean), len(self.std)
        require(channels[0] == channels[1] >= 1, f"mean and std need a number for each channel, got {channels}")
        require(min(self.std) > 0, f"std must hold positive numbers, got {self.std}")
        require(
            max(*map(abs, self.mean), *self.std, 1 / min(self.std)) <= EXTREME,
            f"mean is at most {EXTREME:g} and std {1 / EXTREME:g} to {EXTREME:g}, got {self.mean} and {self.std}",
        )

    def __call__(self, image: UInt8[Tensor, "*batch c h w"]) -> Float[Tensor, "*batch c h w"]:
        """Bring 8-bit images to mean 0 and deviation 1, in float32, on their device; the same values on any."""
        at_once = image.device.type == "cuda"  # without waiting for the device
        mean, std = (
            (torch.tensor(colour).view(-1, 1, 1) * 255).to(image.device, non_blocking=at_once)
            for colour in (self.mean, self.std)
        )
        return image.as_subclass(Tensor).to(torch.float32, copy=True).sub_(mean).div_(std)


def to_tensor(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    """Turn any PIL image into an 8-bit RGB tensor."""
    return rearrange(torch.from_numpy(np.array(image.convert("RGB"))), "h w c -> c h w").contiguous()


def scaled_size(
    height: int, width: int, edge: Edge, base: int | None, scale: float, limit: int | None = None
) -> tuple[int, int]:
    """Height and width in pixels of an image whose short or long edge is brought to `base` times `scale`.

    `base` None means its own edge. The other side stays in proportion; both are rounded to the nearest pixel, halves
    up, and are at least 1. If the longest side would exceed `limit`, it is brought to `limit` instead.
    """
    own = (min if edge == "short" else max)(height, width)
    length = _nearest(scale * (base or own))
    size = _nearest(height * length / own), _nearest(width * length / own)
    return size if limit is None or max(size) <= limit else scaled_size(height, width, "long", limit, 1.0)


def as_tested(picture: Image.Image, protocol: Protocol, side: int | None = None) -> Image.Image:
    """Bring a picture to the size at which a network is tested, or to a longest side in pixels.

    It is at most LOOKED_AT long: what a network attends to is found in the whole picture at once.
    """
    size = scaled_size(picture.height, picture.width, protocol.edge, protocol.base, 1.0, protocol.limit)
    if side is not None or max(size) > LOOKED_AT:
        size = scaled_size(picture.height, picture.width, "long", side or LOOKED_AT, 1.0)
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`, both in pixels."""
    return -(-length // multiple) * multiple


def _nearest(length: float) -> int:
    return max(math.floor(length + 0.5), 1)
