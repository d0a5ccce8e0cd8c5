"""DANet: Dual Attention Network for Scene Segmentation (Fu et al., CVPR 2019, arXiv:1809.02983).

The names are the paper's, so code and paper can be read side by side:

    A        b c h w        local features
    B, C, D  b c (h w)      three projections of A, flattened to n = h * w positions
    S        n x n          s_ji, how much position i matters to position j; never stored
    X        c x c          x_ji, how much channel i matters to channel j
    E        b c h w        A, plus the context that each position (or channel) has gathered
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from core.errors import refuse_unknown
from core.networks.attention import attention, attention_rows
from core.networks.backbones import Backbone
from core.networks.blocks import classifier, convolution, enlarge
from core.networks.network import Network
from core.networks.parts import StandIns
from core.values import Rare

Form = Literal["released", "paper"]


@dataclass(frozen=True)
class Architecture:
    """What can be chosen about a DANet."""

    backbone: Backbone = Backbone("resnet101", multi_grid=(4, 8, 16))
    position_attention: Literal["released", "paper", "none"] = "released"
    """"released" as in the authors' code, "paper" as in the text, or none."""
    channel_attention: Literal["released", "paper", "none"] = "released"
    """"released" as in the authors' code, "paper" as in the text, or none."""
    reduction: int = 8
    """Queries and keys of the position attention have 1/reduction of its channels (released 8, text 1)."""
    side_scores: Rare[bool] = True
    """With both modules, each gets a classifier and a loss of its own, as released."""
    align_corners: Rare[bool] = True
    """How scores are enlarged (released: True)."""
    deep_supervision: Rare[bool] = False
    """A second classifier on C3 while training, as in mmsegmentation; not in the paper or its code."""


class PositionAttention(nn.Module):
    """Lets every position gather features from every other one (PAM, Figure 3(A)).

        s_ji = exp(B_i . C_j) / sum_i exp(B_i . C_j)                                  Eq. (1)
        E_j  = alpha * sum_i(s_ji * D_i) + A_j                                        Eq. (2)

    `alpha` is learned from 0, so the untrained module passes A through unchanged. Memory grows with n, not n * n.

    Unlike the text, `form="released"` takes B, C and D from bare 1x1 convolutions with bias; `form="paper"` adds the
    batch normalisation and ReLU. Unlike the text, which gives B and C the c channels of A, they have c / reduction.

    Raises:
        ValueError: if `channels` is not a multiple of `reduction`, or the form is unknown.
    """

    def __init__(self, channels: int, reduction: int = 8, form: Form = "released") -> None:
        super().__init__()
        refuse_unknown("the form of PositionAttention", form, Form)
        if reduction < 1 or channels % reduction:
            raise ValueError(
                f"PositionAttention needs channels divisible by reduction, got {channels} and "
                f"{reduction}; pass reduction=1 for the text of the paper"
            )

        def project(width: int) -> nn.Module:
            if form == "released":
                return nn.Conv2d(channels, width, kernel_size=1)
            return convolution(channels, width, kernel_size=1)

        self.to_b = project(channels // reduction)
        self.to_c = project(channels // reduction)
        self.to_d = project(channels)
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, A: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return E for the features A."""
        B = rearrange(self.to_b(A), "b c h w -> b c (h w)")
        C = rearrange(self.to_c(A), "b c h w -> b c (h w)")
        D = rearrange(self.to_d(A), "b c h w -> b c (h w)")

        context = attention(C, B, D)  # Eq. (1) and the sum in Eq. (2): position j asks with C_j, i answers with B_i

        return self.alpha * rearrange(context, "b c (h w) -> b c h w", h=A.shape[-2]) + A  # Eq. (2)

    def rows(self, A: Float[Tensor, "b c h w"], positions: Int[Tensor, " p"]) -> Float[Tensor, "b p h w"]:
        """Return the sub-attention maps of Figure 6: S_j as an image, for the positions j = y * w + x."""
        B = rearrange(self.to_b(A), "b c h w -> b c (h w)")
        C = rearrange(self.to_c(A), "b c h w -> b c (h w)")
        S = attention_rows(C, B, positions)  # Eq. (1)
        return rearrange(S, "b p (h w) -> b p h w", h=A.shape[-2])


class ChannelAttention(nn.Module):
    """Lets every channel gather features from every other one (CAM, Figure 3(B)).

        x_ji = exp(A_i . A_j) / sum_i exp(A_i . A_j)                                  Eq. (3)
        E_j  = beta * sum_i(x_ji * A_i) + A_j                                         Eq. (4)

    `beta` is learned from 0, so the untrained module passes A through unchanged. It has no other weights. Energies
    are sums over all positions and reach 5e4: they and the softmax are float32 whatever the precision.

    Unlike the text, `form="released"` computes softmax(max_i(A_i . A_j) - A_i . A_j), which equals
    softmax(-A_i . A_j): the least similar channels matter most. All public weights need it. `form="paper"` is Eq. (3).

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
        channels = rearrange(
            A, "b c h w -> b (h w) c"
        )  # the same product as over positions, with channels in their place

        context = attention(self.sign * channels, channels, channels)  # Eq. (3) and the sum in Eq. (4)

        return self.beta * rearrange(context, "b (h w) c -> b c h w", h=A.shape[-2]) + A  # Eq. (4)


class Output(NamedTuple):
    """Scores at input size; those of the single modules only with both modules and `side_scores`.

    `deep` holds those of the classifier on C3, with `deep_supervision`.
    """

    scores: Float[Tensor, "b k h w"]
    position: Float[Tensor, "b k h w"] | None = None
    channel: Float[Tensor, "b k h w"] | None = None
    deep: Float[Tensor, "b k h w"] | None = None


class Branch(nn.Module):
    """One attention module between two convolutions (a row of Figure 2): reduce, attend, transform."""

    def __init__(self, channels: int, width: int, attend: nn.Module) -> None:
        super().__init__()
        self.reduce = convolution(channels, width)
        self.attend = attend
        self.transform = convolution(width, width)

    def forward(self, features: Float[Tensor, "b f h w"]) -> Float[Tensor, "b c h w"]:
        """Return the transformed E for the backbone's features."""
        return self.transform(self.attend(self.reduce(features)))


class DANet(Network):
    """Dual Attention Network (Figure 2): two attention branches on a dilated ResNet, summed and classified.

    With one module it is that branch and its classifier; with none, the "Dilated FCN" of Table 1: a 3x3 convolution
    to a quarter of the channels and the classifier.

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
        width = channels // 4

        self.position: Branch | None = None
        if architecture.position_attention != "none":
            attend: nn.Module = PositionAttention(width, architecture.reduction, architecture.position_attention)
            self.position = Branch(channels, width, attend)
        self.channel: Branch | None = None
        if architecture.channel_attention != "none":
            self.channel = Branch(channels, width, ChannelAttention(architecture.channel_attention))
        self.plain = convolution(channels, width) if self.position is None and self.channel is None else None

        self.classify = classifier(width, num_classes)
        both = self.position is not None and self.channel is not None and architecture.side_scores
        self.classify_position = classifier(width, num_classes) if both else None
        self.classify_channel = classifier(width, num_classes) if both else None
        self.classify_deep: nn.Module | None = None
        if architecture.deep_supervision:
            self.classify_deep = nn.Sequential(convolution(middle, middle // 4), classifier(middle // 4, num_classes))

    def forward(self, image: Float[Tensor, "b _ h w"]) -> Output:
        """Return the scores of the fused features, and those of each further classifier that there is."""
        *_, C3, features = self.backbone(image)
        branches = [branch(features) for branch in (self.position, self.channel, self.plain) if branch is not None]

        def enlarged(scores: Tensor) -> Tensor:
            return enlarge(scores, image.shape[-2:], self.align_corners)

        scores = enlarged(self.classify(sum(branches)))
        deep = None if self.classify_deep is None else enlarged(self.classify_deep(C3))
        if self.classify_position is None or self.classify_channel is None:
            return Output(scores, deep=deep)
        position, channel = self.classify_position(branches[0]), self.classify_channel(branches[1])
        return Output(scores, enlarged(position), enlarged(channel), deep)

    def removable(self) -> Mapping[str, StandIns]:
        """The attention modules: without one, alpha or beta is 0 and its branch passes the features through."""
        found = {
            "position attention": {"position.attend": nn.Identity()} if self.position is not None else {},
            "channel attention": {"channel.attend": nn.Identity()} if self.channel is not None else {},
        }
        return {name: stand_ins for name, stand_ins in found.items() if stand_ins}
