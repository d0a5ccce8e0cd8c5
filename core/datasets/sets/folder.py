"""Your own images: any folder of images beside a folder of labels.

DIR/classes.txt                 one class per line, in the order of the labels: `name`, `index name`, or
                                `index name red green blue`; lines for 255 or that begin with # are skipped; UTF-8
DIR/train/images/NAME.jpg       any image whose name ends as `core.images.reading.ENDINGS` says
DIR/train/labels/NAME.png       one class index per pixel, 255 = ignored; 8-bit or 16-bit grey, or palette
DIR/val/images, DIR/val/labels  and so on for test or any other split

Other files are left out, and `check` lists them. `prepare` brings 16-bit labels to 8 bits, in a folder of their own
that is then the DIR to pass.
"""

import codecs
import re
import unicodedata
from pathlib import Path

import numpy as np

from core import errors
from core.datasets.dataset import DataSet, publishers_own
from core.datasets.prepare import Decoding, Plan, manifest, prepared, prepared_rows
from core.datasets.samples import Pair, Pairs, from_files, plain_mapping
from core.datasets.sets.matlab import small
from core.images.classes import IGNORE, Classes
from core.images.reading import ENDINGS, read_labels

_LINE = re.compile(r"(?:(?P<index>\d+)\s+)?(?P<name>(?!\d+\s*[:;,=]|[{\[])\S.*?)(?:\s+(?P<colour>\d+\s+\d+\s+\d+))?")


def read(folder: Path, split: str) -> Pairs:
    """Read a split of a folder laid out as above.

    Raises:
        ValueError: if the class list or the split is missing, or images and labels do not pair up by name.
    """
    classes = read_classes(folder / "classes.txt")
    mapping = plain_mapping(classes)
    if prepared(folder, DATASET.name) == folder:
        return Pairs(prepared_rows(folder, split), classes, mapping)
    rows, left_out = read_split(folder, split)
    return Pairs(rows, classes, mapping, left_out=left_out)


def splits(folder: Path) -> tuple[str, ...]:
    """The names of the splits that a folder has."""
    if prepared(folder, DATASET.name) == folder:
        return tuple(split for split, pairs in manifest(folder)["splits"].items() if pairs)
    return tuple(sorted(path.parent.name for path in folder.glob("*/images")))


def plan(folder: Path) -> Plan:
    """What `prepare` does: every label file with 8 bits.

    Raises:
        ValueError: as `read`.
    """
    read_classes(folder / "classes.txt")
    return Plan(
        DATASET.name,
        folder,
        {split: _decodings(folder, split) for split in splits(folder)},
        copied=(folder / "classes.txt",),
        found=False,
    )


def decode(file: Path) -> np.ndarray:
    """The labels of an image file with 8 or 16 bits.

    Raises:
        ValueError: if it has more than one channel, or values over 255.
    """
    return small(read_labels(file))


def _decodings(folder: Path, split: str) -> list[tuple[Path, Path | Decoding]]:
    pairs, _ = _files(folder, split)
    return [(image, Decoding(f"{split}-{labels.stem}", labels, decode, labels)) for image, labels in pairs]


def read_split(folder: Path, split: str) -> tuple[list[Pair], tuple[Path, ...]]:
    """Pair `folder/split/images` with `folder/split/labels` by file name without ending; return what was left out too.

    Raises:
        ValueError: if a folder is missing or empty, or a file has no partner or more than one.
    """
    pairs, left_out = _files(folder, split)
    return from_files(*zip(*pairs, strict=True)), left_out


def _files(folder: Path, split: str) -> tuple[list[tuple[Path, Path]], tuple[Path, ...]]:
    images, labels = folder / split / "images", folder / split / "labels"
    for needed in (images, labels):
        if not needed.is_dir():
            raise ValueError(
                f"there is no folder {needed}; expected {split}/images and {split}/labels in {folder}, "
                f"which has the splits: {', '.join(splits(folder)) or 'none'}{_meant(folder)}"
            )
    (image_files, other_images), (label_files, other_labels) = _by_name(images), _by_name(labels)
    left_out = (*other_images, *other_labels)
    alone = sorted(image_files.keys() ^ label_files.keys())
    if alone:
        side = "labels" if alone[0] in image_files else "image"
        others = f"; left out were {errors.listed(path.name for path in left_out)}" if left_out else ""
        raise ValueError(
            f"{len(alone)} files of {folder / split} have no partner: {alone[0]!r} has no {side}; "
            f"images and labels pair up by file name without ending, which is one of {' '.join(ENDINGS)}{others}"
        )
    if not image_files:
        raise ValueError(f"{images} holds no images ({' '.join(ENDINGS)}); put them there")
    return [(image_files[name], label_files[name]) for name in sorted(image_files)], left_out


def _by_name(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The images of a folder by name without ending, in one form of Unicode, and what else lies there."""
    found: dict[str, Path] = {}
    left_out = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in ENDINGS or path.is_dir():
            left_out.append(path)
            continue
        name = unicodedata.normalize("NFC", path.stem)
        if name in found:
            raise ValueError(
                f"{found[name]} and {path} have one name, {name!r}, and images and labels pair up by it; rename or "
                "remove one"
            )
        found[name] = path
    return found, left_out


def _meant(folder: Path) -> str:
    """The folder that was probably meant, where it is not this one."""
    near = [folder.parent, *(sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ())]
    meant = next((path for path in near if (path / "classes.txt").is_file() and any(path.glob("*/images"))), None)
    return f". Did you mean {meant}?" if meant is not None else ""


def read_classes(file: Path) -> Classes:
    """Read a class list.

    Raises:
        ValueError: if the file is missing, not UTF-8, or a line does not have one of the three forms.
    """
    if not file.is_file():
        raise ValueError(
            f"there is no class list {file}; write one class name per line, in the order of the labels"
            f"{_meant(file.parent)}"
        )
    names: list[str] = []
    palette: list[tuple[int, int, int]] = []
    for number, text in enumerate(_text(file).splitlines(), start=1):
        if not text.strip() or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text.strip())
        if match is None or not match["name"].isprintable():
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
    try:
        return Classes(tuple(names), tuple(palette)) if palette else Classes.coloured(names)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _text(file: Path) -> str:
    """The text of a file in UTF-8, or in what its byte-order mark says."""
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} of {file} is not UTF-8 ({error.reason}); save the file as UTF-8") from error


DATASET = DataSet(
    "folder",
    "your own images and labels",
    "nothing to download; core/datasets/sets/folder.py describes the layout",
    read,
    publishers_own("data of the publisher's own"),
    plan=plan,
    to_prepare="16-bit labels",
    splits_of=splits,
)
