"""What every backbone is: a network of timm that gives four maps, C1 to C4, from fine to coarse."""

from collections.abc import Iterable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from core.networks import recompute


class Features(nn.Module):
    """C1 to C4 of a backbone: their `channels`, and their `strides` such as (4, 8, 8, 8).

    Where the sides of the image must be divisible by `multiple`, it is padded at the right and at the bottom with 0,
    the mean colour, and the maps are cut to the size that they have with any other backbone.

    The network is timm's, in `body`. Its keys are the classification network's without the classifier; for a plain
    ResNet, torchvision's without `fc`.
    """

    def __init__(
        self,
        body: nn.Module,
        channels: Iterable[int],
        strides: Iterable[int],
        multiple: int = 1,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = multiple
        self.recompute = False  # `core.networks.recompute`
        self.channels_last = channels_last  # of the body's maps: some transformers of timm give b h w c
        self.body = body
        self.channels: tuple[int, ...] = tuple(channels)
        self.strides: tuple[int, ...] = tuple(strides)

    def forward(self, image: Float[Tensor, "b _ h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return [C1, C2, C3, C4]."""
        height, width = image.shape[-2:]
        if self.multiple > 1:
            image = nn.functional.pad(image, (0, -width % self.multiple, 0, -height % self.multiple))
        found = recompute.recomputed(self.body, image) if self.recompute and self.training else self.body(image)
        if self.channels_last:
            found = [map_.permute(0, 3, 1, 2).contiguous() for map_ in found]
        if self.multiple == 1:
            return found
        return [
            map_[..., : -(-height // stride), : -(-width // stride)]
            for map_, stride in zip(found, self.strides, strict=True)
        ]


def features_of(body: nn.Module, multiple: int = 1) -> Features:
    """A network of timm that gives its maps, as a backbone."""
    info: Any = body.feature_info
    channels_last = str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC")
    return Features(body, info.channels(), info.reduction(), multiple, channels_last)
