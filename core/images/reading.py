"""From stored pictures to pixels: the one place where the files of images and of labels are decoded.

What a picture is, whoever reads it (a folder, the Hub, the papers' data sets, prediction):

    turned      as its EXIF orientation says, as viewers show it; labels likewise, and sizes are compared after
    8 bits      images become RGB of 8 bits; 16 bits are divided by 257, so that 0..65535 becomes 0..255
    refused     images of 32 bits or floats: nothing says which of their values is black and which is white
    alpha       left away: the colour that is stored counts, also where it is transparent
    frames      of an animation or a file of several pages, the first; labels must have a single one
    labels      whole numbers of one channel; never JPEG, whose compression changes them

Every error names the file, what was found, what is allowed and what to do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageFile, UnidentifiedImageError

ENDINGS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg"),
    *(".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
"""How the names of image files end, in small or capital letters."""

LIMIT = "MAX_IMAGE_PIXELS"
"""The environment variable that raises the number of pixels an image may have."""

if os.environ.get(LIMIT, "").isdecimal():
    Image.MAX_IMAGE_PIXELS = int(os.environ[LIMIT])

STREET = Path(__file__).parent / "street" / "street.webp"
"""A frame of CamVid: a photograph for those who have none at hand."""

ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

PHOTOMETRIC = 262
"""The tag of a TIFF that says what its numbers mean; 0: white is 0."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of each orientation upright."""

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Embedded:
    """An image that is not a file of its own, such as a row of a table: its bytes, and what errors call it."""

    content: bytes = field(repr=False)
    name: str

    def __str__(self) -> str:
        return self.name

    def open(self, mode: Literal["rb"]) -> BytesIO:
        """Open it as a file is opened."""
        return BytesIO(self.content)


Source = Path | Embedded
"""Where an image is stored; `str(source)` is what errors call it."""


class Header(NamedTuple):
    """What is known of a picture: width and height as shown, 16 bits, transparency, an orientation.

    And, once it was decoded, whether it is nearly black in 8 bits.
    """

    width: int
    height: int
    deep: bool
    transparent: bool
    turned: bool = False
    dark: bool = False


def header(source: Source) -> Header:
    """Look at the beginning of an image.

    Raises:
        ValueError: if it can't be read as an image, or has too many pixels.
    """
    with _opened(source) as picture:
        width, height = picture.size
        # Pillow turns a TIFF, its size included, and would decode a whole PNG to look for its orientation.
        stored = "exif" in picture.info if picture.format == "PNG" else picture.format != "TIFF"
        turn = orientation(picture) if stored else 1
        if turn >= 5:
            width, height = height, width
        transparent = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
        return Header(width, height, picture.mode in SIXTEEN_BITS, transparent, turn > 1)


def read_image(source: Source) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image to upright RGB of 8 bits.

    Raises:
        ValueError: if it can't be read, is damaged, has too many pixels, or values that have no rule.
    """
    with _opened(source) as picture:
        return np.array(_rgb(source, picture))


def open_rgb(source: Source) -> Image.Image:
    """Decode an image as `read_image` does, to a picture of PIL."""
    with _opened(source) as picture:
        return _rgb(source, picture)


def open_upright(source: Source) -> Image.Image:
    """Decode an image to a picture of PIL that is upright, with the channels that are stored.

    Raises:
        ValueError: if it can't be read, is damaged, or has too many pixels.
    """
    with _opened(source) as picture:
        return _turned(source, picture).copy()


def upright_rgb(picture: Image.Image, name: str = "the image") -> Image.Image:
    """Bring an opened picture to upright RGB of 8 bits by the rules above.

    Raises:
        ValueError: as `read_image`.
    """
    return _rgb(Embedded(b"", str(getattr(picture, "filename", "") or name)), picture)


def read_labels(source: Source) -> Integer[np.ndarray, "h w"]:
    """Decode labels: upright, the values as they are stored; palette files give their indices.

    Raises:
        ValueError: if the file can't be read, is damaged, is not lossless, or does not hold a whole number per pixel.
    """
    values, mode = _as_stored(source)
    if values.ndim != 2:
        equal = (values == values[..., :1]).all() if mode == "RGB" else False
        how = "all three are equal: save one of them" if equal else "convert colours to indices first"
        if mode in ("LA", "PA"):
            how = "save it without transparency"
        raise ValueError(
            f"{source} has {values.shape[2]} channels ({mode}); labels are one class index per pixel, as 8-bit or "
            f"16-bit grey or palette images: {how}"
        )
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise ValueError(
                f"{source} holds floating-point values that are no whole numbers; labels are one class index per "
                "pixel: save them as 8-bit grey"
            )
        values = values.astype(np.int64)
    return values.astype(np.uint8) if values.dtype == bool else values


def read_coded_labels(source: Source) -> UInt8[np.ndarray, "h w 3"]:
    """Decode labels that a data set writes as colours of 8 bits: upright, the colours as they are stored.

    Raises:
        ValueError: if the file can't be read, is damaged, is not lossless, or has not three channels.
    """
    values, mode = _as_stored(source)
    if mode != "RGB":
        raise ValueError(
            f"{source} has the colour mode {mode}, where labels are written as RGB of 8 bits; fetch it again"
        )
    return values


def _as_stored(source: Source) -> tuple[np.ndarray, str]:
    """The values of a file of labels, upright, and its mode; refuses what may have changed them."""
    with _opened(source) as picture:
        kind, mode = picture.format, picture.mode
        if kind == "TIFF" and picture.info.get("compression") in ("jpeg", "tiff_jpeg"):
            kind = "TIFF with JPEG inside"
        if kind in ("JPEG", "MPO", "JPEG2000", "TIFF with JPEG inside"):
            raise ValueError(
                f"{source} is a {kind}, whose compression changes class indices; labels need a lossless format: "
                "export them from their source again, as PNG"
            )
        if getattr(picture, "n_frames", 1) > 1:
            raise ValueError(f"{source} has {picture.n_frames} frames; labels are a single one: save it as PNG")  # type: ignore[attr-defined]
        return np.asarray(_turned(source, picture)), mode


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation of an opened picture, 1 to 8; 1 if there is none, or none that can be read."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # each kind of damage has its own; the pixels are whole, and viewers show them as they are
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def missing(source: Path, kind: str = "image") -> str:
    """Why there is no such file, in a sentence."""
    if os.path.islink(source):  # False also of a name that is too long
        return f"{source} is a link that leads nowhere ({os.readlink(source)})"
    if os.path.isdir(source):
        return f"{source} is a folder; give one of the files in it"
    if source.parts and source.parts[0] in ("http:", "https:"):
        address = f"{source.parts[0]}//{'/'.join(source.parts[1:])}"  # a path loses the second slash
        return f"{address} is an address, which is not read; download the file and pass its path"
    return f"there is no {kind} file {source}"


@contextmanager
def _opened(source: Source) -> Iterator[Image.Image]:
    """Open an image, say in a sentence why it can't be read, and close it."""
    try:
        picture = Image.open(source if isinstance(source, Path) else source.open("rb"))
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(source, error)) from error
    except Exception as error:  # plugins of PIL have many
        raise ValueError(f"{source} can't be read as an image: {_unreadable(source, error)}") from error
    with picture:
        yield picture


def _too_large(source: Source, error: object) -> str:
    return (
        f"{source} has too many pixels ({error}); cut it into tiles, or set the environment variable {LIMIT} to the "
        "number of pixels that you allow"
    )


def _unreadable(source: Source, error: Exception) -> str:
    """Why a file is no image, and what to do."""
    if isinstance(source, Path) and not os.path.isfile(source):
        return missing(source)
    if isinstance(error, PermissionError):
        return "its permissions do not let you; change them"
    begin = beginning(source)
    if not begin:
        return "it is empty; fetch it again or remove it"
    if begin.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; fetch the file with `git lfs pull`"
    if isinstance(error, UnidentifiedImageError):
        formats = "PNG and JPEG, TIFF of 8 or 16 bits, WebP, BMP, PPM, GIF"
        return f"its format is none of those that are read (among them {formats}); convert, replace or remove it"
    return f"{error}; replace or remove it"


def beginning(source: Source) -> bytes:
    """The first bytes of an image; none if there is no such file."""
    if isinstance(source, Path) and not os.path.isfile(source):
        return b""
    with source.open("rb") as opened:
        return opened.read(64)


def refuse_too_large(source: Source, pixels: int) -> None:
    """Refuse as many pixels as PIL refuses of a picture.

    Raises:
        ValueError: if there are more.
    """
    if Image.MAX_IMAGE_PIXELS is not None and pixels > 2 * Image.MAX_IMAGE_PIXELS:
        raise ValueError(_too_large(source, f"{pixels}"))


def _turned(source: Source, picture: Image.Image) -> Image.Image:
    """Decode and turn an opened picture."""
    try:
        if isinstance(picture, ImageFile.ImageFile) and picture.format == "TIFF":
            picture.filename = ""  # or Pillow maps the file with the sides of the turned picture, and scrambles it
        picture.load()
        turn = None if picture.format == "TIFF" else TURNS.get(orientation(picture))  # Pillow turns a TIFF by itself
        return picture if turn is None else picture.transpose(turn)
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(source, error)) from error
    except Exception as error:
        raise ValueError(f"{source} is damaged ({error or type(error).__name__}); fetch it again") from error


def eight_bits(values: Integer[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Values of 16 bits divided by 257 and rounded."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _rgb(source: Source, picture: Image.Image) -> Image.Image:
    kind, upright = picture.format, _turned(source, picture)
    mode = upright.mode
    if mode in SIXTEEN_BITS or (mode == "I" and kind in ("PNG", "PPM")):  # Pillow's form of their 16 bits
        values = np.asarray(upright)
        if kind == "TIFF" and picture.tag_v2.get(PHOTOMETRIC) == 0:  # type: ignore[attr-defined]
            values = 65535 - values  # 0 is white there, which Pillow heeds for 8 bits only
        return Image.fromarray(eight_bits(values)).convert("RGB")
    if mode in ("I", "F"):
        low, high = upright.getextrema()
        raise ValueError(
            f"{source} has values of 32 bits, from {low} to {high}, and nothing says which is black and which is "
            "white; images need 8 or 16 bits: convert it to 8 bits with the limits that you choose"
        )
    try:
        if mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")
        return upright.convert("RGB")
    except ValueError as error:
        raise ValueError(f"{source} has the colour mode {mode} ({error}); save it as RGB") from error
