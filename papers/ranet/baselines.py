"""The pixel-wise context that Table 1 puts instead of regions, and the features of its strongest backbone.

A   b c h w    features of the image, M channels
O   b c h w    the context that each pixel has gathered, M channels
"""

from collections.abc import Iterable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from core.networks.attention import attention
from core.networks.blocks import convolution, enlarge, pooled

LEVELS = (1, 2, 3, 6)
"""The bins a side of spatial pyramid pooling (Zhao et al., CVPR 2017)."""


class SpatialPyramidPooling(nn.Module):
    """SPP of Table 1: what 1, 4, 9 and 36 bins of the image look like on average, for every pixel of each bin.

    Each level has a quarter of the channels, so that together they have those of A.

    Raises:
        ValueError: if the channels cannot be divided by the number of levels.
    """

    def __init__(self, channels: int, align_corners: bool = True) -> None:
        super().__init__()
        if channels % len(LEVELS):
            raise ValueError(f"SpatialPyramidPooling needs channels divisible by {len(LEVELS)}, got {channels}")
        self.levels = nn.ModuleList(convolution(channels, channels // len(LEVELS), 1) for _ in LEVELS)
        self.align_corners = align_corners

    def forward(self, A: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return O, the enlarged levels side by side."""
        levels = (level(pooled(A, bins)) for bins, level in zip(LEVELS, self.levels, strict=True))
        return torch.cat([enlarge(level, A.shape[-2:], self.align_corners) for level in levels], dim=1)


class NonLocalAttention(nn.Module):
    """Non-local attention of Table 1 (Wang et al., CVPR 2018, embedded Gaussian): every pixel attends to every other.

        O_i = A_i + norm(W_o sum_j softmax_j(q_i . k_j) v_j)

    with q, k and v of half the channels. The norm starts at 0, so the untrained module passes A through unchanged.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Conv2d(channels, channels // 2, kernel_size=1) for _ in range(3))
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.project = nn.Sequential(nn.Conv2d(channels // 2, channels, kernel_size=1), norm)

    def forward(self, A: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return O for the features A."""
        q, k, v = (rearrange(part(A), "b c h w -> b c (h w)") for part in (self.to_q, self.to_k, self.to_v))
        return A + self.project(rearrange(attention(q, k, v), "b c (h w) -> b c h w", h=A.shape[-2]))


class HighResolutionRepresentation(nn.Module):
    """The four resolutions of an HRNet at stride 4, mixed by a 1x1 convolution: HRNetV2 (Sun et al., 2019).

    Unlike there, means of 2x2 pixels then bring them to stride 8, the size of the maps of Table 3.

    Args:
        channels: of C1 to C4, at strides 4 to 32.
    """

    def __init__(self, channels: Iterable[int], align_corners: bool = True) -> None:
        super().__init__()
        self.channels = sum(channels)
        self.mix = convolution(self.channels, self.channels, 1)
        self.align_corners = align_corners

    def forward(self, maps: list[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b c h w"]:
        """Return features of the size of C2."""
        finest, *rest = maps
        resized = [enlarge(map_, finest.shape[-2:], self.align_corners) for map_ in rest]
        return functional.avg_pool2d(self.mix(torch.cat([finest, *resized], dim=1)), 2, ceil_mode=True)
