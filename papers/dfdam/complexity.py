"""What Tables 4 and 6 of DF-DAM print of its own network, "Params" and "GFLOPs", beside ours.

They are the only place where the paper says how large its layers are. What they count is known from rows of networks
that are public: by the rules of thop, late 2019, with auxiliary classifiers, PSPNet (75.04 M, 230.01 G), DeepLab (43.90
M, 148.73 G) and FCN-8s (134.46 M, 188.93 G) came out to the printed digits. Dilation10, RefineNet and DUC were not
tried.
"""

from collections.abc import Iterator

from core.networks.backbones import Backbone
from core.networks.complexity import Convention, Printed, printed
from papers.dfdam.model import DFDAM, Architecture

SIZE = (640, 320)
"""Of the input in both tables, in pixels."""

ROWS: tuple[tuple[str, str, int, tuple[str, str]], ...] = (
    ("Table 4, Ours(ResNet18)", "resnet18", 19, ("11.57 M", "10.31 G")),
    ("Table 6, Ours(ResNet101)", "resnet101", 21, ("43.24 M", "35.52 G")),
)


def columns() -> Iterator[Printed]:
    """The form "squeezed" must be what the paper prints, the form "converted" within 0.25 % of it."""
    for place, name, classes, texts in ROWS:
        for form, tolerance in (("squeezed", 0.0), ("converted", 0.0025)):
            backbone = Backbone(name, output_stride=32)
            architecture = Architecture(backbone, dual_attention_fusion=form)  # type: ignore[arg-type]
            counted = Convention("thop", SIZE).count(lambda a=architecture, k=classes: DFDAM(k, a))  # type: ignore[misc]
            yield from printed(place, texts, counted, tolerance, f'the form "{form}"')
