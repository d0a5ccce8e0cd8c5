"""What a pixel attends to in a RANet: its region, the representatives of it, and what these receive from all others."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from PIL import Image
from torch import Tensor

from core.images.panels import Attended, Panel, Point, position_of
from core.images.pictures import percent
from core.images.pixels import to_tensor
from papers.ranet.interaction import (
    WEIGH_OTHERS,
    RegionInteraction,
    Representatives,
    at,
    collect,
    interact,
    representatives,
)
from papers.ranet.model import RANet
from papers.ranet.regions.construction import Regions


class Found(NamedTuple):
    """What a network finds in a picture, at the size of its features (an eighth of the picture).

    `A` and `regions` are of a batch of this one picture, `boundary` is B, `phi` are the representatives, `category` is
    the most probable one of C.
    """

    A: Float[Tensor, "1 c h w"]
    regions: Regions
    boundary: Float[Tensor, "h w"]
    phi: Representatives
    category: Int64[Tensor, "h w"]

    def region_map(self, title: str, category: int | None = None) -> Panel:
        """The regions in colours, numbered in raster order, with all representatives; perhaps those of a category."""
        dots = self.dots(torch.ones(self.phi.position.shape[1]))
        index = self.regions.index[0]
        if category is None:
            return Panel(title, index, "numbers", dots=dots)
        mine = self.of(category)
        return Panel(title, torch.where(mine[index], index, -1), "numbers", dots=dots[mine[self.phi.region[0]]])

    def of(self, category: int) -> Bool[Tensor, " q"]:
        """Which regions are of a category: that of most of their pixels."""
        index, most = self.regions.index[0].flatten(), int(self.category.max()) + 1
        number = int(self.regions.number)
        counts = (index * most + self.category.flatten()).bincount(minlength=number * most).view(number, most)
        return counts.argmax(dim=1) == category

    def representative_map(self) -> Panel:
        """J, from 0 in black to 1 in white, with the representatives: the lower right of Figure 3."""
        dots = self.dots(torch.ones(self.phi.position.shape[1]))
        return Panel("representative score map J", self.regions.J[0], "gray", low=0.0, high=1.0, dots=dots)

    def boundary_map(self) -> Panel:
        """B, from 0 in black to 1 in white."""
        return Panel("boundary score map", self.boundary, "gray", low=0.0, high=1.0)

    def dots(self, weight: Float[Tensor, " r"]) -> Float[Tensor, "r 3"]:
        """The representatives as dots of a panel, each in the middle of its position."""
        h, w = self.boundary.shape
        position = self.phi.position[0]
        x, y = (position % w + 0.5) / w, (position // w + 0.5) / h
        return torch.stack([x, y, weight], dim=1)


class Exchange(NamedTuple):
    """How much of what a pixel receives by Eq. (8) comes from where.

    `given` are the weights of the representatives of its region; what these collected by Eq. (6) came from the
    positions with the weights `collected`, what they received by Eq. (7) from the representatives with `received`.
    """

    given: Float[Tensor, " r"]
    collected: Float[Tensor, "h w"]
    received: Float[Tensor, " r"]


@torch.inference_mode()
def find(network: RANet, picture: Image.Image) -> Found:
    """Return the regions of a picture, its boundary score map and its representatives.

    Raises:
        ValueError: if the network has no regions.
    """
    image = network.normalisation(to_tensor(picture)).to(next(network.parameters()))
    analysis = network.analyse(image[None])
    if analysis.regions is None or analysis.boundary is None:
        raise ValueError('these weights have no regions; take those of a RANet with context="regions"')
    regions = Regions(*(part.cpu() for part in analysis.regions))
    phi = representatives(regions, network.architecture.representatives)
    boundary = analysis.boundary.float().softmax(dim=1)[0, 1].cpu()
    assert analysis.semantic is not None  # it is there where the boundary is
    return Found(analysis.A.cpu(), regions, boundary, phi, analysis.semantic[0].argmax(dim=0).cpu())


@torch.inference_mode()
def exchange(interaction: RegionInteraction, found: Found, row: int, column: int) -> Exchange:
    """Return the weights of Eq. (6), (7) and (8) that lead to a position.

    Those of Eq. (6) and (7) are averages over the representatives of its region, by their weights in Eq. (8).
    """
    A, regions, _, phi, _ = found
    L = collect(A, regions, phi)
    G = interact(L, regions, phi, others=interaction.others)
    J = at(regions.J[:, None], phi)
    number = regions.index[0, row, column]
    own = phi.region == number  # 1 r

    energies = A[0, :, row, column] @ (J * G)[0]
    given = energies.masked_fill(~own[0], -torch.inf).softmax(dim=0)  # of Eq. (8)

    mine = phi.region[own][None]
    weights = WEIGH_OTHERS[interaction.others](L[0][:, own[0]].T[None] @ (J * L), mine, phi.region)[0]
    received = given[own[0]] @ weights  # of Eq. (7)

    outside = regions.index[0].flatten() == number
    outside[phi.position[0, own[0]]] = False  # representatives collect from the others alone
    weighted = (regions.J[:, None] * A).flatten(2)[0][:, outside]
    weights = (at(A, phi)[0][:, own[0]].T @ weighted).softmax(dim=1)
    collected = torch.zeros(outside.shape)
    collected[outside] = given[own[0]] @ weights  # of Eq. (6)
    return Exchange(given, collected.view_as(found.boundary), received)


def attention(network: RANet, picture: Image.Image) -> Callable[[Point], Attended]:
    """Return what answers for any point: its region and representatives, and what they collect and exchange.

    Of a network whose pixels do not receive by Eq. (6) to (8) as printed, the regions alone are shown.

    Raises:
        ValueError: if the network has no regions.
    """
    found, interaction = find(network, picture), network.gather
    number = int(found.regions.number)
    maps = (found.region_map(f"all regions: {number}"), found.boundary_map())

    def at_point(point: Point) -> Attended:
        row, column = position_of(point, picture, found.boundary)
        inside = (found.regions.index[0] == found.regions.index[0, row, column]).float()
        region = Panel(
            f"its region, {percent(float(inside.mean()))} of the picture", inside, "gray", 0.0, 1.0, smooth=False
        )
        if not (isinstance(interaction, RegionInteraction) and interaction.intra and interaction.inter):
            sentence = (
                "White is the region of this pixel. What its representatives exchange is not drawn for this network."
            )
            return Attended(sentence, (region, *maps))
        given, collected, received = exchange(interaction, found, row, column)
        others = f"received from other regions: {number - 1}"
        return Attended(
            "White is the region of this pixel; the dots are its representatives, the brighter the more this pixel "
            "takes from them, Eq. (8). They collected from the bright positions of the region, Eq. (6), and received "
            "from the representatives of the other regions, the brighter the more, Eq. (7).",
            (
                replace(region, dots=found.dots(_shares(given))[given > 0]),
                Panel("collected in the region", collected, low=0.0),
                replace(region, title=others, dots=found.dots(_shares(received))[received > 0]),
                *maps,
            ),
        )

    return at_point


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.max().clamp(min=1e-12)
