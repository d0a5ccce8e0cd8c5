"""Figure 6: sub-attention maps row by row, and channel maps."""

import pytest
import torch
from einops import rearrange
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from core.datasets import read
from core.images.panels import Panel
from core.images.pixels import to_tensor
from core.images.reading import open_rgb
from core.networks.backbones import Backbone
from papers.danet.attention import attention, channel_maps
from papers.danet.model import Architecture, DANet


@pytest.fixture(scope="module")
def network() -> DANet:
    torch.manual_seed(0)
    return DANet(10, Architecture(Backbone("resnet10_tiny"))).eval()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return open_rgb(read("scenes", None, "val").rows[0].image).resize((160, 96))


def test_sub_attention_maps_are_rows_of_s(network: DANet, picture: Image.Image) -> None:
    image = rearrange(network.normalisation(to_tensor(picture)), "c h w -> 1 c h w")
    with torch.no_grad():
        assert network.position is not None
        A = network.position.reduce(network.backbone(image)[-1])
        B, C = (
            rearrange(part(A), "1 c h w -> c (h w)")
            for part in (network.position.attend.to_b, network.position.attend.to_c)
        )
        S = (C.T @ B).softmax(dim=1)
    h, w = A.shape[-2:]
    assert (h, w) == (12, 20)
    (panel,) = attention(network, picture)((9, 88)).panels  # the second column of the last row
    assert isinstance(panel, Panel)
    assert panel.values.shape == (h, w)
    assert torch.allclose(panel.values.flatten(), S[11 * w + 1], atol=1e-6)
    assert panel.values.sum() == pytest.approx(1.0, abs=1e-5)


def test_nothing_grows_with_the_square_of_the_positions(network: DANet) -> None:
    large = Image.new("RGB", (512, 512), (90, 120, 60))
    positions = 64 * 64
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            sizes.extend(value.numel() for value in (result,) if isinstance(value, torch.Tensor))
            return result

    with Sizes():
        attend = attention(network, large)
        attend((10, 10))
        attend((500, 500))
    assert sizes
    assert max(sizes) < positions**2 / 4


def test_channel_maps_are_the_output_of_the_module(network: DANet, picture: Image.Image) -> None:
    assert channel_maps(network, picture).shape == (24, 12, 20)


def test_a_network_without_the_module_is_refused(picture: Image.Image) -> None:
    plain = DANet(3, Architecture(Backbone("resnet10_tiny"), "none", "none"))
    with pytest.raises(ValueError, match="no position attention"):
        attention(plain, picture)
    with pytest.raises(ValueError, match="no channel attention"):
        channel_maps(plain, picture)
