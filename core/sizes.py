"""The size of a scaled image, the same in training and in testing."""

import math

from core.recipe import Edge


def scaled_size(height: int, width: int, edge: Edge, base: int | None, scale: float) -> tuple[int, int]:
    """Height and width in pixels of an image whose short or long edge is brought to `base` times `scale`.

    `base` None means its own edge. The other side stays in proportion; both are rounded to the nearest pixel, halves
    up, and are at least 1.
    """
    own = (min if edge == "short" else max)(height, width)
    length = _nearest(scale * (base or own))
    return _nearest(height * length / own), _nearest(width * length / own)


def _nearest(length: float) -> int:
    return max(math.floor(length + 0.5), 1)
