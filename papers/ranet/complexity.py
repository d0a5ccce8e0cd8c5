"""What RANet adds to a backbone, beside the row RANet of Table 3: 21 M, 212 G and 1893 MB.

The block is what the released code puts on 97 x 97 positions, from the first convolution to both classifiers, and the
interaction alone on the 512 channels that the table's header names. Multiply-adds are those of convolutions, without
biases, and of the six products of the three softmaxes; they grow with the number of representatives in the image, which
the table does not print. Memory is a lower bound: what convolutions return for one image, and the tables of all pairs
that the released code makes. No target: README.md says what was tried.
"""

from collections.abc import Iterator

import torch
from torch import nn

from core.networks.complexity import Printed, parameters
from papers.ranet.model import Architecture, RANet
from papers.ranet.released import Kernel, ListLayer, ReleasedInteraction, ReleasedWithoutRegions

CLASSES, WIDTH, POSITIONS = 19, 512, 97 * 97
PAIR_TABLES = 8
"""E, D, where D has its maximum, one that is never used, 1 - E, 1 - D, F and its symmetric part."""

REPRESENTATIVES = round(POSITIONS / 400 * 8)
"""The text's 400 pixels for a region, and the released 8 representatives of each: 188."""


def overhead(kernel: Kernel, representatives: int, on_res5: bool) -> tuple[float, float, float]:
    """Return millions of parameters, billions of multiply-adds, and millions of bytes."""
    with torch.device("meta"):
        network = RANet(CLASSES, Architecture(reading="released", kernel=kernel))
    assert network.heads is not None
    ends = (network.reduce, network.classify, network.classify_boundary) if on_res5 else (network.heads.trunk,)
    block = nn.ModuleList([part for part in (network.gather, network.fuse, *ends) if isinstance(part, nn.Module)])
    over_list = {part.convolve for part in block.modules() if isinstance(part, ListLayer)}
    convolutions = [part for part in block.modules() if isinstance(part, nn.Conv2d)]
    positions = {part: representatives if part in over_list else POSITIONS for part in convolutions}
    operations = sum(number * part.weight.numel() for part, number in positions.items())
    products = 2 * representatives * WIDTH * (2 * POSITIONS + representatives)
    returned = sum(POSITIONS * part.out_channels for part in convolutions if part not in over_list)
    return parameters(block), (operations + products) / 1e9, 4 * (returned + PAIR_TABLES * POSITIONS**2) / 1e6


READINGS: tuple[tuple[str, Kernel, int, bool], ...] = (
    ("on 512 channels", 3, REPRESENTATIVES, False),
    ("as released", 3, REPRESENTATIVES, True),
    ("as released", 3, 500, True),
    ("1x1 over representatives", 1, REPRESENTATIVES, True),
    ("1x1 over representatives", 1, 600, True),
)


REGIONS = 96.9e6 / POSITIONS
"""Bytes that construction and interaction take for each position of an image's features: ci/bench/README.md."""


def without_regions(network: RANet) -> float:
    """Take the regions out of a network on the meta device; return the bytes that they take for each position."""
    if network.construct is None:
        return 0.0
    network.construct = None
    rest = network.gather
    network.gather = ReleasedWithoutRegions(rest) if isinstance(rest, ReleasedInteraction) else nn.Identity()
    return REGIONS


def columns() -> Iterator[Printed]:
    """Each reading that was tried."""
    for name, kernel, representatives, on_res5 in READINGS:
        for text, ours in zip(("21 M", "212 G", "1893 MB"), overhead(kernel, representatives, on_res5), strict=True):
            yield Printed("Table 3, RANet", text, ours, None, f"{name}, {representatives} representatives")
