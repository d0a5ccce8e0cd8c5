"""PDANet: Pyramid Dual Attention Network for Scene Segmentation (Guoqiang Liu, Zhejiang University, 2019).

The names are the paper's, so code and paper can be read side by side:

    A        b c h w        local features; at a level of the pyramid, h = w = 1, 2, 3 or 6
    B, C, D  b c (h w)      three projections of A, flattened to n = h * w positions
    S        n x n          s_ji, how much position i matters to position j; never stored
    X        c x c          x_ji, how much channel i matters to channel j
    E        b c h w        A, plus the context that each position (or channel) has gathered

Eq. (1) to Eq. (5) define what related work uses (atrous convolution, a CRF) and nothing of this network.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import refuse_unknown
from core.networks.attention import attention, attention_rows
from core.networks.backbones import Backbone
from core.networks.blocks import classifier, convolution, enlarge, pooled
from core.networks.network import Network
from core.networks.parts import StandIns
from core.values import Rare

LEVELS = (1, 2, 3, 6)
"""The pyramid of Figure 1(c): a level of k pools the features to k x k positions."""

WIDEST = 512
"""The most channels of a level and of the fused features, whatever the backbone."""


Form = Literal["released", "paper"]


@dataclass(frozen=True)
class Architecture:
    """What can be chosen about a PDANet."""

    backbone: Backbone = Backbone("resnet18", stem="deep64")
    head: Literal["pdanet", "psp", "danet", "fcn"] = "pdanet"
    """By its row in Tables 1 and 2: pdanet, psp (pyramid pooling), danet (dual attention), fcn (a 3x3 convolution)."""
    channel_attention: Form = "released"
    """"released" as in the author's code, "paper" as in Eq. (8)."""
    reduction: int = 8
    """Queries and keys of the position attention have 1/reduction of its channels (released 8, text 1)."""
    deep_supervision: Rare[bool] = False
    """A second classifier on C3 while training, which neither the paper nor its code has."""
    loss_size: Rare[Literal["image", "features"]] = "image"
    """Compare scores and labels at the size of the image, or of the features, an eighth of it (released)."""
    align_corners: Rare[bool] = False
    """How features and scores are enlarged (released: False)."""


class PositionAttention(nn.Module):
    """Lets every position gather features from every other one (Section 3.3, Figure 2(A)).

        s_ji = exp(B_i . C_j) / sum_i exp(B_i . C_j)                                  Eq. (6)
        E_j  = alpha * sum_i(s_ji * D_i) + A_j                                        Eq. (7)

    `alpha` is learned from 0, so the untrained module passes A through unchanged. B, C and D are 1x1 convolutions
    of A. At the level 1 there is one position: s is 1, and E = alpha * D + A.

    Unlike the text, which gives B and C the c channels of A, they have c / reduction.

    Raises:
        ValueError: if `channels` is not a multiple of `reduction`.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        if reduction < 1 or channels % reduction:
            raise ValueError(
                f"PositionAttention needs channels divisible by reduction, got {channels} and "
                f"{reduction}; pass reduction=1 for the text of the paper"
            )
        self.to_b = nn.Conv2d(channels, channels // reduction, kernel_size=1)
        self.to_c = nn.Conv2d(channels, channels // reduction, kernel_size=1)
        self.to_d = nn.Conv2d(channels, channels, kernel_size=1)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, A: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return E for the features A."""
        B = rearrange(self.to_b(A), "b c h w -> b c (h w)")
        C = rearrange(self.to_c(A), "b c h w -> b c (h w)")
        D = rearrange(self.to_d(A), "b c h w -> b c (h w)")

        context = attention(C, B, D)  # Eq. (6) and the sum in Eq. (7): position j asks with C_j, i answers with B_i

        return self.alpha * rearrange(context, "b c (h w) -> b c h w", h=A.shape[-2]) + A  # Eq. (7)

    def rows(self, A: Float[Tensor, "b c h w"], positions: Int[Tensor, " p"]) -> Float[Tensor, "b p h w"]:
        """Return S_j as an image, for the positions j = y * w + x: how much every position matters to j."""
        B = rearrange(self.to_b(A), "b c h w -> b c (h w)")
        C = rearrange(self.to_c(A), "b c h w -> b c (h w)")
        S = attention_rows(C, B, positions)  # Eq. (6)
        return rearrange(S, "b p (h w) -> b p h w", h=A.shape[-2])


class ChannelAttention(nn.Module):
    """Lets every channel gather features from every other one (Section 3.4, Figure 2(B)).

        x_ji = exp(A_i . A_j) / sum_i exp(A_i . A_j)                                  Eq. (8)
        E_j  = beta * sum_i(x_ji * A_i) + A_j                                         Eq. (9)

    `beta` is learned from 0, so the untrained module passes A through unchanged. It has no other weights. Energies
    and the softmax are float32 whatever the precision.

    Unlike the text, `form="released"` computes softmax(max_i(A_i . A_j) - A_i . A_j), which equals
    softmax(-A_i . A_j): the least similar channels matter most. `form="paper"` is Eq. (8).

    Raises:
        ValueError: if the form is unknown.
    """

    def __init__(self, form: Form = "released") -> None:
        super().__init__()
        refuse_unknown("the form of ChannelAttention", form, Form)
        self.sign = 1.0 if form == "paper" else -1.0
        self.beta = nn.Parameter(torch.zeros(()))

    def forward(self, A: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return E for the features A."""
        channels = rearrange(A, "b c h w -> b (h w) c")  # as over positions, with channels in their place

        context = attention(self.sign * channels, channels, channels)  # Eq. (8) and the sum in Eq. (9)

        return self.beta * rearrange(context, "b (h w) c -> b c h w", h=A.shape[-2]) + A  # Eq. (9)


class Branch(nn.Module):
    """One attention module between two convolutions: reduce, attend, transform."""

    def __init__(self, channels: int, width: int, attend: nn.Module) -> None:
        super().__init__()
        self.reduce = convolution(channels, width)
        self.attend = attend
        self.transform = convolution(width, width)

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b c h w"]:
        """Return the transformed E for the given features."""
        return self.transform(self.attend(self.reduce(features)))


class DualAttention(nn.Module):
    """Position attention and channel attention side by side, summed (Figure 2).

    Both work on a quarter of the channels. The sum goes through a 1x1 convolution with bias to `width` channels, of
    any number: those of a level of the pyramid, or the classes where dual attention is the whole head.
    """

    def __init__(self, channels: int, width: int, reduction: int = 8, form: Form = "released") -> None:
        super().__init__()
        self.position = Branch(channels, channels // 4, PositionAttention(channels // 4, reduction))
        self.channel = Branch(channels, channels // 4, ChannelAttention(form))
        self.project = classifier(channels // 4, width)

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b c h w"]:
        """Return the features of both branches, summed and projected."""
        return self.project(self.position(features) + self.channel(features))


class PyramidPooling(nn.Module):
    """Pools features to each level, transforms each, enlarges and concatenates them (Section 3.2).

    Levels need not divide the map: as in PyTorch's adaptive pooling, neighbouring bins then share a row or column.
    The first channels of the result are the features themselves.

    Args:
        transforms: one module for each of `LEVELS`, which changes the number of channels only.
        align_corners: how levels are enlarged (bilinear).
    """

    def __init__(self, transforms: Iterable[nn.Module], align_corners: bool = False) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)
        self.align_corners = align_corners

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b c h w"]:
        """Return the features and all levels of their pyramid.

        Raises:
            ValueError: in training, if a process has one image alone: the level 1 then has one value for each channel.
        """
        if any(norm.training for norm in self.modules() if isinstance(norm, nn.BatchNorm2d)) and len(features) == 1:
            raise ValueError(
                "training needs at least 2 images at a time on each process, got 1: the pyramid's level of one "
                "position has then one value for each channel, and batch normalisation no variance; raise "
                "--recipe.optimisation.batch, or use fewer processes or a smaller --run.accumulate"
            )
        size = features.shape[-2:]
        levels = [transform(A) for transform, A in zip(self.transforms, self.pooled(features), strict=True)]
        enlarged = [enlarge(level, size, self.align_corners) for level in levels]
        return torch.cat([features, *enlarged], dim=1)

    def pooled(self, features: Float[Tensor, "b f h w"]) -> list[Float[Tensor, "b f _ _"]]:
        """Return the mean features of each bin, level by level."""
        return [pooled(features, level) for level in LEVELS]


class PyramidDualAttention(nn.Module):
    """Dual attention at every level of a pyramid, fused by a 3x3 convolution (Figure 1(c)).

    At each level the dual attention is followed by batch normalisation and ReLU. Levels and result have the channels
    of the features, at most 512.

    Unlike PSPNet, levels are not narrowed to a quarter before the concatenation: 5 x 512 channels with a ResNet-18.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 8,
        form: Form = "released",
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        width = min(channels, WIDEST)

        def level() -> nn.Module:
            return nn.Sequential(DualAttention(channels, width, reduction, form), nn.BatchNorm2d(width), nn.ReLU())

        self.pyramid = PyramidPooling((level() for _ in LEVELS), align_corners)
        self.fuse = convolution(channels + len(LEVELS) * width, width)

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b c h w"]:
        """Return features that know the whole image at four scales."""
        return self.fuse(self.pyramid(features))


class Output(NamedTuple):
    """Scores at input size; and what only the objective needs.

    `coarse` holds the scores before they are enlarged, with `loss_size="features"`. `deep` holds those of the
    classifier on C3, with `deep_supervision`, at the size of `coarse` if that is given, else at input size.
    """

    scores: Float[Tensor, "b k h w"]
    deep: Float[Tensor, "b k _ _"] | None = None
    coarse: Float[Tensor, "b k _ _"] | None = None


class PDANet(Network):
    """Pyramid Dual Attention Network (Figure 1): a dilated ResNet, pyramid dual attention, a classifier.

    The other heads are the baselines of Tables 1 and 2. As in the author's code, new convolutions start from He's
    normal distribution, and new batch normalisations from a bias of 1e-4.

    Unlike the author's code, each dual attention comes without the two side classifiers whose results are discarded.

    Args:
        num_classes: the k of the scores.
        architecture: everything else.
        choices: fields of the architecture that are to be others, such as backbone="resnet18".

    Raises:
        ValueError: if the architecture is impossible.
    """

    def __init__(self, num_classes: int, architecture: Architecture = Architecture(), **choices: Any) -> None:
        super().__init__(num_classes, architecture, **choices)
        architecture = self.architecture
        _, _, middle, channels = self.backbone.channels
        width = min(channels, WIDEST)
        reduction, form = architecture.reduction, architecture.channel_attention

        self.gather: nn.Module
        self.classify: nn.Module
        if architecture.head == "pdanet":
            self.gather = PyramidDualAttention(channels, reduction, form, self.align_corners)
            self.classify = classifier(width, num_classes)
        elif architecture.head == "psp":
            pyramid = PyramidPooling((convolution(channels, width, 1) for _ in LEVELS), self.align_corners)
            self.gather = nn.Sequential(pyramid, convolution(channels + len(LEVELS) * width, width))
            self.classify = classifier(width, num_classes)
        elif architecture.head == "danet":
            self.gather = nn.Identity()
            self.classify = DualAttention(channels, num_classes, reduction, form)
        else:
            self.gather = convolution(channels, channels // 4)
            self.classify = nn.Conv2d(channels // 4, num_classes, kernel_size=1)

        self.classify_deep: nn.Module | None = None
        if architecture.deep_supervision:
            self.classify_deep = nn.Sequential(
                convolution(middle, channels // 4), classifier(channels // 4, num_classes)
            )
        for part in self.children():
            if part is not self.backbone:
                part.apply(_initialise)

    def forward(self, image: Float[Tensor, "b _ h w"]) -> Output:
        """Return the scores, and what the objective needs beside them."""
        _, _, C3, C4 = self.backbone(image)

        def enlarged(scores: Tensor) -> Tensor:
            return enlarge(scores, image.shape[-2:], self.align_corners)

        coarse = self.classify(self.gather(C4))
        deep = None if self.classify_deep is None else self.classify_deep(C3)
        if self.architecture.loss_size == "features":
            return Output(enlarged(coarse), deep, coarse)
        return Output(enlarged(coarse), None if deep is None else enlarged(deep))

    def removable(self) -> Mapping[str, StandIns]:
        """The attention modules of all levels: without them, alpha or beta is 0 at each level."""
        ends = {"position attention": ".position.attend", "channel attention": ".channel.attend"}
        paths = {name: [path for path, _ in self.named_modules() if path.endswith(end)] for name, end in ends.items()}
        return {name: {path: nn.Identity() for path in found} for name, found in paths.items() if found}


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.constant_(module.bias, 1e-4)
