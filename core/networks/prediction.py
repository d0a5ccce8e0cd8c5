"""The answer for one image, and the kinds of images that are asked about."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from core.errors import require
from core.images import pictures
from core.images.bands import of_picture, read_channels, shown
from core.images.classes import Classes
from core.images.reading import upright_rgb

Picture = Image.Image | np.ndarray | Tensor | str | Path
"""What `predict` takes."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The answer for one image of h x w pixels.

    `labels` holds a class for each pixel; `probabilities` say how sure the network is of each class, as the protocol
    merges its scores: they add up to 1 at every pixel. A notebook shows the overlay.
    """

    labels: UInt8[Tensor, "h w"]
    probabilities: Float[Tensor, "k h w"]
    image: Image.Image
    classes: Classes

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The image with its labels laid over it in colours."""
        return pictures.overlay(np.asarray(self.image), self.labels, self.classes, opacity)

    def shares(self) -> dict[str, float]:
        """The share of the pixels that each class has, from 0 to 1, the largest first; classes without one left out."""
        return {name: share for name, _, share in pictures.shares(self.labels, self.classes)}

    def __repr__(self) -> str:
        """The size and the largest classes, in one line."""
        width, height = self.image.size
        shares = [f"{name} {100 * share:.0f} %" for name, share in self.shares().items()]
        rest = f", and {len(shares) - 3} more" if len(shares) > 3 else ""
        return f"Prediction({width} x {height} pixels: {', '.join(shares[:3])}{rest})"

    def _repr_png_(self) -> bytes:
        """The overlay, as notebooks ask for it."""
        content = BytesIO()
        self.overlay().save(content, format="PNG")
        return content.getvalue()


def pixels_of(picture: Picture, channels: int = 3) -> UInt8[Tensor, "c h w"]:
    """An image of any kind in 8 bits with so many channels, RGB if three, on the CPU.

    Raises:
        ValueError: if it can't be read as an image, or has other channels or holds other numbers than a picture.
    """
    kinds = "a path, a PIL image, a numpy array or a tensor, or a list of these"
    require(isinstance(picture, Picture), f"predict takes {kinds}, got {picture!r}")
    if isinstance(picture, Tensor):
        fits = picture.dtype == torch.uint8 and picture.ndim == 3 and picture.shape[0] == channels
        kind = "8-bit RGB tensor of size 3" if channels == 3 else f"8-bit tensor of size {channels}"
        require(
            fits and picture.numel() > 0,
            f"predict takes an {kind} h w (torch.uint8, 0 to 255), got {picture.dtype} of size {tuple(picture.shape)}",
        )
        return picture.cpu()
    if isinstance(picture, np.ndarray):
        values = _of_array(picture, channels)
    elif isinstance(picture, Image.Image):
        require(
            min(picture.size) > 0, f"predict takes a picture with pixels, got one of {picture.width} x {picture.height}"
        )
        values = np.array(upright_rgb(picture)) if channels in (1, 3) else of_picture(picture, channels)
        values = of_picture(Image.fromarray(values), 1) if channels == 1 else values
    else:
        require(picture != "", f"predict takes {kinds}, got ''")
        values = read_channels(Path(picture), channels)
    return rearrange(torch.from_numpy(values), "h w c -> c h w").contiguous()


def _of_array(array: np.ndarray, channels: int) -> np.ndarray:
    """An array in 8 bits, or one in 16 bits and grey, as those of a file."""
    whole = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == channels
    grey = channels in (1, 3) and array.dtype in (np.uint8, np.uint16) and array.ndim == 2
    kind = f"h w {channels}{' (RGB)' if channels == 3 else ''}{' or h w (grey)' if channels in (1, 3) else ''}"
    also = " in 8 bits (numpy.uint8, 0 to 255)" + (", or a grey one in 16 bits" if channels in (1, 3) else "")
    require(
        (whole or grey) and array.size > 0,
        f"predict takes an array of size {kind}{also}, got {array.dtype} of size {array.shape}",
    )
    if whole:
        return np.array(array)
    picture = upright_rgb(Image.fromarray(np.ascontiguousarray(array)), "the array")
    return np.array(picture) if channels == 3 else of_picture(picture, 1)


def picture_of(pixels: UInt8[Tensor, "c h w"]) -> Image.Image:
    """What is shown of an image."""
    return Image.fromarray(np.ascontiguousarray(shown(rearrange(pixels, "c h w -> h w c").numpy())))
