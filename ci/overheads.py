"""RANet's Table 3: what its block and those of four other papers add to a backbone, in every reading that was tried.

Layers are those of the public code of each paper. Of RANet there are three readings:

as released       what its code puts on the 2048 channels of res5, from the first convolution to both classifiers
1x1               the same with 1x1 convolutions over the list of representatives
on 512 channels   its interaction on the 512 channels that the table's header names, without the convolution that makes
                  them and without classifiers, and the first convolution of its auxiliary branch

What RANet adds in multiply-adds grows with the number of representatives in an image, which the table does not print;
the text says 400 pixels for a region, and the released code 8 representatives for each.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Literal

import torch
from torch import nn

from ci.columns import OVERHEADS, PRINTED
from ci.counting import parameters
from core.networks.blocks import convolution
from papers.ranet.model import RANet
from papers.ranet.recipes import RELEASED
from papers.ranet.released import ListLayer

SIDE = 97
POSITIONS = SIDE**2
RES5 = 2048
WIDTH = 512
"""The channels that the header of the table names, and those of each block."""
CLASSES = 19
NUMBER = 4
"""Bytes of a number in float32."""

PIXELS_OF_A_REGION = 400
"""On average (Section 5.2)."""
REPRESENTATIVES = round(POSITIONS / PIXELS_OF_A_REGION * RELEASED.representatives)
TABLES = 8
"""Tables of all pairs that the released code makes for an image: E, D, where D has its maximum, one that is never used,
1 - E, 1 - D, F and its symmetric part."""


@dataclass(frozen=True)
class Overhead:
    """What a block adds.

    `parameters` in millions; multiply-adds in thousand millions: of `convolutions`, without biases, and of the
    `products` of its attentions. `memory` in millions of bytes is a lower bound: what its convolutions return for one
    image, each once, and its tables of scores.
    """

    parameters: float
    convolutions: float
    products: float
    memory: float

    @property
    def multiply_adds(self) -> float:
        """Those of convolutions and products."""
        return self.convolutions + self.products


def overhead(
    layers: Iterable[nn.Module], products: int, scores: int, *, positions: int = POSITIONS, again: int = 0
) -> Overhead:
    """Count a block from its layers, the multiply-adds of its products and the numbers in its tables of scores.

    `again`: multiply-adds of convolutions that run a second time.
    """
    parts = nn.ModuleList(layers)
    convolutions = [part for part in parts.modules() if isinstance(part, nn.Conv2d)]
    operations = positions * sum(part.weight.numel() for part in convolutions) + again
    returned = positions * sum(part.out_channels for part in convolutions)
    return Overhead(parameters(parts), operations / 1e9, products / 1e9, NUMBER * (returned + scores) / 1e6)


def point(channels: int, width: int, bias: bool = True) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(channels, width, kernel_size=1, bias=bias)


def query_key_value() -> list[nn.Module]:
    """The three 1x1 convolutions of DANet's and CCNet's attention, with an eighth of the channels in two of them."""
    return [point(WIDTH, WIDTH // 8), point(WIDTH, WIDTH // 8), point(WIDTH, WIDTH)]


def danet(channels: int = RES5) -> Overhead:
    """Both attentions of DANet, a 3x3 convolution before and behind each, three classifiers; on so many channels."""
    layers = [convolution(channels, WIDTH), convolution(channels, WIDTH), *query_key_value()]
    layers += [convolution(WIDTH, WIDTH), convolution(WIDTH, WIDTH), *(point(WIDTH, CLASSES) for _ in range(3))]
    pairs, channel_pairs = POSITIONS**2, WIDTH**2
    products = pairs * (WIDTH // 8 + WIDTH) + 2 * channel_pairs * POSITIONS
    return overhead(layers, products, pairs + channel_pairs)


def ccnet(joined: int) -> Overhead:
    """CCNet: 3x3, criss-cross attention twice with the same weights, 3x3; fused with so many channels (0: not)."""
    attention = query_key_value()
    layers = [convolution(RES5, WIDTH), *attention, convolution(WIDTH, WIDTH), point(WIDTH, CLASSES)]
    if joined:
        layers.append(convolution(joined, WIDTH))
    scores = 2 * POSITIONS * (2 * SIDE - 1)
    again = POSITIONS * sum(part.weight.numel() for part in attention if isinstance(part, nn.Conv2d))
    return overhead(layers, scores * (WIDTH // 8 + WIDTH), scores, again=again)


def asymmetric(*, second: bool = False, fusion: bool = False) -> Overhead:
    """Asymmetric NL: 3x3 and APNB, whose keys and values are 110 pooled ones.

    `second`: with another 3x3 between them. `fusion`: with AFNB, which fuses res4 and res5 before.
    """
    half, pooled = WIDTH // 2, 1 + 9 + 36 + 64
    layers = [convolution(RES5, WIDTH), convolution(WIDTH, half, 1), point(WIDTH, half), point(half, WIDTH)]
    layers.append(convolution(2 * WIDTH, WIDTH, 1))
    if second:
        layers.append(convolution(WIDTH, WIDTH))
    if fusion:
        layers += [convolution(RES5 // 2, half, 1), convolution(RES5, half, 1), point(RES5 // 2, half)]
        layers += [point(half, RES5), convolution(2 * RES5, RES5, 1)]
    scores = (1 + fusion) * POSITIONS * pooled
    return overhead(layers, scores * WIDTH, scores)


def psanet(side: int, shrunk: bool = False) -> Overhead:
    """PSANet: two branches with a mask of every offset, on a map of so many positions a side; 3x3 of 4096 channels.

    `shrunk`: the branches see half the side.
    """
    inner = (side + 1) // 2 if shrunk else side
    offsets = (2 * inner - 1) ** 2
    layers: list[nn.Module] = [convolution(2 * WIDTH, RES5, 1)]
    for _ in range(2):
        layers += [convolution(RES5, WIDTH, 1), convolution(WIDTH, WIDTH, 1), point(WIDTH, offsets, bias=False)]
    scores = 2 * inner**4
    inside = overhead(layers, scores * WIDTH, scores, positions=inner**2)
    outside = overhead([convolution(2 * RES5, WIDTH), point(WIDTH, CLASSES)], 0, 0, positions=side**2)
    return Overhead(
        inside.parameters + outside.parameters,
        inside.convolutions + outside.convolutions,
        inside.products,
        inside.memory + outside.memory,
    )


Kernel = Literal[1, 3]
RANET: dict[str, tuple[Kernel, bool]] = {"on 512 channels": (3, False), "as released": (3, True), "1x1": (1, True)}
"""By reading: the kernel of the layers over representatives, and whether the block stands on res5. The first is
compared."""


@cache
def _without_representatives(kernel: Kernel, on_res5: bool) -> tuple[Overhead, int]:
    """Count RANet without any representative, and the weights of its layers that each representative meets."""
    with torch.device("meta"):
        network = RANet(CLASSES, replace(RELEASED, kernel=kernel))
    assert network.heads is not None
    ends = (network.reduce, network.classify, network.classify_boundary) if on_res5 else (network.heads.trunk,)
    layers = nn.ModuleList([part for part in (network.gather, network.fuse, *ends) if isinstance(part, nn.Module)])
    over_list = [part.convolve for part in layers.modules() if isinstance(part, ListLayer)]
    weights = sum(part.weight.numel() for part in over_list)
    counted = overhead(layers, 0, TABLES * POSITIONS**2, again=-POSITIONS * weights)
    unreturned = NUMBER * POSITIONS * sum(part.out_channels for part in over_list) / 1e6
    return replace(counted, memory=counted.memory - unreturned), weights


def ranet_block(kernel: Kernel, representatives: int = REPRESENTATIVES, on_res5: bool = True) -> Overhead:
    """Count RANet in a reading, with a number of representatives in the image.

    Multiply-adds are those of convolutions and of the six products of its three softmaxes; those of the layers over
    representatives, and of the products, grow with their number.
    """
    without, weights = _without_representatives(kernel, on_res5)
    products = 2 * representatives * WIDTH * (2 * POSITIONS + representatives)
    convolutions = without.convolutions + representatives * weights / 1e9
    return replace(without, convolutions=convolutions, products=products / 1e9)


def representatives_for(multiply_adds: float, reading: str) -> int:
    """How many representatives RANet needs in an image to reach a number of multiply-adds, in thousand millions."""
    kernel, on_res5 = RANET[reading]
    return bisect_left(
        range(POSITIONS + 1), multiply_adds, key=lambda number: ranet_block(kernel, number, on_res5).multiply_adds
    )


OTHERS: dict[str, dict[str, Callable[[], Overhead]]] = {
    "Asymmetric NL": {
        "AFNB and APNB, as released": lambda: asymmetric(fusion=True),
        "APNB alone": asymmetric,
        "APNB behind a second 3x3": lambda: asymmetric(second=True),
    },
    "CCNet": {
        "fused with 2048 channels, as released": lambda: ccnet(RES5 + WIDTH),
        "fused with 512 channels": lambda: ccnet(2 * WIDTH),
        "not fused": lambda: ccnet(0),
    },
    "DANet": {"as released": danet, "on 512 channels": lambda: danet(WIDTH)},
    "PSANet": {
        "all offsets of 97 x 97": lambda: psanet(SIDE),
        "all offsets of half the map": lambda: psanet(SIDE, shrunk=True),
        "on a map of 81 x 81": lambda: psanet(81),
    },
}
"""By row: the readings that were tried, the first of which is compared. None has a number that could be chosen."""


@cache
def readings(row: str) -> dict[str, Overhead]:
    """Count a row in every reading that was tried; RANet with the number of representatives that its text gives."""
    if row == "RANet":
        return {name: ranet_block(kernel, on_res5=on_res5) for name, (kernel, on_res5) in RANET.items()}
    with torch.device("meta"):
        return {name: count() for name, count in OTHERS[row].items()}


@dataclass(frozen=True)
class Counting:
    """A way to count and to print: whether products count, operations of a multiply-add, units, cut or rounded."""

    products: bool
    operations: int
    binary: bool
    cut: bool

    def shown(self, counted: Overhead) -> tuple[int, int]:
        """Return millions of parameters and thousand millions of operations, as they would be printed."""
        operations = self.operations * (counted.convolutions + self.products * counted.products)
        exact = counted.parameters, operations
        if self.binary:
            exact = counted.parameters * 1e6 / 2**20, operations * 1e9 / 2**30
        first, second = (int(value) if self.cut else round(value) for value in exact)
        return first, second


COUNTINGS = tuple(Counting(*choice) for choice in product((True, False), (1, 2), (False, True), (False, True)))


def printed(row: str) -> tuple[int, int]:
    """Millions of parameters and thousand millions of operations that the table prints for a row."""
    parameters, operations = (PRINTED[(*OVERHEADS, row, column)] for column in ("parameters", "multiply-adds"))
    return int(parameters.text), int(operations.text)


def rows_met(counting: Counting) -> list[str]:
    """The rows of which some reading gives both numbers; RANet's with any number of representatives."""
    met = [row for row in OTHERS if any(counting.shown(counted) == printed(row) for counted in readings(row).values())]
    free = any(
        counting.shown(ranet_block(kernel, number, on_res5)) == printed("RANet")
        for kernel, on_res5 in RANET.values()
        for number in range(0, POSITIONS + 1, 10)  # ten more add less than 1 G
    )
    return [*met, "RANet"] if free else met
