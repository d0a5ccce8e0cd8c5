"""The data sets: one value each, which says all that is known of it; all are read as `Pairs`.

A recipe names its data set by a string, so that it stays JSON; `find` resolves the string, here and nowhere else.
"""

import difflib
from pathlib import Path

from core.datasets.dataset import DataSet
from core.datasets.samples import Pair, Pairs, plain_mapping, refuse_too_few_classes, refuse_wrong_labels
from core.datasets.sets import (
    ade20k,
    beacons,
    camvid,
    cityscapes,
    coco_stuff10k,
    coco_voc,
    folder,
    pascal_context,
    scenes,
    voc2012,
)
from core.errors import require

HUB, STREAM = "hub:", "stream:"

DATASETS: tuple[DataSet, ...] = (
    ade20k.DATASET,
    beacons.DATASET,
    camvid.DATASET,
    cityscapes.DATASET,
    coco_stuff10k.DATASET,
    coco_voc.DATASET,
    folder.DATASET,
    pascal_context.DATASET,
    pascal_context.DATASET_59,
    scenes.DATASET,
    voc2012.DATASET,
)
"""All of them, besides those of the Hub, which are values of the same kind."""


def is_drawn(name: str | None) -> bool:
    """Return True if this package draws the pictures of a data set itself, so that anyone may pass them on."""
    return any(dataset.name == name and not dataset.in_folder for dataset in DATASETS)


def find(name: str) -> DataSet:
    """The data set of a name: of one in `DATASETS`, or "hub:org/name" or "stream:org/name" (`core.datasets.sets.hub`).

    Raises:
        ValueError: if there is none.
    """
    if name.startswith((HUB, STREAM)):
        from core.datasets.sets import hub  # it loads the package `datasets`, which nothing else here needs

        if name.startswith(HUB):
            return hub.dataset(name.removeprefix(HUB), HUB, hub.read)
        return hub.dataset(name.removeprefix(STREAM), STREAM, hub.read_stream)
    known = {dataset.name: dataset for dataset in DATASETS}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"unknown data set {name!r}{f', did you mean {close[0]!r}?' if close else ''}; "
            f"allowed are {', '.join(known)}, {HUB}org/name, {STREAM}org/name"
        )
    return known[name]


def read(name: str, data: Path | None, split: str) -> Pairs:
    """Open a split of a data set.

    Args:
        name: as for `find`.
        data: the folder of the data set, for those that lie in one.
        split: "train", "val", "test", ...

    Raises:
        ValueError: if the name is unknown, the folder is needed and missing, or it does not hold that data set.
    """
    return find(name).open(data, split)


def refuse_absent_split(name: str, data: Path | None, split: str, option: str) -> None:
    """Refuse a split that a folder of your own images does not have, where it has others.

    Args:
        name: as for `find`.
        data: the folder.
        split: which must be there.
        option: chooses the split on the command line, such as --recipe.data.test.

    Raises:
        ValueError: naming the splits that it has, and how one of them is chosen.
    """
    dataset = find(name)
    if dataset.splits_of is not None and dataset.in_folder and (found := dataset.splits(data)):
        other = next((other for other in found if other != "train"), found[0])
        require(
            split in found,
            f"{data} has no split {split!r}, only {', '.join(found)}; choose one of them, such as {option} {other}",
        )


__all__ = [
    "DATASETS",
    "HUB",
    "STREAM",
    "DataSet",
    "Pair",
    "Pairs",
    "find",
    "is_drawn",
    "plain_mapping",
    "read",
    "refuse_absent_split",
    "refuse_too_few_classes",
    "refuse_wrong_labels",
]
