"""Your own images: any folder of images beside a folder of labels.

DIR/classes.txt                 one class per line, in the order of the labels: `name`, `index name`,
                                or `index name red green blue`; a line for 255 is allowed and skipped
DIR/train/images/NAME.jpg       any format that PIL reads
DIR/train/labels/NAME.png       one class index per pixel, 255 = ignored; 8-bit or 16-bit grey, or palette
DIR/val/images, DIR/val/labels  and so on for test or any other split

`prepare` brings 16-bit labels to 8 bits, in a folder of their own that is then the DIR to pass.
"""

import re
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from core.datasets.about import About
from core.datasets.prepare import Decoding, Plan, manifest, prepared, prepared_rows
from core.datasets.samples import Pairs, from_files, plain_mapping
from core.datasets.sets.matlab import small
from core.images.classes import IGNORE, Classes

NAME = "folder"

ABOUT = About("your own images and labels", "the folder is yours", prepare="16-bit labels")

_LINE = re.compile(r"(?:(?P<index>\d+)\s+)?(?P<name>\S.*?)(?:\s+(?P<colour>\d+\s+\d+\s+\d+))?")


def read(folder: Path, split: str) -> Pairs:
    """Read a split of a folder laid out as above.

    Raises:
        ValueError: if the class list or the split is missing, or images and labels do not pair up by name.
    """
    classes = read_classes(folder / "classes.txt")
    rows = prepared_rows(folder, split) if prepared(folder, NAME) == folder else read_split(folder, split)
    return Pairs(rows, classes, plain_mapping(classes))


def splits(folder: Path) -> tuple[str, ...]:
    """The names of the splits that a folder has."""
    if prepared(folder, NAME) == folder:
        return tuple(split for split, pairs in manifest(folder)["splits"].items() if pairs)
    return tuple(sorted(path.parent.name for path in folder.glob("*/images")))


def plan(folder: Path) -> Plan:
    """What `prepare` does: every label file with 8 bits.

    Raises:
        ValueError: as `read`.
    """
    read_classes(folder / "classes.txt")
    return Plan(
        NAME,
        folder,
        {split: _decodings(folder, split) for split in splits(folder)},
        copied=(folder / "classes.txt",),
    )


def decode(file: Path) -> np.ndarray:
    """The labels of an image file with 8 or 16 bits.

    Raises:
        ValueError: if it has more than one channel, or values over 255.
    """
    with Image.open(file) as opened:
        values = np.asarray(opened)
    if values.ndim != 2:
        raise ValueError(f"has {values.shape[2:]} channels; labels are one class index per pixel")
    return small(values)


def _decodings(folder: Path, split: str) -> list[tuple[Path, Path | Decoding]]:
    return [
        (image, Decoding(f"{split}-{labels.stem}", labels, decode, labels)) for image, labels in _files(folder, split)
    ]


def read_split(folder: Path, split: str) -> datasets.Dataset:
    """Pair `folder/split/images` with `folder/split/labels` by file name without ending.

    Raises:
        ValueError: if a folder is missing or empty, or a file has no partner.
    """
    return from_files(*zip(*_files(folder, split), strict=True))


def _files(folder: Path, split: str) -> list[tuple[Path, Path]]:
    images, labels = folder / split / "images", folder / split / "labels"
    for needed in (images, labels):
        if not needed.is_dir():
            there = splits(folder)
            raise ValueError(
                f"there is no folder {needed}; expected {split}/images and {split}/labels in {folder}, "
                f"which has the splits: {', '.join(there) or 'none'}"
            )
    image_files, label_files = _by_name(images), _by_name(labels)
    alone = sorted(image_files.keys() ^ label_files.keys())
    if alone:
        side = "labels" if alone[0] in image_files else "image"
        raise ValueError(
            f"{len(alone)} files of {folder / split} have no partner: {alone[0]!r} has no {side}; "
            "images and labels pair up by file name without ending"
        )
    if not image_files:
        raise ValueError(f"{images} holds no files; put the images there")
    return [(image_files[name], label_files[name]) for name in sorted(image_files)]


def _by_name(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}


def read_classes(file: Path) -> Classes:
    """Read a class list.

    Raises:
        ValueError: if the file is missing or a line does not have one of the three forms.
    """
    if not file.is_file():
        raise ValueError(f"there is no class list {file}; write one class name per line, in the order of the labels")
    names: list[str] = []
    palette: list[tuple[int, int, int]] = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        match = _LINE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"line {number} of {file} is {text!r}; expected 'name' or 'index name red green blue'")
        index, colour = match["index"], match["colour"]
        if index is not None and int(index) == IGNORE:
            continue
        if index is not None and int(index) != len(names):
            raise ValueError(f"line {number} of {file} has index {index}, expected {len(names)}: labels count from 0")
        names.append(match["name"])
        if colour is not None:
            red, green, blue = (int(part) for part in colour.split())
            palette.append((red, green, blue))
    return Classes(tuple(names), tuple(palette)) if palette else Classes.coloured(names)
