"""From stored files to pixels: decoded at each look, or once, into a folder of raw pixels (`--run.cache DIR`).

Decoding a PNG of 2048 x 1024 pixels takes longer than everything else that a training sample needs. A cache holds the
decoded images, and the labels as classes, uncompressed: 4 bytes for each pixel of a pair. They are mapped into memory,
so a crop reads its own part only.

    CACHE/ab/ab3f....npy        h w c (image) or h w (labels), 8 bits

The name of a file is a digest of what it was made from: the path, size and time of change of the image file (or its
bytes, where a data set embeds them), and for labels also the mapping to classes. A file that was changed therefore has
another name, and an old entry is never taken for a new one; entries that nothing names any more are safe to remove.
A checksum over the name and the pixels ends each file, and each process compares it at its first look: what is damaged,
or was put there from elsewhere, is made again.
"""

import hashlib
import io
import logging
import mmap
import os
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from core.datasets.samples import Pair, Pairs, labels_of, refuse_other_size, refuse_other_values
from core.files import make_folder, said_if_unwritable
from core.images.bands import read_channels
from core.images.classes import IGNORE
from core.images.reading import Embedded, Source
from core.progress import progress

LAYOUT = 2
"""Part of every name; another number makes all entries again."""


class Pixels:
    """The pixels of a data set, by row: images in RGB or with other channels, and labels as classes.

    Labels are 255 where ignored or not public.

    Args:
        pairs: the data set.
        cache: the folder of decoded pixels, made and filled as rows are looked at; None decodes at each look.
        channels: of the images.

    Raises:
        ValueError: if the cache can't be a folder.
    """

    def __init__(self, pairs: Pairs, cache: Path | None = None, channels: int = 3) -> None:
        self.pairs, self.cache, self.channels, self.lookup = pairs, cache, channels, pairs.lookup()
        self.layouts: dict[str, Layout] = {}  # of the files that were found sound
        self.allowed = np.isin(np.arange(2**16), list(pairs.mapping))
        self.mapping = hashlib.blake2b(self.lookup.tobytes()).hexdigest()
        if cache is not None and cache.exists() and not cache.is_dir():
            raise ValueError(f"the cache {cache} is a file; pass a folder, which is made if it is not there")

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        """The image of a row, as its own memory or as a private map of its cached file."""
        return self._image(self.pairs.rows[index])

    def labels(self, index: int) -> UInt8[np.ndarray, "h w"]:
        """The classes of a row, at the size of its image."""
        return self.pair(index)[1] if not self.pairs.labelled else self._labels(self.pairs.rows[index])

    def pair(self, index: int) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """Both, each file looked at once.

        Raises:
            ValueError: if a file is damaged or was changed: another size, or values that are no class.
        """
        row = self.pairs.rows[index]
        image = self._image(row)
        if not self.pairs.labelled:
            return image, np.full(image.shape[:2], IGNORE, dtype=np.uint8)
        labels = self._labels(row)
        refuse_other_size(row, image.shape[:2], labels)
        return image, labels

    def fill(self, quiet: bool = False) -> int:
        """Put every row into the cache, and return the bytes that it takes; what is there already stays.

        Raises:
            ValueError: if there is no cache.
        """
        if self.cache is None:
            raise ValueError("there is no cache to fill; pass its folder")

        def both(index: int) -> int:
            return sum(pixels.nbytes for pixels in self.pair(index))

        with ThreadPoolExecutor() as pool:
            sizes = pool.map(both, range(len(self)))
            return sum(progress(sizes, "decoding", len(self), "pair", quiet))

    def _image(self, row: Pair) -> np.ndarray:
        kind = "" if self.channels == 3 else f"{self.channels} channels"
        return self._pixels(row.image, kind, lambda: read_channels(row.image, self.channels))

    def _labels(self, row: Pair) -> np.ndarray:
        def decode() -> np.ndarray:
            values = labels_of(row)
            if values.dtype.kind != "u" or not self.allowed.take(values).all():
                refuse_other_values(row, values, self.pairs.mapping)
            return self.lookup.take(values)

        return self._pixels(row.labels or row.image, self.mapping, decode)

    def _pixels(self, source: Source, mapping: str, decode: Callable[[], np.ndarray]) -> np.ndarray:
        if self.cache is None:
            return decode()
        name = _name(source, mapping)
        path = self.cache / name[:2] / f"{name}.npy"
        if name in self.layouts:
            try:
                return _mapped(path, self.layouts[name])
            except (OSError, ValueError, TypeError):  # it was removed or cut since; look at it again
                pass
        if path.is_file() and not _is_sound(path, name):
            logging.getLogger(__name__).warning("%s is damaged or of another image; it is made again", path)
            path.unlink(missing_ok=True)
        if not path.is_file():
            _write(path, decode(), name)
        self.layouts[name] = _layout(path)
        return _mapped(path, self.layouts[name])


class Layout(NamedTuple):
    """How pixels lie in a cached file: where they begin, in bytes, their shape and their order."""

    offset: int
    shape: tuple[int, ...]
    order: Literal["C", "F"]


def _layout(path: Path) -> Layout:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, columns_first, _ = np.lib.format.read_array_header_1_0(file)
        return Layout(file.tell(), shape, "F" if columns_first else "C")


def _mapped(path: Path, layout: Layout) -> np.ndarray:
    """A private map of a cached file: writable for torch, but what is written stays in memory.

    Without a look at the header, which takes ten times as long.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.ndarray(layout.shape, np.uint8, content, layout.offset, order=layout.order)


def _name(source: Source, mapping: str) -> str:
    """What a cached file is called: a digest of everything that decides its pixels; labels have a mapping."""
    digest = hashlib.blake2b(digest_size=20)
    digest.update(f"{LAYOUT} {mapping} ".encode())
    if isinstance(source, Embedded):
        digest.update(source.content)
    else:
        state = os.stat(source)
        digest.update(f"{os.path.abspath(source)} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


def _write(path: Path, pixels: np.ndarray, name: str) -> None:
    """Write pixels in one piece; of several processes or threads that write the same file, the last one wins."""
    make_folder(path.parent)
    content = io.BytesIO()
    np.save(content, pixels)
    aside = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.part")
    with said_if_unwritable(path, len(content.getbuffer())):
        try:
            with aside.open("wb") as file:
                file.write(content.getbuffer())
                file.write(_checksum(content.getbuffer(), name))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        try:
            os.replace(aside, path)
        except PermissionError:
            if not (path.is_file() and _is_sound(path, name)):
                raise
            aside.unlink()  # on Windows, what another process has mapped can't be replaced; it is the same


def _checksum(content: memoryview, name: str) -> bytes:
    """What stands at the end of a cached file: a sum over its name and all that stands before."""
    return zlib.crc32(content, zlib.crc32(name.encode())).to_bytes(4, "little")


def _is_sound(path: Path, name: str) -> bool:
    """Return True if a cached file is whole and was made under this name."""
    content = memoryview(path.read_bytes())
    return bytes(content[-4:]) == _checksum(content[:-4], name)
