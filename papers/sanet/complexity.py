"""What Table 6 of SANet prints of networks, "Params" and "MACs", beside ours: by the rules of ptflops, at 480 x 480.

SDN (238.5 M) is quoted from another paper and not counted.
"""

from collections.abc import Iterator

from core.networks import backbones
from core.networks.complexity import Complexity, Convention, Printed, printed
from papers.sanet.model import Architecture, SANet

SIZE = (480, 480)
CLASSES = 21


def _count(architecture: Architecture) -> Complexity:
    return Convention("ptflops", SIZE).count(lambda: SANet(CLASSES, architecture))


def columns() -> Iterator[Printed]:
    """The baselines must be what the paper prints; SANet within 0.2 % and 0.5 % by the downsampling that meets it."""
    place, texts = "Table 6, Dilated FCN", ("42.6 M", "162.7 G")
    body = Convention("ptflops", SIZE).count(lambda: backbones.build(Architecture().backbone))
    yield from printed(place, texts, body, 0.0, "the backbone alone")
    yield from printed(place, texts, _count(Architecture(head="fcn")), None, "with the classifier of the row")
    deeplab = _count(Architecture(head="deeplab-v3+"))
    yield from printed("Table 6, Deeplab V3+", ("59.5 M", "235.6 G"), deeplab, 0.0, "the network of the row")
    place = "Table 6, SANet (ours)"
    budget = _count(Architecture(downsampling=(8, 4, 2, 1)))
    parameters, multiply_adds = printed(place, ("55.5 M", "204.7 G"), budget, 0.005, "downsampling 8-4-2-1")
    yield Printed(place, parameters.text, parameters.ours, 0.002, parameters.how)
    yield multiply_adds
    text = _count(Architecture())
    yield from printed(place, ("55.5 M", "204.7 G"), text, None, "downsampling 8-8-8-8, the text's")
