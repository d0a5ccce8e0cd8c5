"""How fast and how frugal RANet's regions are, beside a form that builds tables of all pairs.

    OMP_WAIT_POLICY=passive python -m ci.bench regions
    python -m ci.bench regions --side 33 --rounds 5
    python -m ci.bench regions --device cuda --no-compare

Everything is float32, one image. "trained" maps are made from the labels of an embedded scene and have a few dozen
regions; "untrained" ones are nearly uniform, which makes a single region, the most work that there can be. The usual
form keeps D, E and F as tables of n * n entries, with the place of each maximum, as the authors' code does; it is given
our maximum along lines, without which it would take minutes, and computes the terms of E again for the backward pass,
without which it would not fit. Both run in the same process, in turns. Peak memory is what forward and backward add to
the inputs, each measured in a fresh process (Linux only).

Seconds are those of the clock or, where that is less, the processor's, summed over threads: on a busy machine the clock
counts the work of others too, and an idle one takes no longer than the sum. The exit code is 1 if a target is missed:

    CPU, 97 x 97     construction forward 9 s, forward + backward 25 s, memory 300 MB; interaction 1 s
    CPU, 33 x 33     construction forward + backward 0.6 s
    CUDA, 97 x 97    construction and interaction together, forward + backward 0.06 s, memory 1893 MB (Table 3)
    any              construction takes no more time and at most 1/5 of the memory of the usual form

The usual form needs about 34 bytes for each pair (i, j), 3 GB at the default size.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ci.bench.harness import Line, growth, in_new_process, on_cuda, report, say, seconds
from core.datasets.sets import scenes
from papers.ranet.interaction import RegionInteraction
from papers.ranet.regions.construction import RegionConstruction, Regions, number_regions
from papers.ranet.regions.pairs import halves

SECONDS: dict[tuple[str, int], dict[str, float]] = {  # targets by kind of device and side
    ("cpu", 97): {
        "construction, forward": 9.0,
        "construction, forward + backward": 25.0,
        "interaction, forward + backward": 1.0,
    },
    ("cpu", 33): {"construction, forward + backward": 0.6},
    ("cuda", 97): {"both, forward + backward": 0.06},
}
MEGABYTES: dict[tuple[str, int], dict[str, float]] = {
    ("cpu", 97): {"construction": 300.0},
    ("cuda", 97): {"both": 1893.0},
}
TIME_TARGET, MEMORY_TARGET = 1.0, 1 / 5
CHANNELS = 512
PAPER = ("paper", True, True)

Kind = Literal["trained", "untrained"]
Name = Literal["usual", "construction", "both"]
Build = Callable[[Tensor, Tensor], Regions]


def maps(kind: Kind, side: int, classes: int, device: str) -> tuple[Tensor, Tensor]:
    """Return B (1 h w) and C (1 k h w) of a square map."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, classes, side, side, generator=generator)
    uncertain = torch.rand(1, side, side, generator=generator)
    if kind == "untrained":
        return (0.05 + 0.02 * uncertain).to(device), (0.1 * noise).softmax(dim=1).to(device)
    _, picture = scenes.draw(scenes.SPLITS["test"][0], 0, 4 * side, 4 * side)
    labels = torch.from_numpy(picture[None, 2::4, 2::4].copy()).long()
    labels = labels.where(labels < classes, 0)
    scores = 6 * functional.one_hot(labels, classes).movedim(3, 1) + noise
    edge = functional.pad((labels[:, :, 1:] != labels[:, :, :-1]).float(), (0, 1))
    edge = edge.maximum(functional.pad((labels[:, 1:] != labels[:, :-1]).float(), (0, 0, 0, 1)))
    return (0.9 * edge + 0.08 * uncertain).to(device), scores.softmax(dim=1).to(device)


# The usual form


class LineTable(torch.autograd.Function):
    """D of all pairs of one image as a table, with a table of where each maximum was found."""

    @staticmethod
    def forward(ctx: Any, B: Tensor) -> Tensor:
        """Return D (n n)."""
        n = B.numel()
        D, places = B.new_zeros(n, n), torch.zeros(n, n, dtype=torch.int32, device=B.device)
        for i, j, lines, tile, pairs in LineTable.pairs(B):
            values, place = lines.maxima_and_places(tile)
            D[i, j] = D[j, i] = values[pairs]
            places[i, j] = place.expand(pairs.shape)[pairs].int()
        ctx.save_for_backward(B, places)
        return D

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient for B."""
        B, places = ctx.saved_tensors
        (dD,) = gradients
        dB = torch.zeros_like(B)
        for half in halves(B, B[:, None], PAPER):
            for lines, all_tiles in half.lengths():
                for tile in all_tiles:
                    i, j, _ = LineTable.ends(half, tile, B)
                    lines.pull(places[i, j].long(), dD[i, j] + dD[j, i])
                half.turn(dB).add_(lines.gradient())
        return dB

    @staticmethod
    def pairs(B: Tensor) -> Any:
        """Yield, tile by tile, the pixels i and j of all pairs, their lines, the tile, and which entries are pairs."""
        for half in halves(B, B[:, None], PAPER):
            for lines, all_tiles in half.lengths():
                for tile in all_tiles:
                    i, j, pairs = LineTable.ends(half, tile, B)
                    yield i, j, lines, tile, pairs

    @staticmethod
    def ends(half: Any, tile: Any, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pixels i and j of the pairs of a tile, and which of its entries are pairs."""
        number = half.turn(torch.arange(B.numel(), device=B.device).view_as(B))
        pairs = half.pairs(tile)[None].expand(tile.size(1))
        return tile.start(number).expand(pairs.shape)[pairs], tile.end(number).expand(pairs.shape)[pairs], pairs


def _term(c: Tensor) -> Tensor:
    """Return S log2 S of all pairs for the probabilities of one class."""
    S = c[:, None] + c
    return S * S.log2()


def usual(B: Tensor, C: Tensor) -> Regions:
    """Return the regions of one image by tables of all pairs."""
    D = LineTable.apply(B)
    c = C[0].flatten(1)
    own = (c * (1 + c.log2())).sum(dim=0) / 2
    E = own[:, None] + own
    for of_class in c:
        E = E - checkpoint(_term, of_class, use_reentrant=False) / 2
    F = (1 - D) * (1 - E)
    grouped = ((F + F.T) / 2 > 0.8).fill_diagonal_(True)
    index, number = number_regions(grouped.byte().argmax(dim=1).view_as(B))
    same = index.view(-1, 1) == index.view(-1)
    J = (F * same).sum(dim=1) / same.sum(dim=1)
    return Regions(index, J.view_as(B), number)


CONSTRUCT = RegionConstruction()


# Measurements


def forward(build: Build, B: Tensor, C: Tensor) -> None:
    """Find the regions without gradient."""
    with torch.no_grad():
        build(B, C)


def training(build: Build, B: Tensor, C: Tensor) -> None:
    """Find the regions, and the gradients of their scores."""
    leaves = [x.detach().requires_grad_() for x in (B, C)]
    torch.autograd.grad(build(*leaves).J.sum(), leaves)


def interaction(regions: Regions, A: Tensor) -> None:
    """Let regions interact, and find the gradients."""
    leaves = [x.detach().requires_grad_() for x in (A, regions.J)]
    torch.autograd.grad(RegionInteraction()(leaves[0], regions._replace(J=leaves[1])).sum(), leaves)


def both(A: Tensor, B: Tensor, C: Tensor) -> None:
    """Find the regions and let them interact, and find the gradients: what a step of training adds to the backbone."""
    leaves = [x.detach().requires_grad_() for x in (A, B, C)]
    torch.autograd.grad(RegionInteraction()(leaves[0], CONSTRUCT(*leaves[1:])).sum(), leaves)


def memory_of(name: Name, side: int, classes: int, device: str) -> int:
    """Return the bytes that forward and backward add to untrained maps; on a CPU, call it in a new process."""

    def of_side(length: int) -> Callable[[], None]:
        B, C = maps("untrained", length, classes, device)
        if name == "both":
            return partial(both, torch.randn(1, CHANNELS, length, length, device=device), B, C)
        return partial(training, usual if name == "usual" else CONSTRUCT, B, C)

    of_side(7)()  # libraries load, and kernels are compiled, at their first use
    return growth(of_side(side), device)


def megabytes(name: Name, side: int, classes: int, device: str) -> float:
    """Return `memory_of` in MB, on a CPU measured where nothing else has used memory yet."""
    arguments = (name, side, classes, device)
    return (memory_of(*arguments) if on_cuda(device) else in_new_process(memory_of, *arguments)) / 1e6


def measured(side: int, classes: int, rounds: int, device: str, compare: bool) -> Iterator[Line]:
    """Measure construction, interaction and both on trained and untrained maps, and their memory."""
    size = (torch.device(device).type, side)
    builds: dict[str, Build] = {"construction": CONSTRUCT, **({"usual": usual} if compare else {})}
    for build in builds.values():
        training(build, *maps("untrained", 7, classes, device))
    kinds: tuple[Kind, ...] = ("trained", "untrained")
    for kind in kinds:
        B, C = maps(kind, side, classes, device)
        regions = CONSTRUCT(B, C)
        say(f"{kind} maps: {int(regions.number)} regions")
        A = torch.randn(1, CHANNELS, side, side, device=device)
        interaction(regions, A)
        runs: dict[str, Callable[[], None]] = {
            f"{name}, {what}": partial(run, build, B, C)
            for what, run in (("forward", forward), ("forward + backward", training))
            for name, build in builds.items()
        }
        runs["interaction, forward + backward"] = partial(interaction, regions, A)
        runs["both, forward + backward"] = partial(both, A, B, C)
        times = seconds(runs, rounds, device, uncounted=int(on_cuda(device)), processor=True)
        for what in (name for name in times if not name.startswith("usual")):
            yield Line(f"{what}, {kind}", times[what], "s", None, SECONDS.get(size, {}).get(what))
            if compare and what.startswith("construction"):
                theirs = times[what.replace("construction", "usual")]
                yield Line(f"{what}, {kind}", times[what], "s", theirs, TIME_TARGET)
    for name in ("construction", "both"):
        target = MEGABYTES.get(size, {}).get(name)
        yield Line(f"{name}, memory", megabytes(name, side, classes, device), "MB", None, target)
    if compare:
        ours, theirs = (megabytes(name, side, classes, device) for name in ("construction", "usual"))
        yield Line("construction, memory", ours, "MB", theirs, MEMORY_TARGET)


def main(
    side: int = 97,
    classes: int = 19,
    rounds: int = 1,
    device: str = "cpu",
    compare: bool = True,
    to: Path | None = None,
) -> int:
    """Measure the regions of RANet in time and memory; return 1 if a target is missed.

    Args:
        side: height and width of the map.
        classes: of the semantic scores; the targets are for 19.
        rounds: timed rounds, whose median is taken.
        device: "cpu" or a CUDA device.
        compare: with the usual form.
        to: a file for the figures, as JSON.
    """
    return report(list(measured(side, classes, rounds, device, compare)), device, to)
