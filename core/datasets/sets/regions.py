"""The regions of COCO's annotations as images: polygons and run lengths.

A pixel belongs to a polygon if its centre lies inside, by the even-odd rule. The reference, pycocotools, samples the
outline at five times the size and rounds; the two differ at the outline, by less than a pixel.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def region(segmentation: Any, height: int, width: int) -> np.ndarray:
    """An annotation's region as bool h w: polygons [[x, y, x, y, ...], ...], or {"counts", "size"} of run lengths.

    Raises:
        ValueError: if it is neither, or of another size.
    """
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"a region has the size {segmentation['size']}, its image [{height}, {width}]")
        counts = segmentation["counts"]
        return from_runs(counts if isinstance(counts, list) else runs(counts), height, width)
    if not isinstance(segmentation, list):
        raise ValueError(f"a region is a list of polygons or a dict of run lengths, got {type(segmentation).__name__}")
    inside = np.zeros((height, width), dtype=bool)
    for polygon in segmentation:
        inside |= from_polygon(polygon, height, width)
    return inside


def from_polygon(polygon: Sequence[float | int], height: int, width: int) -> np.ndarray:
    """Fill a closed outline given as x, y, x, y, ... in pixels, the first pixel reaching from 0 to 1.

    Raises:
        ValueError: if it has fewer than three corners or half a corner.
    """
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon is x, y of three or more corners, got {len(polygon)} numbers")
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    toggles = np.zeros((height, width + 1), dtype=np.uint8)  # where the inside begins or ends, from left to right
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(max(np.ceil(low - 0.5), 0), min(np.ceil(high - 0.5), height), dtype=np.int64)
        if rows.size:
            crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
            toggles[rows, columns] ^= 1  # an edge crosses each row once
    return np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].astype(bool)


def from_runs(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Fill run lengths: of pixels outside, inside, outside, ..., down the columns from left to right.

    Raises:
        ValueError: if they are not as many pixels as the image has.
    """
    lengths = np.asarray(counts, dtype=np.int64)
    if lengths.sum() != height * width or (lengths < 0).any():
        raise ValueError(f"run lengths of {lengths.sum()} pixels for an image of {height} x {width}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def runs(text: str | bytes) -> list[int]:
    """The run lengths that COCO writes as text.

    Five bits of a number stand in each character, counted from "0", the lowest first; the sixth bit says that more
    follow, and the highest bit of the last five is the sign. From the third on, numbers are differences from
    the last but one.
    """
    found: list[int] = []
    number = shift = 0
    for code in text.encode() if isinstance(text, str) else text:
        bits = code - 48
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        found.append(number + (found[-2] if len(found) > 2 else 0))
        number = shift = 0
    return found
