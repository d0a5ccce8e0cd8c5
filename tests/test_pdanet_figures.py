"""PDANet's pictures of its attention show what it computes."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from core.datasets.sets import scenes
from core.figures import of_points
from core.images.pixels import to_tensor
from core.networks.backbones import Backbone
from papers.pdanet.attention import attention
from papers.pdanet.model import LEVELS, Architecture, PDANet

TINY = Backbone("resnet10_tiny")


def picture_of_a_scene() -> Image.Image:
    pixels, _ = scenes.draw(2, 0, height=96, width=160)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("figures")
    PDANet(10, Architecture(TINY)).save_pretrained(folder)
    return folder


@pytest.mark.slow
@torch.no_grad()
def test_figures_show_what_the_modules_compute(weights_folder: Path) -> None:
    network = PDANet.from_pretrained(weights_folder)
    picture = picture_of_a_scene()
    points = [(9, 88), (159, 0)]
    attended = [attention(network, picture)(point).panels for point in points]
    C4 = network.backbone(network.normalisation(to_tensor(picture))[None])[-1]
    assert C4.shape[-2:] == (12, 20)
    for place, level in enumerate(LEVELS):
        position = network.gather.pyramid.transforms[place][0].position
        A = position.reduce(functional.adaptive_avg_pool2d(C4, level))
        B, C = (part(A)[0].flatten(1) for part in (position.attend.to_b, position.attend.to_c))
        S = (C.T @ B).softmax(dim=1)
        for panels, (row, column) in zip(attended, [(level * 88 // 96, 0), (0, level - 1)], strict=True):
            torch.testing.assert_close(panels[place].values, S[row * level + column].reshape(level, level))
            assert panels[place].frame == (row, column)


def test_a_baseline_has_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no pyramid dual attention"):
        attention(PDANet(3, Architecture(TINY, "psp")).eval(), picture_of_a_scene())


@pytest.mark.slow
def test_a_point_that_adds_nothing_has_no_row(weights_folder: Path) -> None:
    network, picture = PDANet.from_pretrained(weights_folder), picture_of_a_scene()
    assert [len(row) for row in of_points(attention, network, picture, [(9, 88), (9, 88)])] == [len(LEVELS)]
    apart = of_points(attention, network, picture, [(9, 88), (159, 0)])
    assert [len(row) for row in apart] == [len(LEVELS), len(LEVELS) - 1]  # of one position there is one map
