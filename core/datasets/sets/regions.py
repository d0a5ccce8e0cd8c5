"""The regions of COCO's annotations as images, by pycocotools: polygons and run lengths."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def region(segmentation: Any, height: int, width: int) -> np.ndarray:
    """An annotation's region as bool h w: polygons [[x, y, x, y, ...], ...], or {"counts", "size"} of run lengths.

    Raises:
        ValueError: if it is neither, damaged, or of another size.
    """
    from pycocotools import mask  # only `prepare` needs it

    runs = segmentation
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError(f"a polygon is x, y of three or more corners, got {len(polygon)} numbers")
        if not segmentation:
            return np.zeros((height, width), dtype=bool)
        runs = mask.merge(mask.frPyObjects(segmentation, height, width))
    elif not isinstance(segmentation, Mapping):
        raise ValueError(f"a region is a list of polygons or a dict of run lengths, got {type(segmentation).__name__}")
    elif list(segmentation["size"]) != [height, width]:
        raise ValueError(f"a region has the size {segmentation['size']}, its image [{height}, {width}]")
    elif isinstance(counts := segmentation["counts"], list):
        if sum(counts) != height * width or min(counts) < 0:
            raise ValueError(f"run lengths of {sum(counts)} pixels for an image of {height} x {width}")
        runs = mask.frPyObjects(segmentation, height, width)
    inside = mask.decode(runs)
    text = runs["counts"].encode() if isinstance(runs["counts"], str) else runs["counts"]
    if mask.encode(np.asfortranarray(inside))["counts"] != text:
        raise ValueError(f"run lengths {text!r} are damaged, or not of an image of {height} x {width}")
    return inside.astype(bool)
