"""Our DF-DAM and SANet, counted as their papers count, in each reading that the papers' columns can tell apart."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from torch import nn

from ci.columns import WHOLE
from ci.counting import Complexity, complexity, cost_by_ptflops
from core.networks.backbones import Backbone, BackboneName, build
from papers.dfdam.model import DFDAM, Architecture
from papers.sanet.model import Architecture as SANetArchitecture
from papers.sanet.model import SANet

Form = Literal["budget", "text"]
FORMS: tuple[Form, ...] = ("budget", "text")


@dataclass(frozen=True)
class Row:
    """A row "Ours" of DF-DAM."""

    table: str
    backbone: BackboneName
    classes: int
    reported: Complexity


ROWS = (
    Row("Table 4", "resnet18", 19, WHOLE["DF-DAM", "Table 4", "Ours(ResNet18)"]),
    Row("Table 6", "resnet101", 21, WHOLE["DF-DAM", "Table 6", "Ours(ResNet101)"]),
)


@cache
def ours(row: Row, form: Form) -> Complexity:
    """Count the DF-DAM of a row in one of its forms."""
    architecture = Architecture(Backbone(row.backbone, output_stride=32), dual_attention_fusion=form)
    return complexity(lambda: DFDAM(row.classes, architecture))


SANET_SIZE = (480, 480)
SANET_CLASSES = 21
SANET_REPORTED = WHOLE["SANet", "Table 6", "SANet (ours)"]

Downsampling = tuple[int, int, int, int]
SANET_BUDGET: Downsampling = (8, 4, 2, 1)
SANET_TEXT: Downsampling = (8, 8, 8, 8)


@cache
def of_sanet(architecture: SANetArchitecture) -> Complexity:
    """Count a network of SANet's Table 6."""
    return complexity(lambda: SANet(SANET_CLASSES, architecture), SANET_SIZE, cost_by_ptflops)


def sanet(downsampling: Downsampling) -> Complexity:
    """Count the SANet of Table 6 in one reading of its attention channel."""
    return of_sanet(SANetArchitecture(downsampling=downsampling))


@cache
def backbone_of_sanet() -> Complexity:
    """Count the dilated ResNet-101 that every network of SANet's Table 6 stands on."""

    def body() -> nn.Module:
        return build(SANetArchitecture().backbone)

    return complexity(body, SANET_SIZE, cost_by_ptflops)
