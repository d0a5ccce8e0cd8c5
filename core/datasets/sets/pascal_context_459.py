"""PASCAL Context as published, with 459 classes, brought to the 59 that are evaluated.

Either of the two forms of its labels is decoded by `prepare`, with VOC 2010 (VOCtrainval_03-May-2010.tar):

    trainval/NAME.mat           LabelMap, ids 1 to 459 (cs.stanford.edu/~roozbeh/pascal-context, trainval.tar.gz), in
                                VOC2010, beside it or above; the lists are VOC's ImageSets/Main/{train,val}.txt
    trainval_merged.json        of the Detail API: a category and run lengths for each region, and the split of each
                                image

The first has the 4998 / 5105 images of the paper. The second gives 4996 / 5104: the Detail API itself counts 10,103
images but 10,100 in its two splits (issue 1 of github.com/ccvl/detail-api). Scores differ by less than rounding.

Ids that are none of the 59 are the background. The 459 names are in the order of the alphabet, and so are the 59 ids
below, by which github.com/zhanghang1989/PyTorch-Encoding and mmsegmentation choose them too.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from core.datasets.prepare import Decoding
from core.datasets.sets.devkit import names_in
from core.datasets.sets.matlab import read_field
from core.datasets.sets.regions import region

IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368),
    *(397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
"""The ids of the 59 classes among the 459, in the order of the alphabet."""

LAST_ID = 459

TABLE = np.zeros(LAST_ID + 1, dtype=np.uint8)
TABLE[list(IDS)] = range(1, 1 + len(IDS))

Pair = tuple[Path, Path | Decoding]


def reduced(ids: np.ndarray) -> np.ndarray:
    """From ids 0 to 459 to 0 (background) and 1 to 59.

    Raises:
        ValueError: if an id is none of the data set.
    """
    if ids.min() < 0 or ids.max() > LAST_ID:
        raise ValueError(f"holds ids from {ids.min()} to {ids.max()}; the data set has 0 to {LAST_ID}")
    return TABLE[ids]


def decode_mat(file: Path) -> np.ndarray:
    """The labels of a photograph, from its .mat file."""
    return reduced(read_field(file, ("LabelMap",)))


def decode_regions(given: tuple[int, int, list[tuple[int, Any]]]) -> np.ndarray:
    """The labels of a photograph, from its height, its width and its regions; a later region covers an earlier one."""
    height, width, regions = given
    ids = np.zeros((height, width), dtype=np.int64)
    for identity, segmentation in regions:
        ids[region(segmentation, height, width)] = identity
    return reduced(ids)


def find(root: Path) -> Path | None:
    """The folder of .mat files, or trainval_merged.json, in VOC2010, beside it or above."""
    for place in (root, root.parent, root.parent.parent):
        for folder in (place / "trainval", place):
            if next(folder.glob("[0-9]*_[0-9]*.mat"), None) is not None:
                return folder
        if (place / "trainval_merged.json").is_file():
            return place / "trainval_merged.json"
    return None


def from_mat(root: Path, folder: Path, names: tuple[str, ...], source: str) -> dict[str, list[Pair]]:
    """The splits, by VOC's own lists.

    Raises:
        ValueError: if a list is missing, or labels.txt beside the files has other names.
    """
    _compare_names(folder, names)
    splits: dict[str, list[Pair]] = {}
    for split in ("train", "val"):
        splits[split] = []
        for name in names_in(root / "ImageSets" / "Main" / f"{split}.txt", source):
            file = folder / f"{name}.mat"
            splits[split].append((root / "JPEGImages" / f"{name}.jpg", Decoding(name, file, decode_mat, file)))
    return splits


def from_json(root: Path, file: Path) -> dict[str, list[Pair]]:
    """The splits, as the file itself has them; images without any region are left out.

    Raises:
        ValueError: if it is not such a file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        regions: dict[int, list[tuple[int, Any]]] = {}
        for annotation in content["annos_segmentation"]:
            found = (annotation["category_id"], annotation["segmentation"])
            regions.setdefault(annotation["image_id"], []).append(found)
        splits: dict[str, list[Pair]] = {"train": [], "val": []}
        for image in sorted(content["images"], key=lambda image: image["file_name"]):
            if image["phase"] in splits and image["image_id"] in regions:
                given = (image["height"], image["width"], regions[image["image_id"]])
                labels = Decoding(Path(image["file_name"]).stem, file, decode_regions, given)
                splits[image["phase"]].append((root / "JPEGImages" / image["file_name"], labels))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is damaged or not the trainval_merged.json of the Detail API ({error!r}); fetch it again"
        ) from error
    return splits


def _compare_names(folder: Path, names: tuple[str, ...]) -> None:
    """Refuse a list of the 459 names that gives the ids other ones than `names`, the 59 in the alphabet's order."""
    places = (folder / "labels.txt", folder.parent / "labels.txt")
    listing = next((place for place in places if place.is_file()), None)
    if listing is None:
        return
    published = dict(re.findall(r"^\s*(\d+)\s*:\s*(\S+)", listing.read_text(encoding="utf-8"), re.MULTILINE))
    for identity, name in zip(IDS, names, strict=True):
        if published.get(str(identity)) != name:
            raise ValueError(
                f"{listing} gives the id {identity} the name {published.get(str(identity))!r}, but it is {name!r} in "
                "PASCAL Context; fetch the data set again, or remove the list if it belongs to something else"
            )
