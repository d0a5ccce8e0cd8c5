"""The boundary labels that supervise B, made from the labels of a batch while training.

    labels       b h w    classes, 255 where ignored
    boundaries   b h w    1 on a boundary, 0 inside a region, 255 where that is unknown

A pixel lies on a boundary if a pixel of another class is at most `distance` away from it, centre to centre (Section 4
follows CASENet and SEAL): a band of about 2 * distance pixels, half on either side. For each class on its own this is
where the distance to its edge, inside or outside, is at most `distance`; the band is the union over all classes.

Ignored pixels are of no class. They are ignored here too, and so is a pixel that is near one and near no other class:
whether a boundary passes there is unknown. The border of the image is no boundary.
"""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from core.images.classes import IGNORE

DISTANCE = 2
"""In pixels of the training crop. The authors' tool has 2 at the size of the photograph."""

Labels = Int64[Tensor, "b h w"]


def boundary_labels(labels: Labels, distance: int = DISTANCE) -> Labels:
    """Return the boundary labels of a batch.

    Exact: every pixel is compared with every other within `distance`, by shifting the map once for each pair of
    opposite directions, 6 times for a distance of 2.

    Raises:
        ValueError: if the distance is not at least 1 pixel.
    """
    if distance < 1:
        raise ValueError(f"boundary_labels needs a distance of at least 1 pixel, got {distance}")
    labels = labels.to(torch.uint8)  # 0 to 255, and an eighth of the memory to read
    ignored = labels == IGNORE
    boundary, unknown = torch.zeros_like(ignored), ignored.clone()
    for down, right in shifts(distance):
        here, there = _overlap(labels, down, right)
        void: Bool[Tensor, "b y x"] = (here == IGNORE) | (there == IGNORE)
        differ = (here != there) & ~void
        for found, pixels in ((boundary, differ), (unknown, void)):
            for part in _overlap(found, down, right):
                part |= pixels
    return boundary.long().masked_fill_(unknown & ~boundary, IGNORE)


def shifts(distance: int) -> list[tuple[int, int]]:
    """Return the steps (down, right) of length 1 to `distance`, one of each pair of opposite ones."""
    reach = range(-distance, distance + 1)
    return [
        (down, right)
        for down in range(distance + 1)
        for right in reach
        if (down > 0 or right > 0) and down * down + right * right <= distance * distance
    ]


def _overlap(maps: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Return two views of maps (b h w): every pixel that has a partner `down` rows below and `right`, and that one."""
    height, width = maps.shape[1:]
    tall, wide = max(height - down, 0), max(width - abs(right), 0)
    left, left_of_partner = max(-right, 0), max(right, 0)
    return maps[:, :tall, left : left + wide], maps[:, down:, left_of_partner : left_of_partner + wide]
