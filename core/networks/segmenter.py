"""What a network is before it has files, classes or pictures: a backbone and what a paper puts on top.

This is all that the modelling file of a published network keeps of `core.networks.network` (`hub.doors`).
"""

from dataclasses import replace
from numbers import Integral
from typing import Any

from torch import nn

from core.errors import require
from core.images.classes import IGNORE
from core.images.pixels import Normalisation
from core.networks import backbones
from core.networks.features import Features


class Segmenter(nn.Module):
    """A segmentation network as a plain module.

    Its `forward` maps an image `b 3 h w`, normalised by `normalisation`, to a NamedTuple whose `.scores` is
    `b k h w` at input size. `align_corners` says how scores are enlarged.
    """

    backbone: Features
    architecture: Any
    num_classes: int
    align_corners: bool
    normalisation: Normalisation

    def __init__(self, num_classes: int, architecture: Any, **choices: Any) -> None:
        """Build the backbone, and check and keep the rest.

        Args:
            num_classes: the k of the scores.
            architecture: a frozen dataclass with at least `backbone` and `align_corners`.
            choices: fields of the architecture that are to be others.

        Raises:
            ValueError: if the number of classes is impossible.
        """
        nn.Module.__init__(self)  # not super: beside it there may be a class whose own __init__ was called already
        require(
            isinstance(num_classes, Integral) and not isinstance(num_classes, bool) and 1 <= num_classes <= IGNORE,
            f"{type(self).__name__} needs num_classes of at least 1 and at most {IGNORE}, got {num_classes!r}",
        )
        self.architecture = replace(architecture, **choices)
        self.num_classes = num_classes
        self.align_corners = self.architecture.align_corners
        self.normalisation = Normalisation(*backbones.normalisation(self.architecture.backbone))
        self.backbone = backbones.build(self.architecture.backbone)
