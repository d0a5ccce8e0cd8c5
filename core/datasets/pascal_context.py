"""PASCAL Context: the photographs of VOC 2010 labelled everywhere, 59 classes and the background, 4998 / 5105.

Mottaghi et al., CVPR 2014. DIR is VOC2010, VOCdevkit, or the folder that holds VOCdevkit. The data set is published
with 459 classes, as .mat files or as trainval_merged.json; what is read is its usual conversion, as mmsegmentation's
tools write it:

    VOCdevkit/VOC2010/JPEGImages/NAME.jpg                              VOCtrainval_03-May-2010.tar
    VOCdevkit/VOC2010/SegmentationClassContext/NAME.png                0 background, 1 to 59
    VOCdevkit/VOC2010/ImageSets/SegmentationContext/{train,val}.txt    4996 / 5104 names from trainval_merged.json

Two orders of the 59 classes are in use. Files made from trainval_merged.json, as mmsegmentation and PyTorch-Encoding
do, are in the order of the 459 ids, which is that of the alphabet; so is CLASSES. Files made with the data set's own
59_labels.txt are in its order, VOC's 20 objects first: keep 59_labels.txt in VOC2010, in VOCdevkit or beside it, and
its order is read from there and brought to that of CLASSES.

`read` gives 60 classes, the first the background; `read_59` ignores the background. The names are those of
59_labels.txt; the colours, which the data set does not define, are those of VOC's rule for its places there.
"""

import re
from pathlib import Path

from core.classes import IGNORE, Classes
from core.datasets.pairs import Pairs, from_files
from core.datasets.voc2012 import listed, palette, year_folder

SPLITS = ("train", "val")

_NAMES = """
    aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person pottedplant sheep sofa
    train tvmonitor bag bed bench book building cabinet ceiling cloth computer cup door fence floor flower food grass
    ground keyboard light mountain mouse curtain platform sign plate road rock shelves sidewalk sky snow bedclothes
    track tree truck wall water window wood
"""

LISTED_NAMES = tuple(_NAMES.split())
"""The classes in the order of 59_labels.txt."""

_COLOURS = dict(zip(("background", *LISTED_NAMES), palette(1 + len(LISTED_NAMES)), strict=True))

CLASSES = Classes(
    ("background", *sorted(LISTED_NAMES)),
    tuple(_COLOURS[name] for name in ("background", *sorted(LISTED_NAMES))),
)
CLASSES_59 = Classes(CLASSES.names[1:], CLASSES.palette[1:])

CONVERT = (
    "convert it to SegmentationClassContext/NAME.png (0 background, 1 to 59) and "
    "ImageSets/SegmentationContext/{train,val}.txt in VOC2010, as tools/dataset_converters/pascal_context.py of "
    "mmsegmentation does from VOCtrainval_03-May-2010.tar and trainval_merged.json"
)


def read(folder: Path, split: str) -> Pairs:
    """Read a split with 60 classes, the background among them.

    Raises:
        ValueError: if the split is unknown, the data set is not converted, or a list or a file is missing.
    """
    return _read(folder, split, CLASSES)


def read_59(folder: Path, split: str) -> Pairs:
    """Read a split with 59 classes, the background ignored.

    Raises:
        ValueError: as `read`.
    """
    return _read(folder, split, CLASSES_59)


def _read(folder: Path, split: str, classes: Classes) -> Pairs:
    if split not in SPLITS:
        raise ValueError(f"PASCAL Context has the splits {', '.join(SPLITS)}, got {split!r}")
    root = _converted(folder)
    names = listed(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", CONVERT)
    rows = from_files(
        [root / "JPEGImages" / f"{name}.jpg" for name in names],
        [root / "SegmentationClassContext" / f"{name}.png" for name in names],
    )
    labels = {name: label for label, name in enumerate(classes.names)}
    mapping = {value: labels.get(name, IGNORE) for value, name in enumerate(_order(root))}
    return Pairs(rows, classes, {**mapping, IGNORE: IGNORE})


def _converted(folder: Path) -> Path:
    """The folder VOC2010, if it has the converted labels."""
    try:
        return year_folder(folder, "VOC2010", "SegmentationClassContext", f"to have PASCAL Context, {CONVERT}")
    except ValueError:
        for place in (folder, folder / "VOC2010", folder / "VOCdevkit", folder / "VOCdevkit" / "VOC2010"):
            raw = [*place.glob("trainval_merged.json"), *place.glob("trainval/*.mat"), *place.glob("*.mat")]
            if raw:
                raise ValueError(f"{raw[0]} has all 459 classes of PASCAL Context, not the 59: {CONVERT}") from None
        raise


def _order(root: Path) -> tuple[str, ...]:
    """The names of the values 0 to 59 of the label files."""
    for place in (root, root.parent, root.parent.parent):
        listing = place / "59_labels.txt"
        if listing.is_file():
            names = tuple(re.findall(r"^\s*\d+\s*:\s*(\S+)", listing.read_text(encoding="utf-8"), re.MULTILINE))
            if names != LISTED_NAMES:
                raise ValueError(
                    f"{listing} is not the published list: expected the lines '1: {LISTED_NAMES[0]}' to "
                    f"'59: {LISTED_NAMES[-1]}'; fetch it again, or remove it if the labels follow the alphabet"
                )
            return ("background", *LISTED_NAMES)
    return CLASSES.names
