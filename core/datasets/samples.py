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

from core.images.classes import IGNORE, Classes


@dataclass(frozen=True)
class Pairs:
    """A data set that can be trained on.

    `rows` is a Hugging Face `datasets.Dataset` with columns `image` and `labels`, both decoded when they are looked
    at; without `labels` where these are not public, as in some test sets. `mapping` takes a value found in a label file
    to a class, or to 255 = ignored; any other value is an error.
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


def from_files(images: Iterable[Path], labels: Iterable[Path] | None) -> datasets.Dataset:
    """A table of image and label files, decoded lazily; labels keep their indices, also in palette files.

    With None the labels are not public, and there is no such column.

    Raises:
        ValueError: naming the first file that is missing.
    """
    columns = {"image": [str(path) for path in images]}
    if labels is not None:
        columns["labels"] = [str(path) for path in labels]
    for name, paths in columns.items():
        for path in paths:
            if not Path(path).is_file():
                raise ValueError(f"there is no {name} file {path}; every image needs its labels under the same name")
    features = datasets.Features({name: datasets.Image() for name in columns})
    return datasets.Dataset.from_dict(columns, features=features)


def stored(rows: datasets.Dataset) -> datasets.Dataset:
    """The rows with each image as it is stored, {"path", "bytes"}, instead of decoded."""
    for name in rows.column_names:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def refuse_wrong_labels(pairs: Pairs, part: range | None = None, quiet: bool = False) -> None:
    """Look at every label file before anything is trained: sizes, kinds and values.

    Args:
        pairs: what to check.
        part: the rows to look at; None looks at all of them.
        quiet: no progress bar.

    Raises:
        ValueError: naming the file, what is wrong with it, and what is allowed.
    """
    rows = stored(pairs.rows)

    def look(index: int) -> None:
        row = rows[index]
        examine(row, title(row, index), pairs.mapping)

    indices = part if part is not None else range(len(rows))
    with ThreadPoolExecutor() as pool:
        results = pool.map(look, indices)
        for _ in tqdm(results, "checking labels", len(indices), unit="file", disable=quiet or None, leave=False):
            pass


def title(row: Mapping[str, Any], index: int) -> str:
    """What a row is called: its label file, or its number."""
    return row.get("labels", row["image"])["path"] or f"row {index}"


def examine(
    row: Mapping[str, Any], named: str, mapping: Mapping[int, int], whole: bool = False
) -> tuple[tuple[int, int], np.ndarray | None]:
    """Look at a stored row.

    Args:
        row: the image, and the labels if they are public, as `stored` gives them.
        named: what errors call it.
        mapping: the allowed values.
        whole: decode the image too, not its size only.

    Returns:
        width and height, and the values of the labels, h w.

    Raises:
        ValueError: naming the file, what is wrong with it, and what is allowed.
    """
    with _open(row["image"], named) as opened:
        size = opened.size
        if whole:
            _decoded(opened, row["image"]["path"] or f"the image of {named}")
    if "labels" not in row:
        return size, None
    with _open(row["labels"], named) as opened:
        values = _decoded(opened, named)
    if values.ndim != 2:
        raise ValueError(
            f"{named} has {values.shape[2:]} channels; labels are one class index per pixel, as 8-bit or 16-bit grey "
            "or palette images: convert colours to indices first"
        )
    if values.shape != size[::-1]:
        raise ValueError(
            f"{named} is {values.shape[1]} x {values.shape[0]} pixels but its image is {size[0]} x {size[1]}; "
            "labels need the size of their image"
        )
    if values.dtype.kind not in "ub" and (values.min() < 0 or values.max() >= 2**16):
        raise ValueError(f"{named} holds values from {values.min()} to {values.max()}; labels are 0 to 65535")
    found = np.flatnonzero(np.bincount(values.ravel())) if values.dtype.kind == "u" else np.unique(values)
    wrong = sorted(set(found.tolist()) - mapping.keys())
    if wrong:
        allowed = _ranges(np.array(sorted(mapping)))
        raise ValueError(
            f"{named} holds the value {', '.join(map(str, wrong[:8]))}; allowed are {allowed} ({IGNORE} = ignored): "
            "correct the file or the class list"
        )
    return size, values


def _open(file: Mapping[str, Any], named: str) -> Image.Image:
    try:
        return Image.open(BytesIO(file["bytes"]) if file["bytes"] else file["path"])
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(
            f"{file['path'] or named} can't be read as an image ({error}); replace or remove it"
        ) from error


def _decoded(opened: Image.Image, named: str) -> np.ndarray:
    try:
        return np.asarray(opened)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{named} is damaged ({error}); fetch it again") from error


def _ranges(values: np.ndarray) -> str:
    """Write 0, 1, 2, 255 as '0..2, 255'."""
    breaks = np.flatnonzero(np.diff(values) > 1) + 1
    runs = np.split(values, breaks)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
