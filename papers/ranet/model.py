"""RANet: Region Attention Network for Semantic Segmentation (Shen, Ji, Li, Wang, Lin, NeurIPS 2020).

The names are the paper's, so code and paper can be read side by side; k is its N, c its M:

    A    b c h w    features of the image
    B    b h w      boundary score map: the probability that a pixel lies on a boundary
    C    b k h w    semantic score maps: the probability of each category
    O    b c h w    contextual features: A, and what each pixel has received from all regions

Regions are made from B and C by RCB (`construction.py`, Eq. (1) to (5)), and exchange their context by RIB
(`interaction.py`, Eq. (6) to (8)). No layer of RIB is learned, and the path from the scores of the network back to B
and C leads through the representative scores J alone: grouping has no gradient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from core.errors import require
from core.networks.backbones import Backbone
from core.networks.blocks import AtrousSpatialPyramidPooling, classifier, convolution, enlarge
from core.networks.network import Network
from core.networks.parts import StandIns
from core.values import Rare
from papers.ranet.baselines import HighResolutionRepresentation, NonLocalAttention, SpatialPyramidPooling
from papers.ranet.interaction import Others, RegionInteraction, WithoutRegions
from papers.ranet.regions.construction import RegionConstruction, Regions
from papers.ranet.released import ReleasedHeads, ReleasedInteraction, ReleasedWithoutRegions, leaky_convolution

HIGH_RESOLUTION = 512
"""The channels of A on an HRNet; on a ResNet they are a quarter of the backbone's, 512 of 2048."""


@dataclass(frozen=True)
class Architecture:
    """What can be chosen about a RANet."""

    backbone: Backbone = Backbone("resnet101", stem="deep64")
    context: Literal["regions", "non-local", "spp", "identity", "none"] = "regions"
    """What pixels gather: regions, a baseline of Table 1, or with identity O = A behind the same layers."""
    reading: Literal["paper", "released"] = "paper"
    """The equations as printed, or what the authors' code computes."""
    supervised: Literal["regions", "all", "none"] = "regions"
    """Which contexts have RCB's score maps, a boundary classifier and the three losses that train them."""
    boundary_map: Rare[bool] = True
    """With regions: the region attention map has D (Table 1)."""
    semantic_map: Rare[bool] = True
    """With regions: it has E."""
    intra: Rare[bool] = True
    """With regions: RIB collects and distributes inside regions (Section 5.1)."""
    inter: Rare[bool] = True
    """With regions: RIB lets regions interact."""
    representatives: int = 8
    """K, of each region."""
    kernel: Rare[Literal[1, 3]] = 3
    """Of the released reading's layers over representatives."""
    score_maps: Rare[Literal["A", "res4"]] = "A"
    """What B and C are made from: A by one layer each, or res4 by the trunk of the authors' code."""
    other_regions: Rare[Others] = "sum"
    """What Eq. (7) does with them: sum as printed, mean, or joint, the one softmax of the authors' code."""
    region_kernel: Rare[Literal[1, 3]] = 1
    """Of W^g: 1, a number, or 3, a 3x3 kernel over each region attention map, in plain PyTorch alone."""
    align_corners: Rare[bool] = True
    """How scores are enlarged (released: True)."""


class Heads(nn.Module):
    """Boundary and semantic scores: "A is passed to two separate convolutional layers" (Section 3.1).

    Unlike the text, the boundary has two scores, and its probability is their softmax, as in the authors' code.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.boundary = classifier(channels, 2)
        self.semantic = classifier(channels, num_classes)

    def forward(self, A: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b k h w"]]:
        """Return both score maps before their softmax."""
        return self.boundary(A), self.semantic(A)


class Output(NamedTuple):
    """Scores at input size; all but the first for training, and only where they are supervised.

    `coarse` and `coarse_boundary` are RCB's, what C and B are the softmax of; `boundary` is of the features that are
    classified. Boundaries have two scores: inside a region, and on a boundary.
    """

    scores: Float[Tensor, "b k h w"]
    coarse: Float[Tensor, "b k h w"] | None = None
    boundary: Float[Tensor, "b 2 h w"] | None = None
    coarse_boundary: Float[Tensor, "b 2 h w"] | None = None


class Analysis(NamedTuple):
    """What the network makes of an image before regions interact, at the size of the features.

    `boundary` and `semantic` are the scores whose softmax is B and C. Regions are there only if they are the context.
    """

    A: Float[Tensor, "b c h w"]
    boundary: Float[Tensor, "b 2 h w"] | None = None
    semantic: Float[Tensor, "b k h w"] | None = None
    regions: Regions | None = None


class RANet(Network):
    """Region Attention Network (Figure 1): a dilated ResNet, RCB, RIB, a classifier.

    A is a 3x3 convolution of res5 to a quarter of its channels, with batch normalisation and ReLU. What is classified
    is a 3x3 convolution of A and O side by side, or A itself without context. On an HRNet, A is the atrous pyramid
    (ASPP) of its four resolutions at stride 8.

    While training, the buffers `number_of_regions` and `positions_in_a_region` hold the means of the last batch, for
    `metrics.jsonl`; the text has 400 pixels in a region on average (Section 3.3).

    Unlike the text, which does not say how O is used, it stands beside A, as in the authors' code. With
    `reading="released"`, B and C come from C3 (res4), and RIB has the layers of that code.

    Args:
        num_classes: the k of the scores.
        architecture: everything else.

    Raises:
        ValueError: if the architecture is impossible.
    """

    number_of_regions: Tensor
    positions_in_a_region: Tensor

    def __init__(self, num_classes: int, architecture: Architecture = Architecture(), **choices: Any) -> None:
        super().__init__(num_classes, architecture, **choices)
        architecture = self.architecture
        refuse_impossible(architecture)
        released = architecture.reading == "released"
        layer = leaky_convolution if released else convolution
        _, _, middle, last = self.backbone.channels

        self.resolutions: HighResolutionRepresentation | None = None
        if architecture.backbone.name == "hrnet_w48":
            width = HIGH_RESOLUTION
            self.resolutions = HighResolutionRepresentation(self.backbone.channels, self.align_corners)
            self.reduce: nn.Module = AtrousSpatialPyramidPooling(self.resolutions.channels, width)
        else:
            width = last // 4
            self.reduce = layer(last, width)

        self.gather = _context(architecture, width)
        self.fuse = None if self.gather is None else layer(2 * width, width)
        self.classify = classifier(width, num_classes)

        with_regions = architecture.context == "regions"
        supervised = architecture.supervised == "all" or (with_regions and architecture.supervised == "regions")
        self.on_res4 = released or architecture.score_maps == "res4"
        self.heads: nn.Module | None = None
        if with_regions or supervised:
            self.heads = ReleasedHeads(middle, num_classes) if self.on_res4 else Heads(width, num_classes)
        self.classify_boundary = classifier(width, 2) if supervised else None
        self.construct: RegionConstruction | None = None
        if with_regions:
            self.construct = RegionConstruction(
                architecture.reading,
                boundary=architecture.boundary_map,
                semantic=architecture.semantic_map,
                kernel=architecture.region_kernel,
            )
            if self.construct.bias is not None:
                self.construct.bias.requires_grad_(False)  # it follows the weight
            self.register_buffer("number_of_regions", torch.zeros(()), persistent=False)
            self.register_buffer("positions_in_a_region", torch.zeros(()), persistent=False)

    def analyse(self, image: Float[Tensor, "b _ h w"]) -> Analysis:
        """Return the features A, the score maps of RCB if there are any, and the regions if they are the context."""
        maps = self.backbone(image)
        A = self.reduce(maps[-1] if self.resolutions is None else self.resolutions(maps))
        if self.heads is None:
            return Analysis(A)
        boundary, semantic = self.heads(maps[-2] if self.on_res4 else A)
        if self.construct is None:
            return Analysis(A, boundary, semantic)
        B = boundary.float().softmax(dim=1)[:, 1]
        C = semantic.float().softmax(dim=1)
        regions = construct_within_bounds(self.construct, B, C)
        if self.training:
            numbers = regions.number.float()
            self.number_of_regions.copy_(numbers.mean())
            self.positions_in_a_region.copy_((B[0].numel() / numbers).mean())
        return Analysis(A, boundary, semantic, regions)

    def forward(self, image: Float[Tensor, "b _ h w"]) -> Output:
        """Return the scores, and what supervises the construction of regions."""
        A, coarse_boundary, coarse, regions = self.analyse(image)
        features = A
        if self.gather is not None and self.fuse is not None:
            context = self.gather(A) if regions is None else self.gather(A, regions)  # O
            features = self.fuse(torch.cat([A, context.to(A.dtype)], dim=1))

        def enlarged(scores: Tensor) -> Tensor:
            return enlarge(scores, image.shape[-2:], self.align_corners)

        scores = enlarged(self.classify(features))
        if coarse is None or coarse_boundary is None or self.classify_boundary is None:
            return Output(scores)
        boundary = enlarged(self.classify_boundary(features))
        return Output(scores, enlarged(coarse), boundary, enlarged(coarse_boundary))

    def why_no_graph(self) -> str | None:
        """The image decides how many representatives there are, so networks with regions are no graphs."""
        if self.construct is None:
            return None
        return (
            "a RANet with regions can't be exported: the image decides how many representatives there are, and in a "
            "graph the sizes of tensors follow from the size of the image. It runs in Python (hub.from_pretrained, "
            "python -m hub.predict); a RANet of another context can be exported, such as one that train.py "
            "ranet-tiny-camvid-backbone makes"
        )

    def removable(self) -> Mapping[str, StandIns]:
        """The context: without regions only the first term of Eq. (8) is left; without interaction, of Eq. (7)."""
        if isinstance(self.gather, NonLocalAttention):
            return {"non-local attention": {"gather": nn.Identity()}}
        if isinstance(self.gather, ReleasedInteraction):
            return {"regions": {"gather": ReleasedWithoutRegions(self.gather)}}
        if not isinstance(self.gather, RegionInteraction):
            return {}
        found: dict[str, StandIns] = {"regions": {"gather": WithoutRegions()}}
        if self.gather.inter and self.gather.intra:
            alone = RegionInteraction(self.gather.representatives, intra=True, inter=False)
            found["interaction between regions"] = {"gather": alone}
        return found


class CoarseSegmentation(RANet):
    """A RANet that answers with the semantic score maps of RCB alone: the coarse segmentation of Table 4.

    Its weights are those of the whole network, and it is for testing only.
    """

    def forward(self, image: Float[Tensor, "b _ h w"]) -> Output:
        """Return the coarse scores.

        Raises:
            ValueError: if the network has no regions.
        """
        output = super().forward(image)
        if output.coarse is None:
            raise ValueError('a network without regions has no coarse segmentation; take one with context="regions"')
        return Output(output.coarse)


def construct_within_bounds(
    construct: RegionConstruction, B: Float[Tensor, "b h w"], C: Float[Tensor, "b k h w"]
) -> Regions:
    """Return the regions, with W^g kept where the text has J: between 0 and 1.

        F^g = w F + (1 - w),  0 <= w <= 1

    so that F^g and J are in [0, 1], and a pixel always belongs with itself. It starts at w = 1, the identity. Unlike
    the text, which leaves W^g free: J multiplies all features, and what lowers it is learned within 20 steps, until no
    F^g exceeds the threshold and each pixel is a region of its own. With reading "released" there is no W^g. Of a 3x3
    kernel, no weight is below 0 and w is their sum.
    """
    weight, bias = construct.weight, construct.bias
    if weight is None or bias is None:
        return construct(B, C)
    if construct.training:
        with torch.no_grad():  # a step may have left the bounds: the nearest point within them, where it can learn on
            weight.copy_(_bounded(weight))
            bias.copy_(1 - weight.sum())
    w = weight if construct.training else _bounded(weight)  # whose gradient is 0 at the bounds
    return functional_call(construct, {"weight": w, "bias": 1 - w.sum()}, (B, C))


def _bounded(weight: Tensor) -> Tensor:
    """Return the weights without what is below 0, divided by their sum if that is above 1."""
    weight = weight.clamp(min=0.0)
    return weight / weight.sum().clamp(min=1.0)


def refuse_impossible(architecture: Architecture) -> None:
    """Refuse what no network can be.

    Raises:
        ValueError: saying what was given and what is allowed.
    """
    require(
        architecture.boundary_map or architecture.semantic_map,
        "regions need the boundary map, the semantic map or both, got neither; set boundary_map or semantic_map",
    )
    released = architecture.reading == "released"
    require(
        not released or (architecture.intra and architecture.inter),
        'intra=False and inter=False are for reading="paper": the released code has layers between all three steps',
    )
    require(
        not (released and architecture.region_kernel == 3),
        'region_kernel=3 is for reading="paper": the released code does not apply W^g',
    )
    require(
        architecture.backbone.name != "hrnet_w48" or not (released or architecture.score_maps == "res4"),
        'reading="released" and score_maps="res4" take B and C from the C3 of a ResNet, which an HRNet has not at '
        'stride 8; use "paper" and "A"',
    )


def _context(architecture: Architecture, width: int) -> nn.Module | None:
    """What makes O from A (and from regions)."""
    if architecture.context == "non-local":
        return NonLocalAttention(width)
    if architecture.context == "spp":
        return SpatialPyramidPooling(width, architecture.align_corners)
    if architecture.context == "identity":
        return nn.Identity()
    if architecture.context == "none":
        return None
    if architecture.reading == "released":
        return ReleasedInteraction(width, architecture.representatives, architecture.kernel)
    return RegionInteraction(
        architecture.representatives, architecture.intra, architecture.inter, architecture.other_regions
    )
