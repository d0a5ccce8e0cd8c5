"""Pictures to look at: labels in colour, labels over a photograph, contact sheets, training curves.

Images are numpy arrays, uint8 h w 3 (RGB); labels are integers h w, on any device, 255 ignored.
"""

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image
from torch import Tensor

from core.images.classes import IGNORE, Classes, Colour

Labels = Integer[Tensor, "h w"] | Integer[np.ndarray, "h w"]
RGB = UInt8[np.ndarray, "h w 3"]


def colourise(labels: Labels, classes: Classes) -> RGB:
    """Paint every pixel in the colour of its class; ignored pixels are black.

    Raises:
        ValueError: if a label is neither a class nor 255.
    """
    values = labels.cpu().numpy() if isinstance(labels, Tensor) else labels
    wrong = values[((values < 0) | (values >= len(classes))) & (values != IGNORE)]
    if wrong.size:
        raise ValueError(f"labels must be 0 to {len(classes) - 1}, or {IGNORE} to be ignored, got {int(wrong[0])}")
    colours = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    colours[: len(classes)] = classes.palette
    return colours[values]


def overlay(image: RGB, labels: Labels, classes: Classes, opacity: float = 0.5) -> Image.Image:
    """Lay the colours of the labels over an image; 0 shows the image only, 1 the colours only.

    Raises:
        ValueError: if the sizes differ, the opacity is not from 0 to 1, or a label is neither a class nor 255.
    """
    if tuple(image.shape[:2]) != tuple(labels.shape):
        raise ValueError(f"image and labels must have one size, got {image.shape[:2]} and {tuple(labels.shape)}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 (the image only) to 1 (the colours only), got {opacity}")
    return Image.blend(Image.fromarray(image), Image.fromarray(colourise(labels, classes)), opacity)


def shares(labels: Labels, classes: Classes) -> list[tuple[str, Colour, float]]:
    """Name, colour and share of the pixels, from 0 to 1, of each class that occurs, the largest first."""
    values = labels.cpu().numpy() if isinstance(labels, Tensor) else labels
    counts = np.bincount(values.ravel(), minlength=len(classes))
    entries = zip(classes.names, classes.palette, counts.tolist(), strict=False)  # beyond the classes: ignored pixels
    found = [(name, colour, count / values.size) for name, colour, count in entries if count]
    return sorted(found, key=lambda entry: -entry[2])


def percent(share: float) -> str:
    """A share from 0 to 1 in whole percent; what occurs is never nothing."""
    return f"{100 * share:.0f} %" if share >= 0.005 else "< 1 %"


def errors(image: RGB, labels: Labels, prediction: Labels) -> RGB:
    """Show where a prediction is wrong, in red over the grey image; ignored pixels are black."""
    values, found = (part.cpu().numpy() if isinstance(part, Tensor) else part for part in (labels, prediction))
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB")).copy()
    grey[values == IGNORE] = 0
    wrong = (values != IGNORE) & (values != found)
    grey[wrong] = (0.35 * grey[wrong] + 0.65 * np.array((230, 20, 20))).astype(np.uint8)
    return grey
