"""DeepLab V3+, the strongest baseline that Table 6 trains on SANet's own backbone.

C1      b c h w        the backbone's first stage, at a fourth of the image
C4      b c h/2 w/2    its last stage, at an eighth; sizes are rounded up
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.networks.blocks import AtrousSpatialPyramidPooling, classifier, convolution, enlarge

WIDTH = 256
"""Channels of the pyramid and of the decoder."""

LOW_LEVEL = 48
"""Channels that C1 is reduced to, so that it does not outweigh the pyramid."""


class DeepLabV3Plus(nn.Module):
    """The head of DeepLab V3+ (Chen et al., ECCV 2018) in Table 6: the pyramid of C4, and a decoder that C1 refines.

    The pyramid, enlarged to the size of C1, stands beside C1 of 48 channels; two 3x3 convolutions and a classifier.

    Unlike Chen et al., who also make the 3x3 convolutions separable, it has whole ones: Table 6 counts them.

    Args:
        first: the channels of C1.
        last: the channels of C4.
        num_classes: the k of the scores.
        align_corners: how the pyramid is enlarged.
    """

    def __init__(self, first: int, last: int, num_classes: int, align_corners: bool = True) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.pyramid = AtrousSpatialPyramidPooling(last, WIDTH, WIDTH)
        self.reduce = convolution(first, LOW_LEVEL, 1)
        self.refine = nn.Sequential(convolution(WIDTH + LOW_LEVEL, WIDTH), convolution(WIDTH, WIDTH))
        self.classify = classifier(WIDTH, num_classes)

    def forward(self, C1: Float[Tensor, "b f h w"], C4: Float[Tensor, "b g _ _"]) -> Float[Tensor, "b k h w"]:
        """Return the scores at the size of C1."""
        wide = enlarge(self.pyramid(C4), C1.shape[-2:], self.align_corners)
        return self.classify(self.refine(torch.cat([wide, self.reduce(C1)], dim=1)))
