"""The data sets: one reader each, all giving `Pairs`.

A recipe names its data set by a string, so that it stays JSON; the string is resolved here and nowhere else.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

from core.datasets.about import About
from core.datasets.prepare import Plan
from core.datasets.samples import Pairs, plain_mapping, refuse_wrong_labels
from core.datasets.sets import (
    ade20k,
    camvid,
    cityscapes,
    coco_stuff10k,
    coco_voc,
    folder,
    hub,
    pascal_context,
    scenes,
    voc2012,
)
from core.images.classes import Classes

HUB, STREAM = "hub:", "stream:"

READERS: dict[str, Callable[[Path, str], Pairs]] = {
    "ade20k": ade20k.read,
    "camvid": camvid.read,
    "cityscapes": cityscapes.read,
    "coco_stuff10k": coco_stuff10k.read,
    "coco_voc": coco_voc.read,
    "folder": folder.read,
    "pascal_context": pascal_context.read,
    "pascal_context_59": pascal_context.read_59,
    "voc2012": voc2012.read,
}
"""The data sets that lie in a folder (`--data DIR`)."""

PLANS: dict[str, Callable[[Path], Plan]] = {
    "ade20k": ade20k.plan,
    "coco_stuff10k": coco_stuff10k.plan,
    "coco_voc": coco_voc.plan,
    "folder": folder.plan,
    "pascal_context": pascal_context.plan,
    "pascal_context_59": pascal_context.plan,
    "voc2012": voc2012.plan,
}
"""What `prepare` does for those with labels that may need decoding."""

ABOUT: dict[str, About] = {
    "ade20k": ade20k.ABOUT,
    "camvid": camvid.ABOUT,
    "cityscapes": cityscapes.ABOUT,
    "coco_stuff10k": coco_stuff10k.ABOUT,
    "coco_voc": coco_voc.ABOUT,
    "folder": folder.ABOUT,
    "pascal_context": pascal_context.ABOUT,
    "pascal_context_59": pascal_context.ABOUT_59,
    "voc2012": voc2012.ABOUT,
}

SCENES = Classes(scenes.CLASSES, scenes.PALETTE)


def read(name: str, data: Path | None, split: str) -> Pairs:
    """Open a split of a data set.

    Args:
        name: "scenes" (embedded), a name of `READERS`, "hub:org/name", or "stream:org/name" (see `core.datasets.hub`).
        data: the folder of the data set, for the names of `READERS`.
        split: "train", "val", "test", ...

    Raises:
        ValueError: if the name is unknown, the folder is needed and missing, or it does not hold that data set.
    """
    if name == "scenes":
        return Pairs(scenes.read(split), SCENES, plain_mapping(SCENES))
    if name.startswith(HUB):
        return hub.read(name.removeprefix(HUB), split)
    if name.startswith(STREAM):
        return hub.read_stream(name.removeprefix(STREAM), split)
    if name not in READERS:
        close = difflib.get_close_matches(name, ["scenes", *READERS], n=1)
        raise ValueError(
            f"unknown data set {name!r}{f', did you mean {close[0]!r}?' if close else ''}; "
            f"allowed are scenes, {', '.join(READERS)}, {HUB}org/name, {STREAM}org/name"
        )
    if data is None:
        raise ValueError(f"the data set {name!r} lies in a folder: pass --data DIR")
    if not data.is_dir():
        raise ValueError(f"--data {data} is no folder; pass the folder that holds {name!r}")
    return READERS[name](data, split)


def splits(name: str, data: Path | None) -> tuple[str, ...]:
    """The splits that a data set is published with, or that a folder or a repository of one's own has.

    Raises:
        ValueError: if the name is unknown, or the repository can't be reached.
    """
    if name == "scenes":
        return tuple(scenes.SPLITS)
    if name == "folder" and data is not None:
        return folder.splits(data)
    if name.startswith((HUB, STREAM)):
        return hub.splits(name.partition(":")[2])
    return tuple(ABOUT[name].counts) if name in ABOUT else ("train",)


__all__ = ["ABOUT", "HUB", "PLANS", "READERS", "STREAM", "Pairs", "read", "refuse_wrong_labels", "splits"]
