"""Parity: with equal weights, our networks answer what the public implementations answer.

`goldens/NAME.keys.json` lists the names and shapes of a public implementation's state dict, and
`goldens/NAME.safetensors` what it answered, in eval mode and enlarged to the size of the image, at every 4th row and
column, for weights and an image that `seeded.py` draws again. Both are figures only; no code of theirs is here.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from seeded import image, weights
from torch import Tensor

from core.backbones import Backbone
from papers.danet.model import Architecture, DANet

GOLDENS = Path(__file__).parent / "goldens"

# Their prefix -> ours. In both, the softmax is over the keys: queries are the C_j of Eq. (1), keys are the B_i.

DANET_OFFICIAL = {
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

DANET_OFFICIAL_DROPPED = {"pretrained.fc.weight", "pretrained.fc.bias"}  # of ImageNet's classes, never called

DANET_MMSEG = {
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

DANET_MMSEG_DROPPED = {  # a second loss on C3 that neither the paper nor its authors' code has
    "auxiliary_head.conv_seg.weight",
    "auxiliary_head.conv_seg.bias",
    "auxiliary_head.convs.0.conv.weight",
    "auxiliary_head.convs.0.bn.weight",
    "auxiliary_head.convs.0.bn.bias",
    "auxiliary_head.convs.0.bn.running_mean",
    "auxiliary_head.convs.0.bn.running_var",
    "auxiliary_head.convs.0.bn.num_batches_tracked",
}


def renamed(theirs: dict[str, Tensor], table: dict[str, str]) -> dict[str, Tensor]:
    """Return their state dict by our names; every entry must have exactly one row in the table, and every row a use."""
    ours: dict[str, Tensor] = {}
    unused = set(table)
    for key, value in theirs.items():
        (prefix,) = [prefix for prefix in table if key.startswith(prefix)]
        unused.discard(prefix)
        name = table[prefix] + key.removeprefix(prefix)
        assert name not in ours
        ours[name] = value.reshape(()) if name.endswith((".alpha", ".beta")) else value  # theirs are () or (1,)
    assert not unused
    return ours


@pytest.mark.parametrize(
    ("name", "architecture", "table", "dropped"),
    [
        (
            "danet_r50_official",
            Architecture(Backbone("resnet50", multi_grid=(4, 8, 16)), align_corners=True),
            DANET_OFFICIAL,
            DANET_OFFICIAL_DROPPED,
        ),
        (
            "danet_r50_mmseg",
            Architecture(Backbone("resnet50", stem="deep32"), align_corners=False),
            DANET_MMSEG,
            DANET_MMSEG_DROPPED,
        ),
    ],
    ids=["official", "mmseg"],
)
def test_danet(name: str, architecture: Architecture, table: dict[str, str], dropped: set[str]) -> None:
    shapes = json.loads((GOLDENS / f"{name}.keys.json").read_text())
    assert dropped <= set(shapes)
    theirs = weights({key: shape for key, shape in shapes.items() if key not in dropped})
    with torch.device("meta"):
        network = DANet(19, architecture).eval()
    network.load_state_dict(renamed(theirs, table), strict=True, assign=True)

    with torch.inference_mode():
        output = network(image(72, 104))

    golden = load_file(GOLDENS / f"{name}.safetensors")
    for branch, scores in output._asdict().items():
        error = (scores[:, :, ::4, ::4] - golden[branch]).abs().max() / golden[branch].abs().max()
        assert error < 1e-5, f"{branch} differs by {error:.1e} of the largest score"
