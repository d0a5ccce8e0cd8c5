"""SANet: Squeeze-and-Attention Networks for Semantic Segmentation (Zhong et al., CVPR 2020, arXiv:1909.03402).

The names are the paper's, so code and paper can be read side by side:

    C1..C4       b c h w        outputs of the backbone's four stages
    X_in         b c h w        one of them
    X_res        b k h w        the main channel: two convolutions of X_in
    X_attn_hat   b k h/r w/r    the attention channel, of X_in pooled by r; sizes are rounded up
    X_attn       b k h w        the same, enlarged
    X_out        b k h w        output of a module; Y_SA1..Y_SA4: of the four heads
    w            b c 1 1        weights of the channels, in a Squeeze-and-Excitation module
    Y_den        b k h w        output of the dense head, at the size of C4
    Y_mask       b k h w        the four heads fused, at the size of C1
    y_cat        b k            presence of each class in the image, as scores (before the sigmoid)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from core.errors import refuse_unknown, require
from core.networks.backbones import Backbone
from core.networks.blocks import classifier, enlarge
from core.networks.network import Network
from core.networks.parts import Averaged, Nothing, StandIns
from core.values import Rare
from papers.sanet.baselines import DeepLabV3Plus

GROUPS = 2
"""Groups of the first convolution of both channels (Section 3.3)."""

REDUCTION = 4
"""What the first convolution divides the number of channels by (Section 3.3)."""

SQUEEZE = 4
"""Channels of the intermediate fully connected layer of a Squeeze-and-Excitation module (Section 3.3)."""


Pooling = Literal["average", "max"]


@dataclass(frozen=True)
class Architecture:
    """What can be chosen about a SANet."""

    backbone: Backbone = Backbone("resnet101", stem="deep64")
    head: Literal["sanet", "fcn-se", "fcn", "deeplab-v3+"] = "sanet"
    """The network, or a baseline of Table 3 (fcn, fcn-se) or Table 6 (deeplab-v3+)."""
    downsampling: tuple[int, int, int, int] = (8, 8, 8, 8)
    """Of the attention channel, for each stage: the text says 8; (8, 4, 2, 1) meets Table 6's multiply-adds."""
    pooling: Pooling = "average"
    """As in Eq. (5), or in Section 3.3."""
    alpha: float = 0.2
    """Weight of the categorical loss in Eq. (6); with 0 what only it needs is not there."""
    beta: float = 0.8
    """Weight of the dense loss, likewise."""
    dense_loss: Rare[Literal["prediction", "alone"]] = "prediction"
    """What the dense loss judges: the prediction Y_den + Y_SA4, or Y_den alone."""
    align_corners: Rare[bool] = True
    """How everything is enlarged."""


def two_convolutions(channels: int, width: int) -> nn.Sequential:
    """F of Eq. (1), (2), (4) and (5): 3x3 to a fourth of the channels in two groups, BN, ReLU; 3x3 to `width`.

    Raises:
        ValueError: if the channels can't be divided like this.
    """
    require(
        channels % (GROUPS * REDUCTION) == 0 and channels > 0,
        f"{GROUPS} groups and a fourth of the channels need channels divisible by {GROUPS * REDUCTION}, "
        f"got {channels}; choose another backbone",
    )
    hidden = channels // REDUCTION
    return nn.Sequential(
        nn.Conv2d(channels, hidden, kernel_size=3, padding=1, groups=GROUPS, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, width, kernel_size=3, padding=1),
    )


class SqueezeAndExcitation(nn.Module):
    """Re-weighs the channels of its input by what the whole image looks like (SE, Figure 2(b)).

        X_out = w * X_in + F(X_in)                                                    Eq. (2)
        w     = sigmoid(W_2 ReLU(W_1 APool(X_in)))                                    Eq. (3)

    Both fully connected layers have a bias; the one between has `squeeze` channels.

    Raises:
        ValueError: if the channels are not divisible by 8, or `squeeze` is not positive.
    """

    def __init__(self, channels: int, squeeze: int = SQUEEZE) -> None:
        super().__init__()
        require(squeeze >= 1, f"SqueezeAndExcitation needs squeeze of at least 1, got {squeeze}")
        self.residual = two_convolutions(channels, channels)
        self.W_1 = nn.Conv2d(channels, squeeze, kernel_size=1)
        self.W_2 = nn.Conv2d(squeeze, channels, kernel_size=1)

    def forward(self, X_in: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return X_out for the features X_in."""
        squeezed = reduce(X_in, "b c h w -> b c 1 1", "mean")
        w = self.W_2(self.W_1(squeezed).relu()).sigmoid()  # Eq. (3)
        return w * X_in + self.residual(X_in)  # Eq. (2)


class SqueezeAndAttention(nn.Module):
    """Predicts classes position by position, and re-weighs them by groups of pixels (SA, Figure 2(c)).

        X_out      = X_attn * X_res + X_attn     with X_attn = Up(X_attn_hat)         Eq. (4)
        X_attn_hat = F_attn(APool(X_in))                                              Eq. (5)

    The attention channel is pooled, but not to a single value as in SE: what it says still has a place. Windows that
    reach over the border average what is inside, so any size will do. Up is bilinear.

    Args:
        channels: the c of X_in.
        width: the channels of X_out, as many as there are classes.
        downsampling: the side of a pooling window, in positions; 1 pools nothing.
        pooling: "average" as in Eq. (5), or "max" as in Section 3.3.
        align_corners: how the attention channel is enlarged.

    Raises:
        ValueError: if the channels are not divisible by 8, or the pooling is unknown or not positive.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        downsampling: int = 8,
        pooling: Pooling = "average",
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        refuse_unknown("pooling", pooling, Pooling)
        require(downsampling >= 1, f"downsampling must be at least 1, got {downsampling}; 1 pools nothing")
        self.align_corners = align_corners
        self.main = two_convolutions(channels, width)
        kind = nn.AvgPool2d if pooling == "average" else nn.MaxPool2d
        self.pool = kind(downsampling, downsampling, ceil_mode=True)
        self.attention = two_convolutions(channels, width)

    def attend(self, X_in: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Return X_attn, the attention channel at the size of X_in."""
        X_attn_hat = self.attention(self.pool(X_in))  # Eq. (5)
        return enlarge(X_attn_hat, X_in.shape[-2:], self.align_corners)

    def forward(self, X_in: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Return X_out for the features X_in."""
        X_res, X_attn = self.main(X_in), self.attend(X_in)
        return X_attn * X_res + X_attn  # Eq. (4)


class Output(NamedTuple):
    """Scores at input size: the prediction, and what the losses of Eq. (7) and (9) judge; `presence` is y_cat.

    A baseline has `scores` alone. Of a SANet they are Y_den + Y_SA4, or without a dense loss Y_mask.
    """

    scores: Float[Tensor, "b k h w"]
    mask: Float[Tensor, "b k h w"] | None = None
    dense: Float[Tensor, "b k h w"] | None = None
    presence: Float[Tensor, "b k"] | None = None


class SANet(Network):
    """Squeeze-and-Attention Network (Figure 3): four SA heads on the four stages of a dilated backbone.

    The heads, enlarged to the size of C1 and concatenated, are fused to the masks by a 1x1 convolution. The dense head
    is a 1x1 convolution of C4. The prediction is Y_den + Y_SA4; the average of Y_den over the image says which classes
    are present.

    Unlike the text, which gives Eq. (9) the dense head's output, `dense_loss="prediction"` gives it that sum: nothing
    else ties the channels of Y_SA4 to the classes, for the masks pass through a convolution that mixes them.

    The other heads are the baselines of Tables 3 and 6.

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
        _refuse_impossible(architecture)
        channels = self.backbone.channels

        self.decode: DeepLabV3Plus | None = None
        self.excite: SqueezeAndExcitation | None = None
        self.heads: nn.ModuleList | None = None
        self.fuse: nn.Conv2d | None = None
        if architecture.head == "sanet":
            self.heads = nn.ModuleList(
                SqueezeAndAttention(c, num_classes, r, architecture.pooling, self.align_corners)
                for c, r in zip(channels, architecture.downsampling, strict=True)
            )
            self.fuse = nn.Conv2d(len(channels) * num_classes, num_classes, kernel_size=1)
        elif architecture.head == "fcn-se":
            self.excite = SqueezeAndExcitation(channels[-1])
        elif architecture.head == "deeplab-v3+":
            self.decode = DeepLabV3Plus(channels[0], channels[-1], num_classes, self.align_corners)
        without_losses = self.heads is not None and architecture.alpha == architecture.beta == 0
        unused = without_losses or self.decode is not None
        self.dense = None if unused else classifier(channels[-1], num_classes)

    def forward(self, image: Float[Tensor, "b _ h w"]) -> Output:
        """Return the prediction, and of a SANet what its losses judge."""
        size = image.shape[-2:]
        stages = self.backbone(image)
        if self.decode is not None:
            return Output(self._enlarge(self.decode(stages[0], stages[-1]), size))
        C4 = stages[-1] if self.excite is None else self.excite(stages[-1])
        Y_den = None if self.dense is None else self.dense(C4)
        if self.heads is None or self.fuse is None:
            assert Y_den is not None
            return Output(self._enlarge(Y_den, size))

        Y_SA = [head(stage) for head, stage in zip(self.heads, stages, strict=True)]
        largest = Y_SA[0].shape[-2:]
        Y_mask = self.fuse(torch.cat([self._enlarge(maps, largest) for maps in Y_SA], dim=1))
        mask = self._enlarge(Y_mask, size)
        if Y_den is None:
            return Output(mask, mask)

        y_cat = reduce(Y_den, "b k h w -> b k", "mean") if self.architecture.alpha else None
        if not self.architecture.beta:
            return Output(mask, mask, None, y_cat)
        prediction = self._enlarge(Y_den + Y_SA[-1], size)
        dense = prediction if self.architecture.dense_loss == "prediction" else self._enlarge(Y_den, size)
        return Output(prediction, mask, dense, y_cat)

    def _enlarge(self, maps: Float[Tensor, "b k _ _"], size: torch.Size) -> Float[Tensor, "b k _ _"]:
        return enlarge(maps, size, self.align_corners)

    def removable(self) -> Mapping[str, StandIns]:
        """The attention channels, whose X_attn is then the same at all positions; and each part of the prediction.

        Of the baseline with an SE module, the weights of its channels, before their sigmoid.
        """
        if self.excite is not None:
            return {"excitation": {"excite.W_2": Averaged(self.excite.W_2, (1,))}}
        if self.heads is None:
            return {}
        found: dict[str, StandIns] = {
            "attention channels": {
                f"heads.{stage}.attention": Averaged(head.get_submodule("attention"), (2, 3))
                for stage, head in enumerate(self.heads)
            }
        }
        if self.dense is not None and self.architecture.beta:
            last = len(self.heads) - 1
            found["SA head of C4"] = {f"heads.{last}": Nothing(self.heads[last])}
            found["dense head"] = {"dense": Nothing(self.dense)}
        return found


def _refuse_impossible(architecture: Architecture) -> None:
    for name in ("alpha", "beta"):
        weight = getattr(architecture, name)
        require(weight >= 0, f"{name} must be a number of at least 0, got {weight}")
