"""Pairs of an image and its labels: what every reader gives, and the check that they can be trained on."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from core.classes import IGNORE, Classes


@dataclass(frozen=True)
class Pairs:
    """A data set that can be trained on.

    `rows` is a Hugging Face `datasets.Dataset` with columns `image` and `labels`, both decoded when they are looked
    at. `mapping` takes a value found in a label file to a class, or to 255 = ignored; any other value is an error.
    """

    rows: datasets.Dataset
    classes: Classes
    mapping: Mapping[int, int]

    def __len__(self) -> int:
        return len(self.rows)

    def lookup(self) -> np.ndarray:
        """The mapping as a table: `lookup()[value]` is the class, for 8-bit or 16-bit labels alike."""
        table = np.full(2**16, IGNORE, dtype=np.uint8)
        for value, label in self.mapping.items():
            table[value] = label
        return table


def plain_mapping(classes: Classes) -> dict[int, int]:
    """Labels that are already what is trained on: each class is itself and 255 is ignored."""
    return {**{label: label for label in range(len(classes))}, IGNORE: IGNORE}


def from_files(images: Iterable[Path], labels: Iterable[Path]) -> datasets.Dataset:
    """A table of image and label files, decoded lazily; labels keep their indices, also in palette files.

    Raises:
        ValueError: naming the first file that is missing.
    """
    columns = {"image": [str(path) for path in images], "labels": [str(path) for path in labels]}
    for name, paths in columns.items():
        for path in paths:
            if not Path(path).is_file():
                raise ValueError(f"there is no {name} file {path}; every image needs its labels under the same name")
    features = datasets.Features(image=datasets.Image(), labels=datasets.Image())
    return datasets.Dataset.from_dict(columns, features=features)


def check(pairs: Pairs, part: range | None = None, quiet: bool = False) -> None:
    """Look at every label file before anything is trained: sizes, kinds and values.

    Args:
        pairs: what to check.
        part: the rows to look at; None looks at all of them.
        quiet: no progress bar.

    Raises:
        ValueError: naming the file, what is wrong with it, and what is allowed.
    """
    raw = pairs.rows.cast_column("image", datasets.Image(decode=False))
    raw = raw.cast_column("labels", datasets.Image(decode=False))
    allowed = np.zeros(2**16, dtype=bool)
    allowed[list(pairs.mapping)] = True

    def look(index: int) -> None:
        row = raw[index]
        _check_pair(_title(row, index), row["image"], row["labels"], allowed)

    indices = part if part is not None else range(len(raw))
    with ThreadPoolExecutor() as pool:
        results = pool.map(look, indices)
        for _ in tqdm(results, "checking labels", len(indices), unit="file", disable=quiet or None, leave=False):
            pass


def _title(row: Mapping[str, Any], index: int) -> str:
    return row["labels"]["path"] or row.get("name") or f"row {index}"


def _open(file: Mapping[str, Any], title: str) -> Image.Image:
    try:
        return Image.open(BytesIO(file["bytes"]) if file["bytes"] else file["path"])
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(
            f"{file['path'] or title} can't be read as an image ({error}); replace or remove it"
        ) from error


def _check_pair(title: str, image: Mapping[str, Any], labels: Mapping[str, Any], allowed: np.ndarray) -> None:
    with _open(image, title) as opened:
        size = opened.size
    with _open(labels, title) as opened:
        try:
            values = np.asarray(opened)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{title} is damaged ({error}); fetch it again") from error
    if values.ndim != 2:
        raise ValueError(
            f"{title} has {values.shape[2:]} channels; labels are one class index per pixel, as 8-bit or 16-bit grey "
            "or palette images: convert colours to indices first"
        )
    if values.shape != size[::-1]:
        raise ValueError(
            f"{title} is {values.shape[1]} x {values.shape[0]} pixels but its image is {size[0]} x {size[1]}; "
            "labels need the size of their image"
        )
    if values.dtype.kind not in "ub" and (values.min() < 0 or values.max() >= 2**16):
        raise ValueError(f"{title} holds values from {values.min()} to {values.max()}; labels are 0 to 65535")
    found = np.unique(values.astype(np.uint16))
    wrong = found[~allowed[found]]
    if wrong.size:
        raise ValueError(
            f"{title} holds the value {', '.join(map(str, wrong[:8]))}; allowed are {_ranges(np.flatnonzero(allowed))} "
            f"({IGNORE} = ignored): correct the file or the class list"
        )


def _ranges(values: np.ndarray) -> str:
    """Write 0, 1, 2, 255 as '0..2, 255'."""
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    runs = np.split(values, breaks)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
