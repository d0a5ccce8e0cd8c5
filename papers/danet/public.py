"""The names that public implementations give to DANet's weights: prefixes, theirs -> ours.

In all of them the softmax of the position attention is over the keys: queries are the C_j of Eq. (1), keys the B_i.
"""

from core.paper import Layout

RELEASED = {
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

MMSEG = {
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

MMSEG_AUXILIARY = {
    "auxiliary_head.convs.0.conv.": "classify_deep.0.0.",
    "auxiliary_head.convs.0.bn.": "classify_deep.0.1.",
    "auxiliary_head.conv_seg.": "classify_deep.1.1.",
}

LAYOUTS = {
    "danet-mmseg": Layout(MMSEG, auxiliary=MMSEG_AUXILIARY),
    "danet-released": Layout(
        RELEASED,
        recipe="danet-r101-cityscapes",
        dropped=("pretrained.fc.",),  # of ImageNet's classes, never called
    ),
}
"""By the name that `hub.convert` takes: the network, and whose code wrote the file."""
