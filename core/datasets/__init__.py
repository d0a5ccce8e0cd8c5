"""The data sets: one reader each, all giving `Pairs`.

A recipe names its data set by a string, so that it stays JSON; the string is resolved here and nowhere else.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

from core.classes import Classes
from core.datasets import ade20k, camvid, cityscapes, coco_stuff10k, folder, hub, pascal_context, scenes, voc2012
from core.datasets.pairs import Pairs, check, plain_mapping

HUB = "hub:"

READERS: dict[str, Callable[[Path, str], Pairs]] = {
    "ade20k": ade20k.read,
    "camvid": camvid.read,
    "cityscapes": cityscapes.read,
    "coco_stuff10k": coco_stuff10k.read,
    "folder": folder.read,
    "pascal_context": pascal_context.read,
    "pascal_context_59": pascal_context.read_59,
    "voc2012": voc2012.read,
}
"""The data sets that lie in a folder (`--data DIR`)."""

SCENES = Classes(scenes.CLASSES, scenes.PALETTE)


def read(name: str, data: Path | None, split: str) -> Pairs:
    """Open a split of a data set.

    Args:
        name: "scenes" (embedded), a name of `READERS`, or "hub:org/name".
        data: the folder of the data set, for the names of `READERS`.
        split: "train", "val", "test", ...

    Raises:
        ValueError: if the name is unknown, the folder is needed and missing, or it does not hold that data set.
    """
    if name == "scenes":
        return Pairs(scenes.read(split), SCENES, plain_mapping(SCENES))
    if name.startswith(HUB):
        return hub.read(name.removeprefix(HUB), split)
    if name not in READERS:
        close = difflib.get_close_matches(name, ["scenes", *READERS], n=1)
        raise ValueError(
            f"unknown data set {name!r}{f', did you mean {close[0]!r}?' if close else ''}; "
            f"allowed are scenes, {', '.join(READERS)}, {HUB}org/name"
        )
    if data is None:
        raise ValueError(f"the data set {name!r} lies in a folder: pass --data DIR")
    if not data.is_dir():
        raise ValueError(f"--data {data} is no folder; pass the folder that holds {name!r}")
    return READERS[name](data, split)


__all__ = ["HUB", "READERS", "Pairs", "check", "read"]
