"""The size of a scaled image, the same in training and in testing."""

import math

from core.recipe import Edge


def scaled_size(
    height: int, width: int, edge: Edge, base: int | None, scale: float, limit: int | None = None
) -> tuple[int, int]:
    """Height and width in pixels of an image whose short or long edge is brought to `base` times `scale`.

    `base` None means its own edge. The other side stays in proportion; both are rounded to the nearest pixel, halves
    up, and are at least 1. If the longest side would exceed `limit`, it is brought to `limit` instead.
    """
    own = (min if edge == "short" else max)(height, width)
    length = _nearest(scale * (base or own))
    size = _nearest(height * length / own), _nearest(width * length / own)
    return size if limit is None or max(size) <= limit else scaled_size(height, width, "long", limit, 1.0)


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`, both in pixels."""
    return -(-length // multiple) * multiple


def _nearest(length: float) -> int:
    return max(math.floor(length + 0.5), 1)
