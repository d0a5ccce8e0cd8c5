"""The names that the author's code gives to PDANet's weights: prefixes, theirs -> ours.

The softmax of the position attention is over the keys: queries are the C_j of Eq. (6), keys the B_i.
"""

from core.images.pixels import Normalisation
from core.paper import Layout
from papers.pdanet.model import LEVELS

ENCODER = {
    "encoder.conv1.": "backbone.body.conv1.0.",
    "encoder.bn1.": "backbone.body.conv1.1.",
    "encoder.conv2.": "backbone.body.conv1.3.",
    "encoder.bn2.": "backbone.body.conv1.4.",
    "encoder.conv3.": "backbone.body.conv1.6.",
    "encoder.bn3.": "backbone.body.bn1.",
    "encoder.layer": "backbone.body.layer",
    "decoder.conv_last.0.": "gather.fuse.0.",
    "decoder.conv_last.1.": "gather.fuse.1.",
    "decoder.conv_last.4.": "classify.1.",
}

LEVEL = {  # below decoder.ppm.LEVEL. and gather.pyramid.transforms.LEVEL.
    "1.conv5a.": "0.position.reduce.",
    "1.sa.query_conv.": "0.position.attend.to_c.",
    "1.sa.key_conv.": "0.position.attend.to_b.",
    "1.sa.value_conv.": "0.position.attend.to_d.",
    "1.sa.gamma": "0.position.attend.alpha",
    "1.conv51.": "0.position.transform.",
    "1.conv5c.": "0.channel.reduce.",
    "1.sc.gamma": "0.channel.attend.beta",
    "1.conv52.": "0.channel.transform.",
    "1.conv8.": "0.project.",
    "2.": "1.",
}

RELEASED = ENCODER | {
    f"decoder.ppm.{level}.{theirs}": f"gather.pyramid.transforms.{level}.{ours}"
    for level in range(len(LEVELS))
    for theirs, ours in LEVEL.items()
}

DEAD = tuple(  # in each level two classifiers are computed, then thrown away
    f"decoder.ppm.{level}.1.{side}." for level in range(len(LEVELS)) for side in ("conv6", "conv7")
)

MEAN = (122.7717, 115.9465, 102.9801)  # red, green, blue; of 255

LAYOUTS = {
    "pdanet-released": Layout(
        RELEASED,
        recipe="pdanet-r18-ade20k-1000",
        dropped=DEAD,
        normalisation=Normalisation(
            mean=(MEAN[0] / 255, MEAN[1] / 255, MEAN[2] / 255), std=(1 / 255, 1 / 255, 1 / 255)
        ),
        first="backbone.body.conv1.0.weight",
    )
}
"""By the name that `hub.convert` takes."""
