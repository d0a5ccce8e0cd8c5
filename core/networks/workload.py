"""What testing an image by a protocol takes: where its windows lie, memory, and work, which has a limit.

A few numbers in the configuration of a checkpoint from elsewhere could ask for work without end.
"""

import torch

from core.images.pixels import round_up, scaled_size
from core.memory import free_gpu_memory
from core.recipe import Protocol

CPU_WINDOWS, CPU_PIXELS = 4, 4 * 768 * 768
GPU_WINDOWS, GPU_BYTES = 16, 4096
"""At most so many windows at once; on a CPU of so many pixels together, on a GPU with so many free bytes a pixel."""

NETWORK_BYTES = 1024
"""What a network takes for each pixel of its windows, about: the final DANet 930 on a CPU, beside its scores."""

PIXELS, TIMES = 2**23, 16
"""An image at one scale, or a window, has at most so many pixels, or so many times the image's own."""

WORK, WORK_TIMES = 2**28, 256
"""All windows of all scales, mirrored ones too, have at most so many pixels together, or so many times the image's."""

WINDOWS, WINDOW = 2**12, 2**10
"""There are at most so many windows, or one for so many pixels of the image: small ones take time, too."""


def seen_size(height: int, width: int, protocol: Protocol, scale: float) -> tuple[int, int]:
    """Height and width of an image at one of the protocol's scales."""
    tall, wide = scaled_size(height, width, protocol.edge, protocol.base, scale, protocol.limit)
    return round_up(tall, protocol.multiple), round_up(wide, protocol.multiple)


def positions(length: int, crop: int, stride: int, shifted: bool = True) -> tuple[int, ...]:
    """Where windows of `crop` pixels begin so that they cover `length` pixels, the last one shifted inside.

    The first begins at 0. One window is enough where `length` is at most `crop`; it may then end outside, as the last
    one may if it is not `shifted`.
    """
    last = max(length - crop, 0)
    return (*range(0, last, stride), last if shifted else -(-last // stride) * stride)


def windows_at_once(device: torch.device, height: int, width: int) -> int:
    """How many windows go through a network together, mirrored ones counted.

    On a CPU 4, or fewer if they are larger than 768 x 768. On CUDA up to 16: one for every 4 KiB of free memory for
    each of its pixels, four times `NETWORK_BYTES`.
    """
    pixels = height * width
    if device.type != "cuda":
        return max(1, min(CPU_WINDOWS, CPU_PIXELS // pixels))
    return max(1, min(GPU_WINDOWS, free_gpu_memory(device) // (GPU_BYTES * pixels)))


def scores_bytes(height: int, width: int, num_classes: int, protocol: Protocol) -> int:
    """The bytes that the merged scores of an image take at most while it is tested: one map, or two of them.

    Beside them are the image itself at each scale and what the network takes for its windows.
    """
    sizes = [seen_size(height, width, protocol, scale) for scale in protocol.scales]
    one = len(sizes) == 1 and sizes[0] == (height, width)
    pixels = max(tall * wide for tall, wide in sizes) + (0 if one else height * width)
    return 4 * num_classes * pixels


def memory(height: int, width: int, num_classes: int, protocol: Protocol, device: torch.device) -> int:
    """The bytes that testing an image takes, about: its scores, itself, and what the network holds for its windows."""
    sizes = [seen_size(height, width, protocol, scale) for scale in protocol.scales]
    pixels = max(tall * wide for tall, wide in sizes)
    tall, wide = (protocol.crop, protocol.crop) if protocol.crop else max(sizes)
    together = windows_at_once(device, tall, wide) if protocol.crop or protocol.flip else 1
    windows = together * tall * wide * (NETWORK_BYTES + 3 * 4 * num_classes)
    return scores_bytes(height, width, num_classes, protocol) + 2 * 4 * 3 * pixels + windows


def work(height: int, width: int, protocol: Protocol) -> tuple[int, int, int]:
    """What a network is asked for an image: pixels of the largest scale or window, pixels of all windows, and windows.

    Nothing of that size is made.
    """
    largest, together, number = 0, 0, 0
    for scale in protocol.scales:
        size = seen_size(height, width, protocol, scale)
        tall, wide = (max(protocol.crop or length, 1) for length in size)
        windows = 1
        for length, side in zip(size, (tall, wide), strict=True):
            windows *= len(positions(length, side, protocol.stride or side, protocol.border == "shifted"))
        largest = max(largest, size[0] * size[1], tall * wide)
        number += windows * (2 if protocol.flip else 1)
        together += windows * tall * wide * (2 if protocol.flip else 1)
    return largest, together, number


def refuse_excess(height: int, width: int, protocol: Protocol) -> None:
    """Refuse a protocol that asks for far more work than any paper's does.

    Raises:
        ValueError: saying how much, and how to do it all the same.
    """
    own = height * width
    largest, together, number = work(height, width, protocol)
    for asked, most, what in (
        (largest, max(PIXELS, TIMES * own), "pixels at one scale or in one window"),
        (together, max(WORK, WORK_TIMES * own), "pixels in all windows of all scales"),
        (number, max(WINDOWS, own // WINDOW), "windows"),
    ):
        if asked > most:
            raise ValueError(
                f"the checkpoint's own protocol asks for {asked:.3g} {what} for an image of {width} x "
                f"{height}, at most {most:.3g} are allowed; for the whole image once pass Protocol() (--protocol "
                "whole), or, if you trust the checkpoint, network.about.protocol (--protocol own-unbounded)"
            )
