"""The answer for one image, and the kinds of images that are asked about."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from core.errors import require
from core.images import pictures
from core.images.classes import Classes
from core.images.pixels import to_tensor
from core.images.reading import open_rgb, upright_rgb

Picture = Image.Image | np.ndarray | Tensor | str | Path
"""What `predict` takes."""


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The answer for one image of h x w pixels.

    `labels` holds a class for each pixel; `scores` say how sure the network is of each class, as the protocol merges
    them: they add up to 1 at every pixel. A notebook shows the overlay.
    """

    labels: UInt8[Tensor, "h w"]
    scores: Float[Tensor, "k h w"]
    image: Image.Image
    classes: Classes

    @property
    def probabilities(self) -> Float[Tensor, "k h w"]:
        """How sure the network is of each class: the scores under another name."""
        return self.scores

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """The image with its labels laid over it in colours."""
        return pictures.overlay(np.asarray(self.image), self.labels, self.classes, opacity)

    def shares(self) -> dict[str, float]:
        """The share of the pixels that each class has, from 0 to 1, the largest first; classes without one left out."""
        counts = torch.bincount(self.labels.flatten().long(), minlength=len(self.classes))
        shares = zip(self.classes.names, (counts / counts.sum()).tolist(), strict=True)
        return dict(sorted(((name, share) for name, share in shares if share), key=lambda pair: -pair[1]))

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


def pixels_of(picture: Picture) -> UInt8[Tensor, "3 h w"]:
    """An image of any kind as an 8-bit RGB tensor on the CPU.

    Raises:
        ValueError: if it can't be read as an image, or holds other numbers than a picture.
    """
    if isinstance(picture, Tensor):
        fits = picture.dtype == torch.uint8 and picture.ndim == 3 and picture.shape[0] == 3 and picture.numel() > 0
        require(
            fits,
            "predict takes an 8-bit RGB tensor of size 3 h w (torch.uint8, 0 to 255), got "
            f"{picture.dtype} of size {tuple(picture.shape)}",
        )
        return picture.cpu()
    if isinstance(picture, np.ndarray):
        return to_tensor(_of_array(picture))
    if isinstance(picture, Image.Image):
        return to_tensor(upright_rgb(picture))
    return to_tensor(open_rgb(Path(picture)))


def _of_array(array: np.ndarray) -> Image.Image:
    """A picture of numbers in 8 bits, or in 16 bits and grey, as those of a file."""
    colours = array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
    grey = array.dtype in (np.uint8, np.uint16) and array.ndim == 2
    require(
        (colours or grey) and array.size > 0,
        "predict takes an array of size h w 3 (RGB) or h w (grey) in 8 bits (numpy.uint8, 0 to 255), or a grey one "
        f"in 16 bits, got {array.dtype} of size {array.shape}",
    )
    return upright_rgb(Image.fromarray(np.ascontiguousarray(array)), "the array")
