"""DF-DAM's pictures of its weights and its confidence show what it computes."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from core.datasets.sets import scenes
from core.images.pixels import to_tensor
from core.networks.backbones import Backbone
from papers.dfdam import figures
from papers.dfdam.attention import attention, channels_to_show, modules_of
from papers.dfdam.model import DFDAM, Architecture

TINY = Backbone("resnet10_tiny", output_stride=32)


def picture_of_a_scene() -> Image.Image:
    pixels, _ = scenes.draw(2, 0, height=96, width=160)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("figures")
    DFDAM(10, Architecture(TINY, channels=16)).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_figures_show_what_the_modules_compute(weights_folder: Path) -> None:
    network = DFDAM.from_pretrained(weights_folder)
    assert network.fusion is not None
    assert network.position is not None
    picture = picture_of_a_scene()
    modules = modules_of(network, picture)
    C1, _, C3, C4 = network.backbone(network.normalisation(to_tensor(picture))[None])
    X_L = network.convert_low(C3)
    X_H = network.convert_high(functional.interpolate(C4, (6, 10), mode="bilinear", align_corners=True))
    torch.testing.assert_close(modules.low, X_L[0])
    torch.testing.assert_close(modules.low_weights, network.fusion.to_alpha_low(X_H)[0, :, 0, 0])
    torch.testing.assert_close(modules.high_weights, network.fusion.to_alpha_high(X_H)[0, :, 0, 0])
    X_CI = functional.interpolate(network.fusion(X_L, X_H, X_H), (24, 40), mode="bilinear", align_corners=True)
    beta = network.position.to_beta(torch.cat([network.convert_spatial(C1), X_CI], dim=1))
    assert modules.beta is not None
    torch.testing.assert_close(modules.beta, beta[0, 0])
    assert not any(module._forward_hooks for module in network.modules())


def test_channels_are_the_lowest_and_the_two_highest() -> None:
    assert channels_to_show(torch.tensor([0.5, 0.1, 0.9, 0.6])) == (2, 4, 3)


@torch.no_grad()
def test_a_point_has_its_confidence_and_the_gates_of_its_image(weights_folder: Path) -> None:
    network, picture = DFDAM.from_pretrained(weights_folder), picture_of_a_scene()
    modules = modules_of(network, picture)
    assert modules.beta is not None
    confidence, gates, *channels = attention(network, picture)((159, 5)).panels
    assert confidence.title == f"confidence map, {float(modules.beta[1, 39]):.2f} here"
    torch.testing.assert_close(confidence.values, modules.beta)
    assert list(gates.lines) == ["high-level", "low-level"]
    torch.testing.assert_close(gates.lines["low-level"], modules.low_weights)
    lowest = int(modules.low_weights.argmin())
    assert channels[0].title == f"channel map #{lowest + 1}, weight {float(modules.low_weights[lowest]):.2f}"
    torch.testing.assert_close(channels[0].values, modules.low[lowest])


def test_figures_without_position_attention() -> None:
    torch.manual_seed(0)
    network = DFDAM(10, Architecture(TINY, position_attention=False, channels=16)).eval()
    picture = picture_of_a_scene()
    modules = modules_of(network, picture)
    assert modules.beta is None
    drawing = figures.figure8([picture], [modules], (3,), [network.predict(picture)])
    titles = [axis.get_title().split(",")[0] for axis in drawing.axes]
    assert titles == ["image", "prediction", "channel map #3"]


def test_the_baseline_has_nothing_to_draw() -> None:
    plain = DFDAM(10, Architecture(TINY, "none", False, channels=16)).eval()
    with pytest.raises(ValueError, match=r"no channel weights; take those of a DF-DAM with the module DAFM"):
        attention(plain, picture_of_a_scene())
