"""PASCAL Context: the photographs of VOC 2010 labelled everywhere, 59 classes and the background, 4998 / 5105.

Mottaghi et al., CVPR 2014. DIR is VOC2010, VOCdevkit, or the folder that holds VOCdevkit. The data set is published
with 459 classes, as .mat files or as trainval_merged.json; `prepare` decodes either
(`core.datasets.sets.pascal_context_459`, which also says why there are 4998 / 5105 images or 4996 / 5104). Its usual
conversion, as mmsegmentation's tools write it, is read as it is:

    VOCdevkit/VOC2010/JPEGImages/NAME.jpg                              VOCtrainval_03-May-2010.tar
    VOCdevkit/VOC2010/SegmentationClassContext/NAME.png                0 background, 1 to 59
    VOCdevkit/VOC2010/ImageSets/SegmentationContext/{train,val}.txt

Two orders of the 59 classes are in use. Files made from trainval_merged.json, as mmsegmentation and PyTorch-Encoding
do, are in the order of the 459 ids, which is that of the alphabet; so is CLASSES. Files made with the data set's own
59_labels.txt are in its order, VOC's 20 objects first: keep 59_labels.txt in VOC2010, in VOCdevkit or beside it, and
its order is read from there and brought to that of CLASSES.

`read` gives 60 classes, the first the background; `read_59` ignores the background. The names are those of
59_labels.txt; the colours, which the data set does not define, are those of VOC's rule for its places there.
"""

import re
from dataclasses import replace
from pathlib import Path

from core.datasets.dataset import DataSet, Licence
from core.datasets.prepare import Plan, command, prepared, prepared_rows
from core.datasets.samples import Pairs, from_files
from core.datasets.sets import pascal_context_459
from core.datasets.sets.devkit import names_in, palette, year_folder
from core.images.classes import IGNORE, Classes

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

SOURCE = (
    "download PASCAL Context as VOCtrainval_03-May-2010.tar (host.robots.ox.ac.uk/pascal/VOC/voc2010) with "
    "trainval.tar.gz (cs.stanford.edu/~roozbeh/pascal-context) or trainval_merged.json (the Detail API)"
)


def read(folder: Path, split: str) -> Pairs:
    """Read a split with 60 classes, the background among them.

    Raises:
        ValueError: if the data set is not converted, or a list or a file is missing.
    """
    return _read(folder, split, CLASSES)


def read_59(folder: Path, split: str) -> Pairs:
    """Read a split with 59 classes, the background ignored.

    Raises:
        ValueError: as `read`.
    """
    return _read(folder, split, CLASSES_59)


def plan(folder: Path) -> Plan:
    """What `prepare` does: from 459 classes to 59 and the background.

    Raises:
        ValueError: if VOC 2010 or the labels are missing.
    """
    root = year_folder(folder, "VOC2010", "JPEGImages", SOURCE)
    raw = pascal_context_459.find(root)
    if raw is None:
        raise ValueError(
            f"there is neither trainval/*.mat nor trainval_merged.json in, beside or above {root}, and nothing else of "
            f"PASCAL Context needs preparing; {SOURCE}"
        )
    if raw.is_dir():
        return Plan(DATASET.name, root, pascal_context_459.from_mat(root, raw, CLASSES_59.names, SOURCE))
    return Plan(DATASET.name, root, pascal_context_459.from_json(root, raw))


def _read(folder: Path, split: str, classes: Classes) -> Pairs:
    ready = prepared(folder, DATASET.name)
    if ready == folder:
        return Pairs(prepared_rows(ready, split), classes, _mapping(CLASSES.names, classes))
    root = year_folder(folder, "VOC2010", "JPEGImages", SOURCE)
    converted = root / "SegmentationClassContext"
    if converted.is_dir():
        names = names_in(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", f"{SOURCE}, and `prepare` it")
        images = [root / "JPEGImages" / f"{name}.jpg" for name in names]
        rows = from_files(images, [converted / f"{name}.png" for name in names])
        return Pairs(rows, classes, _mapping(_order(root), classes))
    ready = prepared(root, DATASET.name)
    if ready is not None:
        return Pairs(prepared_rows(ready, split), classes, _mapping(CLASSES.names, classes))
    raw = pascal_context_459.find(root)
    if raw is not None:
        raise ValueError(f"{raw} has all 459 classes of PASCAL Context, not the 59: {command(DATASET.name, folder)}")
    raise ValueError(f"there is no folder {converted}, nor trainval/*.mat or trainval_merged.json to make it; {SOURCE}")


def _mapping(names: tuple[str, ...], classes: Classes) -> dict[int, int]:
    """From the values of the label files, whose names are given in their order, to the classes."""
    labels = {name: label for label, name in enumerate(classes.names)}
    return {**{value: labels.get(name, IGNORE) for value, name in enumerate(names)}, IGNORE: IGNORE}


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


DATASET = DataSet(
    "pascal_context",
    "photographs labelled everywhere, 60 classes with the background",
    SOURCE,
    read,
    Licence(
        "PASCAL Context",
        "Annotations of PASCAL VOC 2010, whose images are under the terms of Flickr.",
        "https://cs.stanford.edu/~roozbeh/pascal-context/",
    ),
    CLASSES,
    {"train": (4998, 4996), "val": (5105, 5104)},
    plan=plan,
    to_prepare="the labels with 459 classes (.mat or trainval_merged.json)",
)
DATASET_59 = replace(
    DATASET,
    name="pascal_context_59",
    summary="photographs labelled everywhere, 59 classes, the background ignored",
    read=read_59,
    classes=CLASSES_59,
)
