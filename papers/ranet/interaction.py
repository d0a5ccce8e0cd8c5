"""RANet's region interaction: how regions exchange what they know through a few representative pixels each.

The names are the paper's; r is the largest number of representatives of an image of the batch, and n = h * w:

    J      b h w      representative scores, from the region construction
    phi    b r        the representatives of all regions of an image, in raster order
    A      b c h w    visual features
    L      b c r      A^l, local contextual representations of the representatives
    G      b c r      A^g, their global contextual representations
    O      b c h w    contextual features

Images have different numbers of regions, and regions different numbers of pixels. The steps are therefore softmaxes
over a list of representatives that is padded to the longest of the batch, with each pair compared by region: there is
no loop over images or regions. Tables of energies have at most TABLE_ENTRIES entries; where all rows do not fit, blocks
of rows follow one another and are computed again for the backward pass.

Every step has two scopes. "region" is the text's. "global" is what the authors' code computes: every softmax runs over
all candidates of the image, scores multiply the keys but not the values, and the first terms are unweighted. That code
has layers of its own between the steps; `representatives`, `collect`, `interact` and `distribute` are functions so that
a network can put them there.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from core.errors import refuse_unknown, require
from papers.ranet.regions.construction import Regions

Scope = Literal["region", "global"]
Others = Literal["sum", "mean", "joint"]

TABLE_ENTRIES = 2**23  # of a block of energies: 34 MB in float32

# Regions of keys and queries that take no part; no two are equal.
NOT_A_QUERY, NOT_A_KEY = -1, -2


class Representatives(NamedTuple):
    """The representative pixels of a batch: phi(R_q) of all regions of each image, in raster order, then padding.

    A list layer, such as the released 3x3 convolutions, sees a list as its image did if padded entries are zero, as
    all functions here leave them: zeros beyond its end are what a convolution pads with. Statistics of a batch
    normalisation must be taken over `entries` alone.
    """

    position: Int64[Tensor, "b r"]  # y * w + x; 0 where not valid
    region: Int64[Tensor, "b r"]  # the region of the pixel; -1 where not valid
    valid: Bool[Tensor, "b r"]
    entries: Int64[Tensor, " e"]  # where, in the lists one after the other, `valid` holds


def representatives(regions: Regions, K: int) -> Representatives:
    """Return phi(R_q): the K pixels of each region with the highest J, or all pixels of a region that has fewer.

    Among equal scores the first pixel in raster order is taken. The choice has no gradient. A GPU is waited for once,
    for the numbers of representatives, on which sizes depend; nothing else in RANet's regions, forward or backward,
    makes the CPU wait.

    Raises:
        ValueError: if K is below 1.
    """
    require(K >= 1, f"each region needs at least one representative, got K = {K}; the paper takes 8")
    index, J = (x.detach().flatten(1) for x in (regions.index, regions.J))
    by_score = J.argsort(dim=1, descending=True, stable=True)
    order = by_score.gather(1, index.gather(1, by_score).argsort(dim=1, stable=True))  # by region, then by score
    region = index.gather(1, order)
    place = torch.arange(index.shape[1], device=index.device).expand_as(index)
    begins = torch.ones_like(region, dtype=torch.bool)
    begins[:, 1:] = region[:, 1:] != region[:, :-1]
    rank = place - torch.where(begins, place, 0).cummax(dim=1).values
    chosen = torch.zeros_like(begins).scatter(1, order, rank < K)

    count = chosen.sum(dim=1)
    counts = count.tolist()  # here the device is waited for, once: the sizes of all that follows depend on these
    valid = place[:, : max(counts)] < count[:, None]
    position = torch.where(valid, chosen.byte().argsort(dim=1, descending=True, stable=True)[:, : valid.shape[1]], 0)
    entries = valid.flatten().byte().argsort(descending=True, stable=True)[: sum(counts)]
    return Representatives(position, torch.where(valid, index.gather(1, position), NOT_A_QUERY), valid, entries)


def at(A: Float[Tensor, "b c h w"], phi: Representatives) -> Float[Tensor, "b c r"]:
    """Return the features of the representatives, and zeros in the padding."""
    position = phi.position[:, None].expand(-1, A.shape[1], -1)
    return A.flatten(2).gather(2, position) * phi.valid[:, None]


def collect(
    A: Float[Tensor, "b c h w"], regions: Regions, phi: Representatives, scope: Scope = "region"
) -> Float[Tensor, "b c r"]:
    """Let the representatives receive the features of pixels: the intra-region collection.

        A^l_p = J_p A_p + sum_i softmax_i(A_p . (J_i A_i)) (J_i A_i),  i in R_q without phi(R_q)        Eq. (6)

    A region that consists of representatives has nothing to collect: its sum is 0. With scope "global", i is any pixel
    of the image: A_p + sum_i softmax_i(A_p . (J_i A_i)) A_i.
    """
    A, J = _exact(A), regions.J[:, None]
    weighted, query = A * J, at(A, phi)
    keys, values = weighted.flatten(2), (weighted if scope == "region" else A).flatten(2)
    if scope == "region":
        outside = regions.index.flatten(1)  # the regions of those pixels that may be collected
        inside = torch.where(phi.valid, phi.position, outside.shape[1])
        outside = torch.cat([outside, outside[:, :1]], dim=1).scatter(1, inside, NOT_A_KEY)[:, :-1]
        gathered = _attend(query, keys, values, phi.region, outside)
        return at(weighted, phi) + gathered  # Eq. (6)
    return query + _attend(query, keys, values, _all(phi), torch.zeros_like(regions.index.flatten(1)))


def interact(
    L: Float[Tensor, "b c r"],
    regions: Regions,
    phi: Representatives,
    scope: Scope = "region",
    others: Others = "sum",
) -> Float[Tensor, "b c r"]:
    """Let the representatives of different regions exchange what they collected: the inter-region interaction.

        A^g_p = J_p A^l_p + sum_{s != q} sum_i softmax_i(A^l_p . (J_i A^l_i)) (J_i A^l_i),  i in phi(R_s)   Eq. (7)

    The softmax is over one other region s at a time, so the sum has the weight of Q - 1 averages; of a single region
    only the first term is left. With scope "global" there is one softmax over all representatives, the own region's
    included: A^l_p + sum_i softmax_i(A^l_p . (J_i A^l_i)) A^l_i.

    Unlike the printed equation, `others="mean"` divides the sum by Q - 1, and "joint" takes one softmax over the
    representatives of all other regions together: both have the weight of one average, however many regions there are.
    """
    L = _exact(L)
    weighted = L * at(regions.J[:, None], phi)
    if scope == "region":
        weigh = WEIGH_OTHERS[others]
        return weighted + _attend(L, weighted, weighted, phi.region, phi.region, weigh)  # Eq. (7)
    return L + _attend(L, weighted, L, _all(phi), _all(phi))


def distribute(
    A: Float[Tensor, "b c h w"],
    G: Float[Tensor, "b c r"],
    regions: Regions,
    phi: Representatives,
    scope: Scope = "region",
) -> Float[Tensor, "b c h w"]:
    """Let every pixel receive the global context from representatives: the intra-region distribution.

        O_i = J_i A_i + sum_p softmax_p(A_i . (J_p A^g_p)) (J_p A^g_p),  p in phi(R_q), the region of i   Eq. (8)

    With scope "global", p is any representative of the image: A_i + sum_p softmax_p(A_i . (J_p A^g_p)) A^g_p.
    """
    A, G = _exact(A), _exact(G)
    weighted = G * at(regions.J[:, None], phi)
    pixels = regions.index.flatten(1)
    if scope == "region":
        received = _attend(A.flatten(2), weighted, weighted, pixels, phi.region)
        return regions.J[:, None] * A + received.view_as(A)  # Eq. (8)
    return A + _attend(A.flatten(2), weighted, G, torch.zeros_like(pixels), _all(phi)).view_as(A)


class RegionInteraction(nn.Module):
    """Enhances every pixel by the context of its own and all other regions (RIB), Eq. (6), (7) and (8) in turn.

    It has no weights. Everything is computed in float32 (float64 if A is), also under autocast.

    Args:
        representatives: K, how many pixels represent a region; a smaller region uses those that it has.
        intra: collection and distribution. Without them representatives start from the first term of Eq. (6) and only
            they are updated: O is A^g where a pixel represents its region, and the first term of Eq. (8) elsewhere.
        inter: interaction. Without it A^g is the first term of Eq. (7).
        others: of Eq. (7): a "sum" of one softmax for each other region, as printed, their "mean", or one "joint".

    Raises:
        ValueError: if `representatives` is below 1.
    """

    def __init__(
        self, representatives: int = 8, intra: bool = True, inter: bool = True, others: Others = "sum"
    ) -> None:
        super().__init__()
        refuse_unknown("others", others, Others)
        require(
            representatives >= 1,
            f"RegionInteraction needs at least one representative per region, got {representatives}; the paper takes 8",
        )
        self.representatives, self.intra, self.inter, self.others = representatives, intra, inter, others

    def forward(self, A: Float[Tensor, "b c h w"], regions: Regions) -> Float[Tensor, "b c h w"]:
        """Return O for the features A and the regions of the same images."""
        A = _exact(A)
        phi = representatives(regions, self.representatives)
        J = regions.J[:, None]
        L = collect(A, regions, phi) if self.intra else at(J * A, phi)
        G = interact(L, regions, phi, others=self.others) if self.inter else at(J, phi) * L
        return distribute(A, G, regions, phi) if self.intra else _put(J * A, G, phi)


class WithoutRegions(nn.Module):
    """What is left of RIB if regions contribute nothing: O_i = J_i A_i, the first term of Eq. (8)."""

    def forward(self, A: Float[Tensor, "b c h w"], regions: Regions) -> Float[Tensor, "b c h w"]:
        """Return O for the features A and the scores of the regions."""
        return regions.J[:, None] * _exact(A)


def _put(A: Tensor, G: Tensor, phi: Representatives) -> Tensor:
    """Return the map A (b c h w) with the representatives' features replaced by G (b c r)."""
    position = torch.where(phi.valid, phi.position, A[0, 0].numel())[:, None].expand_as(G)
    beyond = G.new_zeros(*A.shape[:2], 1)  # a place for what pads the lists
    return torch.cat([A.flatten(2), beyond], dim=2).scatter(2, position, G)[..., :-1].view_as(A)


def _exact(x: Tensor) -> Tensor:
    """Return x in float32 if it has less precision: energies are unscaled sums over many channels."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _all(phi: Representatives) -> Tensor:
    """Return region 0 for every representative, as if the image were one region."""
    return torch.where(phi.valid, 0, NOT_A_QUERY)


def _own_region(S: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the softmax of energies S (b q k) over the keys of the query's region (b q, b k); 0 if there are none."""
    allowed = (queries[:, :, None] == keys[:, None]) & (keys[:, None] >= 0)
    return S.masked_fill(~allowed, torch.finfo(S.dtype).min).softmax(dim=2) * allowed


def _other_regions(S: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the softmaxes of energies S (b q k), one over each region of keys (b k) other than the query's (b q)."""
    allowed = (queries[:, :, None] != keys[:, None]) & (keys[:, None] >= 0) & (queries[:, :, None] >= 0)
    group = keys.clamp(min=0)[:, None].expand_as(S)
    S = S.masked_fill(~allowed, torch.finfo(S.dtype).min)
    per_region = torch.full_like(S, torch.finfo(S.dtype).min)  # there are no more regions than representatives
    largest = per_region.scatter_reduce(2, group, S.detach(), "amax")
    P = (S - largest.gather(2, group)).exp() * allowed
    total = torch.zeros_like(per_region).scatter_add(2, group, P).gather(2, group)
    return P / torch.where(allowed, total, 1.0)


def _mean_of_other_regions(S: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the same softmaxes, divided by the number of other regions: keys have the numbers 0 .. Q - 1."""
    others = keys.amax(dim=1).clamp(min=1)[:, None, None]
    return _other_regions(S, queries, keys) / others


def _all_other_regions(S: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return one softmax of energies S (b q k) over all keys of other regions; 0 if there are none."""
    allowed = (queries[:, :, None] != keys[:, None]) & (keys[:, None] >= 0) & (queries[:, :, None] >= 0)
    return S.masked_fill(~allowed, torch.finfo(S.dtype).min).softmax(dim=2) * allowed


WEIGH_OTHERS: dict[Others, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sum": _other_regions,
    "mean": _mean_of_other_regions,
    "joint": _all_other_regions,
}
"""What Eq. (7) does with energies (b q k) of the regions of queries (b q) and keys (b k), for each way."""


def _attend(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    queries: Tensor,
    keys: Tensor,
    weigh: Callable[[Tensor, Tensor, Tensor], Tensor] = _own_region,
) -> Tensor:
    """Return for every query (b c q) the weighted sum of values V (b c k), by the energies Q . K of allowed keys.

    `queries` (b q) and `keys` (b k) are regions, by which `weigh` decides who attends to whom.
    """

    def block(q: Tensor, region: Tensor) -> Tensor:
        with torch.autocast(device_type=q.device.type, enabled=False):
            P = weigh(torch.bmm(q.transpose(1, 2), K), region, keys)
            return torch.bmm(V, P.transpose(1, 2))

    height = max(1, TABLE_ENTRIES // max(1, K.shape[0] * K.shape[2]))
    if Q.shape[2] <= height:
        return block(Q, queries)
    rows = zip(Q.split(height, dim=2), queries.split(height, dim=1), strict=True)
    return torch.cat([checkpoint(block, *row, use_reentrant=False, preserve_rng_state=False) for row in rows], dim=2)
