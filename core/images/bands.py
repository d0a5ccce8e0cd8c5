"""Images of any number of channels: NumPy arrays (.npy, h w c or h w) and TIFF files of several bands.

Their values become 8 bits by the rules of `core.images.reading`: 16 bits are divided by 257, other numbers are refused.
Sensors that use a part of their 16 bits only lose levels by it: stretch such images to 8 bits yourself.

A picture (PNG, JPEG, ...) is RGB for a network of three channels and grey for one of a single channel; for others it
must have as many channels as the network, such as RGBA for four.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tifffile
from jaxtyping import UInt8
from PIL import Image

from core.errors import require
from core.images.reading import (
    Header,
    Source,
    beginning,
    eight_bits,
    header,
    open_rgb,
    open_upright,
    read_image,
    refuse_too_large,
)

NUMPY = b"\x93NUMPY"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How such files begin."""


def read_channels(source: Source, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """Decode an image for a network that takes so many channels.

    Raises:
        ValueError: if it can't be read, is damaged, has too many pixels, other channels, or values that have no rule.
    """
    size = size_of_bands(source, channels)
    if size is None:
        return _of_picture(source, channels)
    require(size[2] == channels, _other_channels(source, size[2], channels))
    return read_bands(source)


def read_bands(source: Source) -> UInt8[np.ndarray, "h w c"]:
    """Decode a .npy file or a TIFF of several bands, with all its channels.

    Raises:
        ValueError: as `read_channels`.
    """
    with _said(source), source.open("rb") as file:
        values = np.load(file, allow_pickle=False) if beginning(source).startswith(NUMPY) else _of_tiff(file)
    values = values[..., None] if values.ndim == 2 else values
    if values.dtype == np.uint16:
        return eight_bits(values)
    require(
        values.dtype == np.uint8,
        f"{source} has values of the kind {values.dtype}, and nothing says which is the darkest and which the "
        "brightest; images need 8 or 16 bits without a sign: convert it to 8 bits with the limits that you choose",
    )
    return np.ascontiguousarray(values)


def size_of_bands(source: Source, channels: int = 3) -> tuple[int, int, int] | None:
    """Height, width and channels of a .npy file or of a TIFF of several bands; None for a picture.

    A TIFF of four bands counts as a picture with transparency, unless it is for a network of four channels.

    Raises:
        ValueError: if it is damaged, has too many pixels, or is no image.
    """
    begin = beginning(source)
    if begin.startswith(NUMPY):
        with _said(source), source.open("rb") as file:
            shape: tuple[int, ...] = _shape_of_array(file)
    elif begin.startswith(TIFF):
        with _said(source), source.open("rb") as file, tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages[0]
            shape = page.imagelength, page.imagewidth, page.samplesperpixel
        if shape[2] in (1, 3) or (shape[2] == 4 and channels != 4):
            return None
    else:
        return None
    require(len(shape) in (2, 3) and min(shape) > 0, f"{source} has the size {shape}; images are h w or h w c")
    height, width, found = (*shape, 1)[:3]
    refuse_too_large(source, height * width)
    return height, width, found


def header_of(source: Source) -> Header:
    """Look at the beginning of an image of any kind.

    Raises:
        ValueError: if it can't be read as an image, or has too many pixels.
    """
    size = size_of_bands(source)
    if size is None:
        try:
            return header(source)
        except ValueError:
            size = size_of_bands(source, channels=4)  # bands that are no colours and transparency
            if size is None:
                raise
    return Header(size[1], size[0], deep=False, transparent=False)


def example(channels: int) -> str:
    """The name of an image that a network of so many channels may be given."""
    return "photo.jpg" if channels in (1, 3) else "image.npy"


def taken(channels: int) -> str:
    """Say what a network of so many channels takes for an image; nothing of one that takes photographs."""
    if channels == 3:
        return ""
    if channels == 1:
        return "It takes grey images: `predict` makes pictures grey, and takes arrays h w in 8 or 16 bits."
    return (
        f"It takes images of {channels} channels, in the order of those that it was trained on: `predict` reads .npy "
        f"files h w {channels} and TIFF files of {channels} bands, in 8 bits or in 16, which are divided by 257, "
        f"pictures that have as many channels, and takes arrays h w {channels} in 8 bits."
    )


def shown(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w 3"]:
    """What is shown of an image: its first three channels as red, green and blue, or its first one as grey."""
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)


def read_shown(source: Source) -> UInt8[np.ndarray, "h w 3"]:
    """Decode what is shown of an image of any kind.

    Raises:
        ValueError: as `read_channels`.
    """
    return read_image(source) if size_of_bands(source) is None else shown(read_bands(source))


def of_picture(picture: Image.Image, channels: int, name: object = "the image") -> UInt8[np.ndarray, "h w c"]:
    """The channels of an upright picture of PIL for a network that takes so many of them; not for RGB.

    Raises:
        ValueError: if it has others.
    """
    values = np.array(picture.convert("L") if channels == 1 else picture)
    found = values.shape[2] if values.ndim == 3 else 1
    require(found == channels and values.dtype == np.uint8, _other_channels(name, found, channels))
    return values.reshape(*values.shape[:2], channels)


def _of_picture(source: Source, channels: int) -> np.ndarray:
    if channels == 3:
        return read_image(source)
    return of_picture(open_rgb(source) if channels == 1 else open_upright(source), channels, source)


def _other_channels(source: object, found: int, channels: int) -> str:
    return (
        f"{source} has {found} channels, and the network takes {channels}; train one with "
        f"--recipe.architecture.backbone.in-channels {found}, or choose channels of the image"
    )


def _shape_of_array(file: Any) -> tuple[int, ...]:
    """The shape of a .npy file, from its header."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[0]


def _of_tiff(file: Any) -> np.ndarray:
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        values = page.asarray()
        return np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values


@contextmanager
def _said(source: Source) -> Iterator[None]:
    """Say in a sentence that a file is damaged."""
    try:
        yield
    except Exception as error:  # both libraries have many, and tifffile misses codecs of a package of its own
        codecs = "; pip install imagecodecs reads such compression" if "imagecodecs" in str(error) else ""
        raise ValueError(f"{source} can't be read as an image: {error}{codecs}") from error
