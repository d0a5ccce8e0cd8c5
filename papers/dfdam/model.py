"""DF-DAM: Differentiating Features for Scene Segmentation Based on Dedicated Attention Mechanisms.

Xiong, Wang, Yu, Gu, arXiv:1911.08149. The names are the paper's, so code and paper can be read side by side:

    C1, C3, C4        b _ _ _    the lowest stage of the ResNet (stride 4) and the highest two (strides 16 and 32)
    X_L, X_H          b c h w    low-level and high-level features of the fusion: C3, and C4 enlarged to its size
    alpha_L, alpha_H  b c 1 1    a weight in (0, 1) for each of their channels
    X_CI              b c h w    context information: both, weighted and added
    X_SI              b c h w    spatial information: C1
    beta              b 1 h w    a confidence in (0, 1) for each position of the spatial information
    X_F               b c h w    what is refined and classified

The paper fixes c = 128, what follows what, and the numbers of parameters and multiply-adds; it names no other width.
The layers here are chosen so that those numbers are met: `python -m ci.complexity`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.networks.backbones import Backbone
from core.networks.blocks import convolution, enlarge
from core.networks.network import Network
from core.networks.parts import Averaged, StandIns
from core.values import Rare

ChannelWeights = Float[Tensor, "b c 1 1"]


@dataclass(frozen=True)
class Architecture:
    """What can be chosen about a DF-DAM.

    Without fusion and position attention it is the "Sum" baseline. All reported rows are trained with the
    fusion "converted"; "squeezed" meets the paper's numbers of parameters to the printed digit.
    """

    backbone: Backbone = Backbone("resnet101", output_stride=32)
    dual_attention_fusion: Literal["converted", "squeezed", "none"] = "converted"
    """What weighs channels: converted features, by one layer; the stage itself, by two, squeezed; none: the sum."""
    position_attention: bool = True
    """Filter the spatial information."""
    channels: int = 128
    """The width c (paper: 128); hidden layers have half of it."""
    align_corners: Rare[bool] = True
    """How features and scores are enlarged."""


class DualAttentionFusion(nn.Module):
    """Weighs each channel of two stages by what the higher one sees as a whole, and adds them (DAFM, Figure 3).

        alpha_L = sigmoid(W_L pool(guide) + b_L),  alpha_H = sigmoid(W_H pool(guide) + b_H)
        X_CI    = alpha_L * X_L + alpha_H * X_H

    Both vectors come from the high-level features, through weights of their own. Let e_L and e_H be the differences
    between two positions A and B on one channel of X_L and of X_H. Then

        |alpha_L * X_L[A] - alpha_L * X_L[B]| = alpha_L * e_L                              Eq. (3), Eq. (4)
        e = alpha_L * e_L + alpha_H * e_H  on the same channel of X_CI                     Eq. (7), Eq. (8)

    where the first of each pair is for a channel that should tell A from B, the second for one that should not.
    Magnitudes add up like this where both maps differ in the same direction; differences with their signs always do.

    Unlike the text, `squeeze` puts a layer of that many channels and a ReLU between pool and weights.

    Raises:
        ValueError: if a number of channels is not positive.
    """

    def __init__(self, channels: int, guide_channels: int, squeeze: int | None = None) -> None:
        super().__init__()
        if min(channels, guide_channels) < 1 or (squeeze is not None and squeeze < 1):
            raise ValueError(
                f"DualAttentionFusion needs positive numbers of channels, got channels {channels}, guide_channels "
                f"{guide_channels} and squeeze {squeeze}; pass squeeze=None for the text of the paper"
            )

        def weigh() -> nn.Sequential:
            layers: list[nn.Module] = [nn.Conv2d(guide_channels, channels, kernel_size=1)]
            if squeeze is not None:
                layers = [nn.Conv2d(guide_channels, squeeze, 1), nn.ReLU(), nn.Conv2d(squeeze, channels, 1)]
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), *layers, nn.Sigmoid())

        self.to_alpha_low = weigh()
        self.to_alpha_high = weigh()

    def forward(
        self, X_L: Float[Tensor, "b c h w"], X_H: Float[Tensor, "b c h w"], guide: Float[Tensor, "b g _ _"]
    ) -> Float[Tensor, "b c h w"]:
        """Return the context information X_CI. `guide` is X_H itself, or what X_H was converted from."""
        alpha_L: ChannelWeights = self.to_alpha_low(guide)
        alpha_H: ChannelWeights = self.to_alpha_high(guide)

        low, high = alpha_L * X_L, alpha_H * X_H  # makes Eq. (3) and Eq. (4) true
        return low + high  # makes Eq. (7) and Eq. (8) true


class PositionAttention2D(nn.Module):
    """Keeps the spatial information where the context information confirms it (2DPAM, Figure 4).

        beta          = sigmoid(network of convolutions and activations([X_SI, X_CI]))
        weighted X_SI = beta * X_SI, one confidence for all channels of a position         Eq. (9)

    Raises:
        ValueError: if there are fewer than two channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"PositionAttention2D needs at least 2 channels, got {channels}")
        self.to_beta = nn.Sequential(
            convolution(2 * channels, channels // 2, 1), nn.Conv2d(channels // 2, 1, kernel_size=1), nn.Sigmoid()
        )

    def forward(self, X_SI: Float[Tensor, "b c h w"], X_CI: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the weighted spatial information."""
        beta: Float[Tensor, "b 1 h w"] = self.to_beta(torch.cat([X_SI, X_CI], dim=1))
        return beta * X_SI  # Eq. (9)


class RefineBlock(nn.Sequential):
    """The "simple refine block" of Section 3.4: two 3x3 convolutions, and a score for each class."""

    def __init__(self, channels: int, num_classes: int) -> None:
        width = channels // 2
        super().__init__(
            convolution(channels, width, 3), convolution(width, width, 3), nn.Conv2d(width, num_classes, 1)
        )


class AuxiliaryHead(nn.Sequential):
    """What an auxiliary loss is computed from (Section 3.4): one 3x3 convolution, and a score for each class."""

    def __init__(self, channels: int, num_classes: int) -> None:
        width = channels // 2
        super().__init__(convolution(channels, width, 3), nn.Conv2d(width, num_classes, 1))


class Output(NamedTuple):
    """Scores at input size: the prediction y_p, and y_c and y_s, which are for training only."""

    scores: Float[Tensor, "b k h w"]
    context: Float[Tensor, "b k h w"]
    spatial: Float[Tensor, "b k h w"]


class DFDAM(Network):
    """DF-DAM (Figure 2): context from the highest two stages, spatial information from the lowest, added and refined.

        X_F = beta * X_SI + X_CI  at each position                                         Eq. (10)

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
        form, channels = architecture.dual_attention_fusion, architecture.channels
        if channels < 16 or channels % 16:
            raise ValueError(f"channels must be a multiple of 16, as the paper's 128 is, got {channels}")
        lowest, _, third, fourth = self.backbone.channels

        self.convert_spatial = convolution(lowest, channels, 1)
        self.convert_low = convolution(third, channels, 1)
        self.convert_high = convolution(fourth, channels, 1)

        self.fusion: DualAttentionFusion | None = None
        if form == "converted":
            self.fusion = DualAttentionFusion(channels, guide_channels=channels)
        elif form == "squeezed":
            self.fusion = DualAttentionFusion(channels, guide_channels=fourth, squeeze=channels // 16)
        self.position = PositionAttention2D(channels) if architecture.position_attention else None

        self.refine = RefineBlock(channels, num_classes)
        self.classify_context = AuxiliaryHead(channels, num_classes)
        self.classify_spatial = AuxiliaryHead(channels, num_classes)

    def forward(self, image: Float[Tensor, "b _ h w"]) -> Output:
        """Return the scores of the fused features, and those of each source alone."""

        def enlarged(features: Tensor, like: Tensor) -> Tensor:
            return enlarge(features, like.shape[-2:], self.align_corners)

        C1, _, C3, C4 = self.backbone(image)
        X_L = self.convert_low(C3)
        X_H = self.convert_high(enlarged(C4, X_L))
        if self.fusion is None:
            context = X_L + X_H
        else:
            context = self.fusion(X_L, X_H, guide=X_H if self.architecture.dual_attention_fusion == "converted" else C4)

        X_SI = self.convert_spatial(C1)
        X_CI = enlarged(context, X_SI)
        spatial = X_SI if self.position is None else self.position(X_SI, X_CI)

        X_F = spatial + X_CI  # Eq. (10)

        return Output(
            enlarged(self.refine(X_F), image),
            enlarged(self.classify_context(context), image),
            enlarged(self.classify_spatial(spatial), image),
        )

    def removable(self) -> Mapping[str, StandIns]:
        """The weights of both modules: without them, all channels of a stage and all positions count the same."""
        found: dict[str, StandIns] = {}
        if self.fusion is not None:
            found["dual attention fusion"] = {
                "fusion.to_alpha_low": Averaged(self.fusion.to_alpha_low, (1,)),
                "fusion.to_alpha_high": Averaged(self.fusion.to_alpha_high, (1,)),
            }
        if self.position is not None:
            found["position attention"] = {"position.to_beta": Averaged(self.position.to_beta, (2, 3))}
        return found
