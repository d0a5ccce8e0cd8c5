"""Parity: with equal weights, our networks answer what the public implementations answer.

`parity/NAME.keys.json` lists the names and shapes of a public implementation's state dict, and
`parity/NAME.safetensors` what it answered, in eval mode and enlarged to the size of the image, at every 4th row and
column, for weights and an image that `seeded.py` draws again. Both are figures only; no code of theirs is here. The
weights go through the conversion that users have.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from seeded import image, weights
from torch import Tensor

from core.networks.backbones import Backbone
from core.networks.network import Network
from hub.renaming import Renamed, convert
from papers.danet.model import Architecture, DANet
from papers.danet.public import LAYOUTS as OF_DANET
from papers.pdanet.model import PDANet
from papers.pdanet.public import LAYOUTS as OF_PDANET

LAYOUTS = OF_DANET | OF_PDANET

PARITY = Path(__file__).parent / "parity"

RELEASED = Architecture(Backbone("resnet50", multi_grid=(4, 8, 16)), align_corners=True)
MMSEG = Architecture(Backbone("resnet50", stem="deep32"), align_corners=False, deep_supervision=True)


def converted(name: str, layout: str, network: Network, auxiliary: bool = False) -> tuple[Renamed, dict[str, Tensor]]:
    """Load seeded weights of a public implementation into a network; return also what it answered."""
    shapes = json.loads((PARITY / f"{name}.keys.json").read_text())
    report = convert(weights(shapes), LAYOUTS[layout], network, auxiliary)
    assert {*report.used, *report.dropped} == set(shapes)
    assert set(report.used.values()) == set(network.state_dict())
    return report, load_file(PARITY / f"{name}.safetensors")


def assert_equal(ours: Tensor, theirs: Tensor, name: str) -> None:
    error = (ours[:, :, ::4, ::4] - theirs).abs().max() / theirs.abs().max()
    assert error < 1e-5, f"{name} differs by {error:.1e} of the largest"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layout", "architecture", "dropped", "reshaped"),
    [
        ("danet_r50_official", "danet-released", RELEASED, 2, 2),
        ("danet_r50_mmseg", "danet-mmseg", MMSEG, 0, 0),
    ],
    ids=["released", "mmseg"],
)
def test_danet(name: str, layout: str, architecture: Architecture, dropped: int, reshaped: int) -> None:
    with torch.device("meta"):
        network = DANet(19, architecture).eval()
    report, theirs = converted(name, layout, network, architecture.deep_supervision)
    assert (len(report.dropped), len(report.reshaped), report.filled) == (dropped, reshaped, ())

    with torch.inference_mode():
        output = network(image(72, 104))

    names = {"scores": "scores", "position": "position", "channel": "channel", "deep": "auxiliary"}
    answers = {names[name]: scores for name, scores in output._asdict().items() if scores is not None}
    assert answers.keys() == theirs.keys()
    for name, scores in answers.items():
        assert_equal(scores, theirs[name], name)


@pytest.mark.slow
def test_pdanet() -> None:
    with torch.device("meta"):
        network = PDANet(150).eval()
    report, theirs = converted("pdanet_r18_official", "pdanet-released", network)
    assert len(report.dropped) == 4 * 2 * 2  # the weights and biases of two classifiers of each level

    blue_green_red = image(72, 104)  # as theirs reads it, 0 to 255 less the mean; ours is given red, green, blue
    with torch.inference_mode():
        probabilities = network(blue_green_red.flip(1)).scores.softmax(dim=1)
    assert_equal(probabilities, theirs["probabilities"], "probabilities")

    pixels = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    mean = torch.tensor([122.7717, 115.9465, 102.9801])[:, None, None]  # red, green, blue
    torch.testing.assert_close(network.normalisation(pixels), pixels.float() - mean, atol=1e-4, rtol=0)
