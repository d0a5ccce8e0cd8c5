"""COCO 2017 with the 21 classes of PASCAL VOC, to train a network before it is trained on VOC.

Lin et al., ECCV 2014. The layout as downloaded (train2017.zip, val2017.zip, annotations_trainval2017.zip), decoded by
`prepare`:

    train2017/*.jpg, val2017/*.jpg                          or in images/
    annotations/instances_{train,val}2017.json

An image is kept if more than 1000 of its pixels belong to the 20 kinds of objects, as
github.com/zhanghang1989/PyTorch-Encoding keeps them. Where objects overlap, the one that is listed first in the file
has the pixel, as there; COCO does not say which is in front. Crowds count as their class, all other categories as
background, and no pixel is ignored.

The classes, names and colours are those of `core.datasets.sets.voc2012`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from core.datasets.dataset import DataSet, Licence
from core.datasets.prepare import Decoding, Plan, command, prepared, prepared_rows
from core.datasets.samples import Pairs, plain_mapping
from core.datasets.sets.regions import region
from core.datasets.sets.voc2012 import CLASSES

ENOUGH = 1000
"""An image needs more pixels of VOC's objects than this."""

COCO_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""VOC's classes that have another name in COCO."""

SOURCE = (
    "download COCO 2017 from cocodataset.org (train2017.zip, val2017.zip and annotations_trainval2017.zip, whose "
    "instances_train2017.json and instances_val2017.json are needed)"
)


def read(folder: Path, split: str) -> Pairs:
    """Read a split.

    Raises:
        ValueError: if the data set is missing or not prepared.
    """
    ready = prepared(folder, DATASET.name)
    if ready is not None:
        return Pairs(prepared_rows(ready, split), CLASSES, plain_mapping(CLASSES))
    _annotations(folder, split)
    raise ValueError(f"the annotations of {folder} are polygons: {command(DATASET.name, folder)}")


def plan(folder: Path) -> Plan:
    """What `prepare` does: the regions of both splits as images.

    Raises:
        ValueError: if images or annotations are missing or damaged.
    """
    return Plan(DATASET.name, folder, {split: _split(folder, split) for split in DATASET.counts})


def _annotations(folder: Path, split: str) -> Path:
    file = folder / "annotations" / f"instances_{split}2017.json"
    if not file.is_file():
        raise ValueError(f"there is no file {file}; {SOURCE}")
    return file


def _split(folder: Path, split: str) -> list[tuple[Path, Path | Decoding]]:
    """The images that have any object of VOC, and what is to be drawn of each."""
    file = _annotations(folder, split)
    places = (folder / f"{split}2017", folder / "images" / f"{split}2017")
    images = next((place for place in places if place.is_dir()), None)
    if images is None:
        raise ValueError(f"there is no folder {places[0]}; {SOURCE}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        labels = labels_of(content["categories"])
        regions: dict[int, list[tuple[int, Any]]] = {}
        for annotation in content["annotations"]:
            label = labels.get(annotation["category_id"])
            if label is not None:
                regions.setdefault(annotation["image_id"], []).append((label, annotation["segmentation"]))
        pairs: list[tuple[Path, Path | Decoding]] = []
        for image in sorted(content["images"], key=lambda image: image["file_name"]):
            if image["id"] in regions:
                given = (image["height"], image["width"], regions[image["id"]])
                stem = Path(image["file_name"]).stem
                pairs.append((images / image["file_name"], Decoding(f"{split}-{stem}", file, decode, given)))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged or not COCO's instances ({error!r}); fetch it again") from error
    return pairs


def labels_of(categories: list[dict[str, Any]]) -> dict[int, int]:
    """From COCO's category ids to VOC's labels, by name.

    Raises:
        ValueError: if one of VOC's classes is not among the categories.
    """
    ids = {category["name"]: category["id"] for category in categories}
    absent = [name for name in CLASSES.names[1:] if COCO_NAMES.get(name, name) not in ids]
    if absent:
        raise ValueError(f"there is no category {COCO_NAMES.get(absent[0], absent[0])!r} among COCO's; {SOURCE}")
    return {ids[COCO_NAMES.get(name, name)]: label for label, name in enumerate(CLASSES.names) if label}


def decode(given: tuple[int, int, list[tuple[int, Any]]]) -> np.ndarray | None:
    """The labels of a photograph from its height, its width and its regions; None if VOC's objects are too small."""
    height, width, regions = given
    labels = np.zeros((height, width), dtype=np.uint8)
    for label, segmentation in regions:
        labels[region(segmentation, height, width) & (labels == 0)] = label
    return labels if np.count_nonzero(labels) > ENOUGH else None


DATASET = DataSet(
    "coco_voc",
    "photographs of COCO 2017 with the 21 classes of VOC, to begin with",
    SOURCE,
    read,
    Licence(
        "COCO 2017 with the classes of VOC",
        "Annotations under CC BY 4.0; images under the terms of Flickr, each with its own licence.",
        "https://cocodataset.org/#termsofuse",
    ),
    CLASSES,
    {"train": (), "val": ()},
    plan=plan,
    to_prepare="the polygons of the annotations (JSON)",
)
