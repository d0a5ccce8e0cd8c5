"""How much work the protocol of a checkpoint from elsewhere may ask for: a few numbers in it can take for ever."""

from core.networks.inference import positions, seen_size
from core.recipe import Protocol

PIXELS, TIMES = 2**23, 16
"""An image at one scale, or a window, has at most so many pixels, or so many times the image's own."""

WORK, WORK_TIMES = 2**28, 256
"""All windows of all scales, mirrored ones too, have at most so many pixels together, or so many times the image's."""


def work(height: int, width: int, protocol: Protocol) -> tuple[int, int]:
    """What a network is asked for an image: pixels of the largest scale or window, and of all windows together.

    Nothing of that size is made.
    """
    largest, together = 0, 0
    for scale in protocol.scales:
        size = seen_size(height, width, protocol, scale)
        tall, wide = (max(protocol.crop or length, 1) for length in size)
        windows = 1
        for length, side in zip(size, (tall, wide), strict=True):
            windows *= len(positions(length, side, protocol.stride or side))
        largest = max(largest, size[0] * size[1], tall * wide)
        together += windows * tall * wide * (2 if protocol.flip else 1)
    return largest, together


def refuse_excess(height: int, width: int, protocol: Protocol) -> None:
    """Refuse a protocol that asks for far more work than any paper's does.

    Raises:
        ValueError: saying how much, and how to do it all the same.
    """
    own = height * width
    largest, together = work(height, width, protocol)
    for pixels, most, what in (
        (largest, max(PIXELS, TIMES * own), "at one scale or in one window"),
        (together, max(WORK, WORK_TIMES * own), "in all windows of all scales"),
    ):
        if pixels > most:
            raise ValueError(
                f"the checkpoint's own protocol asks for {pixels:.3g} pixels {what} for an image of {width} x "
                f"{height}, at most {most:.3g} are allowed; for the whole image once pass Protocol() (--protocol "
                "whole), or, if you trust the checkpoint, network.about.protocol (--protocol own-unbounded)"
            )
