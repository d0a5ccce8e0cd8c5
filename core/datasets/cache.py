"""From stored files to pixels: decoded at each look, or once, into a folder of raw pixels (`--run.cache DIR`).

Decoding a PNG of 2048 x 1024 pixels takes longer than everything else that a training sample needs. A cache holds the
decoded images, and the labels as classes, uncompressed: 4 bytes for each pixel of a pair. They are mapped into memory,
so a crop reads its own part only.

    CACHE/ab/ab3f....npy        h w 3 (image) or h w (labels), 8 bits

The name of a file is a digest of what it was made from: the path, size and time of change of the image file (or its
bytes, where a data set embeds them), and for labels also the mapping to classes. A file that was changed therefore has
another name, and an old entry is never taken for a new one; entries that nothing names any more are safe to remove.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from core.datasets.samples import Pairs, stored
from core.images.classes import IGNORE

LAYOUT = 1
"""Part of every name; another number makes all entries anew."""


class Pixels:
    """The pixels of a data set, by row: images in RGB and labels as classes, 255 where ignored or not public.

    Args:
        pairs: the data set.
        cache: the folder of decoded pixels, made and filled as rows are looked at; None decodes at each look.

    Raises:
        ValueError: if the cache can't be a folder.
    """

    def __init__(self, pairs: Pairs, cache: Path | None = None) -> None:
        self.pairs, self.cache, self.lookup = pairs, cache, pairs.lookup()
        self.labelled = "labels" in pairs.rows.column_names
        names = ("image", "labels") if self.labelled else ("image",)
        self.columns = {name: pairs.rows.select_columns([name]) for name in names}
        if cache is None:
            return
        if cache.exists() and not cache.is_dir():
            raise ValueError(f"the cache {cache} is a file; pass a folder, which is made if it is not there")
        self.stored = {name: stored(column) for name, column in self.columns.items()}
        self.mapping = hashlib.blake2b(self.lookup.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """The image of a row, as its own memory or as a private map of its cached file."""
        return self._pixels("image", index, lambda: np.array(self.columns["image"][index]["image"].convert("RGB")))

    def labels(self, index: int) -> UInt8[np.ndarray, "h w"]:
        """The classes of a row, at the size of its image."""
        if not self.labelled:
            return self.pair(index)[1]
        return self._pixels("labels", index, lambda: self.lookup.take(self.columns["labels"][index]["labels"]))

    def pair(self, index: int) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """Both, each file looked at once."""
        image = self.image(index)
        return image, self.labels(index) if self.labelled else np.full(image.shape[:2], IGNORE, dtype=np.uint8)

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
            return sum(tqdm(sizes, "decoding", len(self), unit="pair", disable=quiet or None, leave=False))

    def _pixels(self, column: str, index: int, decode: Callable[[], np.ndarray]) -> np.ndarray:
        if self.cache is None:
            return decode()
        name = self._name(column, index)
        path = self.cache / name[:2] / f"{name}.npy"
        if not path.is_file():
            _write(path, decode())
        return np.load(path, mmap_mode="c")  # writable for torch, but what is written stays in memory

    def _name(self, column: str, index: int) -> str:
        """What a cached file is called: a digest of everything that decides its pixels."""
        file = self.stored[column][index][column]
        digest = hashlib.blake2b(digest_size=20)
        mapping = self.mapping if column == "labels" else ""
        digest.update(f"{LAYOUT} {column} {mapping} ".encode())
        if file["bytes"]:
            digest.update(file["bytes"])
        else:
            state = os.stat(file["path"])
            digest.update(f"{os.path.abspath(file['path'])} {state.st_size} {state.st_mtime_ns}".encode())
        return digest.hexdigest()


def _write(path: Path, pixels: np.ndarray) -> None:
    """Write pixels in one piece; of several processes or threads that write the same file, the last one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}-{threading.get_ident()}.part")
    with aside.open("wb") as file:
        np.save(file, pixels)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
