"""The names that public implementations give to the weights of our networks: tables of prefixes, theirs -> ours.

In all of them the softmax of the position attention is over the keys: queries are the C_j of Eq. (1), keys the B_i.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.images.pixels import Normalisation
from hub.networks import PAPERS, Paper
from papers.pdanet.model import LEVELS


@dataclass(frozen=True)
class Layout:
    """The weights of one network, as one implementation writes them.

    Every name begins with a prefix of `names`, `auxiliary` or `dropped`. `auxiliary` is a classifier on C3 that ours
    has with `deep_supervision`. What is `dropped` changes no answer. `recipe` is what a file is tested by if nothing
    else is said; None where the file itself must tell. `normalisation` is that of the input, where it is not the
    backbone's; then the colours are in the order blue, green, red.
    """

    paper: Paper
    names: Mapping[str, str]
    recipe: str | None = None
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    normalisation: Normalisation | None = None
    first: str = "backbone.body.conv1.weight"  # the convolution of the image, whose colours may be turned round


_DANET_RELEASED = {
    "pretrained.": "backbone.body.",
    "head.conv5a.": "position.reduce.",
    "head.sa.query_conv.": "position.attend.to_c.",
    "head.sa.key_conv.": "position.attend.to_b.",
    "head.sa.value_conv.": "position.attend.to_d.",
    "head.sa.gamma": "position.attend.alpha",
    "head.conv51.": "position.transform.",
    "head.conv6.": "classify_position.",
    "head.conv5c.": "channel.reduce.",
    "head.sc.gamma": "channel.attend.beta",
    "head.conv52.": "channel.transform.",
    "head.conv7.": "classify_channel.",
    "head.conv8.": "classify.",
}

_DANET_MMSEG = {
    "backbone.stem.0.": "backbone.body.conv1.0.",
    "backbone.stem.1.": "backbone.body.conv1.1.",
    "backbone.stem.3.": "backbone.body.conv1.3.",
    "backbone.stem.4.": "backbone.body.conv1.4.",
    "backbone.stem.6.": "backbone.body.conv1.6.",
    "backbone.stem.7.": "backbone.body.bn1.",
    "backbone.layer": "backbone.body.layer",
    "decode_head.pam_in_conv.conv.": "position.reduce.0.",
    "decode_head.pam_in_conv.bn.": "position.reduce.1.",
    "decode_head.pam.query_project.": "position.attend.to_c.",
    "decode_head.pam.key_project.": "position.attend.to_b.",
    "decode_head.pam.value_project.": "position.attend.to_d.",
    "decode_head.pam.gamma.scale": "position.attend.alpha",
    "decode_head.pam_out_conv.conv.": "position.transform.0.",
    "decode_head.pam_out_conv.bn.": "position.transform.1.",
    "decode_head.pam_conv_seg.": "classify_position.1.",
    "decode_head.cam_in_conv.conv.": "channel.reduce.0.",
    "decode_head.cam_in_conv.bn.": "channel.reduce.1.",
    "decode_head.cam.gamma.scale": "channel.attend.beta",
    "decode_head.cam_out_conv.conv.": "channel.transform.0.",
    "decode_head.cam_out_conv.bn.": "channel.transform.1.",
    "decode_head.cam_conv_seg.": "classify_channel.1.",
    "decode_head.conv_seg.": "classify.1.",
}

_DANET_MMSEG_AUXILIARY = {
    "auxiliary_head.convs.0.conv.": "classify_deep.0.0.",
    "auxiliary_head.convs.0.bn.": "classify_deep.0.1.",
    "auxiliary_head.conv_seg.": "classify_deep.1.1.",
}

_PDANET_ENCODER = {
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

_PDANET_LEVEL = {  # below decoder.ppm.LEVEL. and gather.pyramid.transforms.LEVEL.
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

_PDANET_RELEASED = _PDANET_ENCODER | {
    f"decoder.ppm.{level}.{theirs}": f"gather.pyramid.transforms.{level}.{ours}"
    for level in range(len(LEVELS))
    for theirs, ours in _PDANET_LEVEL.items()
}

_PDANET_DEAD = tuple(  # in each level two classifiers are computed, then thrown away
    f"decoder.ppm.{level}.1.{side}." for level in range(len(LEVELS)) for side in ("conv6", "conv7")
)

_PDANET_MEAN = (122.7717, 115.9465, 102.9801)  # red, green, blue; of 255

LAYOUTS: dict[str, Layout] = {
    "danet-mmseg": Layout(PAPERS["DANet"], _DANET_MMSEG, auxiliary=_DANET_MMSEG_AUXILIARY),
    "danet-released": Layout(
        PAPERS["DANet"],
        _DANET_RELEASED,
        recipe="danet-r101-cityscapes",
        dropped=("pretrained.fc.",),  # of ImageNet's classes, never called
    ),
    "pdanet-released": Layout(
        PAPERS["PDANet"],
        _PDANET_RELEASED,
        recipe="pdanet-r18-ade20k-1000",
        dropped=_PDANET_DEAD,
        normalisation=Normalisation(
            mean=(_PDANET_MEAN[0] / 255, _PDANET_MEAN[1] / 255, _PDANET_MEAN[2] / 255), std=(1 / 255, 1 / 255, 1 / 255)
        ),
        first="backbone.body.conv1.0.weight",
    ),
}
"""The layouts by name: the network, and whose code wrote the file."""
