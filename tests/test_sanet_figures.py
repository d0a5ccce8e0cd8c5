"""Figure 6 of SANet: pixel groups by L2 distance, most activated maps, and a line for each point and head."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from seeded import noise

from core.datasets import read
from core.images.panels import position_of
from core.images.pixels import to_tensor
from core.images.reading import open_rgb
from core.networks.backbones import Backbone
from papers.sanet import attention, figures
from papers.sanet.model import Architecture, SANet


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    SANet(10, Architecture(Backbone("resnet10_tiny"))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return open_rgb(read("scenes", None, "val").rows[0].image).resize((160, 96))


@torch.no_grad()
def test_channels_are_those_of_heads_1_and_4(weights: Path, picture: Image.Image) -> None:
    network = SANet.from_pretrained(weights)
    found = attention.channels_of(network, picture)
    assert list(found) == [4, 1]
    stages = network.backbone(network.normalisation(to_tensor(picture))[None])
    assert network.heads is not None
    for number, size in ((1, (10, 24, 40)), (4, (10, 12, 20))):
        channels, head, X_in = found[number], network.heads[number - 1], stages[number - 1]
        assert channels.main.shape == channels.attention.shape == channels.output.shape == size
        torch.testing.assert_close(channels.main, head.main(X_in)[0])
        torch.testing.assert_close(channels.attention, head.attend(X_in)[0])
        torch.testing.assert_close(channels.output, channels.attention * channels.main + channels.attention)


def test_the_pixel_group_is_the_distance_in_the_attention_channel() -> None:
    maps = noise(4, 3, 5)
    found = attention.distances(maps, 2, 4)
    for y in range(3):
        for x in range(5):
            expected = math.sqrt(sum((float(maps[k, y, x]) - float(maps[k, 2, 4])) ** 2 for k in range(4)))
            assert float(found[y, x]) == pytest.approx(expected, abs=1e-6)
    assert found[2, 4] == 0
    assert (found > 0).sum() == 14


def test_the_most_activated_map_is_the_largest_at_the_point() -> None:
    maps = noise(4, 3, 5)
    maps[2, 1, 3] = 9
    assert attention.most_activated(maps, 1, 3) == 2
    maps[0, 1, 3] = 10
    assert attention.most_activated(maps, 1, 3) == 0


def test_a_pixel_falls_into_the_position_that_covers_it(picture: Image.Image) -> None:
    maps = noise(4, 12, 20)  # 8 pixels each
    assert position_of((0, 0), picture, maps) == (0, 0)
    assert position_of((9, 95), picture, maps) == (11, 1)
    assert position_of((159, 7), picture, maps) == (0, 19)


@pytest.mark.slow
def test_every_point_and_head_has_its_line_and_image_and_prediction_stand_once(
    weights: Path, picture: Image.Image, tmp_path: Path
) -> None:
    network = SANet.from_pretrained(weights)
    channels = attention.channels_of(network, picture)
    picture.save(tmp_path / "photo.png")
    photo, points = tmp_path / "photo.png", ("5,6", "150,90")
    options = replace(figures.DEFAULT, photo=photo, weights=str(weights), point=points)
    titles = [title for axis in figures.figure(options).axes if (title := axis.get_title())]
    assert titles[:2] == ["image", "prediction"]
    of_groups = [title for title in titles if title.endswith("pixel group")]
    assert of_groups == [f"#{point}: head {head}: pixel group" for point in (1, 2) for head in (4, 1)]
    shown: dict[str, list[str]] = {}  # the points of each map
    for number, point in enumerate(((5, 6), (150, 90)), start=1):
        for head, kind in ((4, "class"), (1, "map")):
            for part in ("main", "attention", "output"):
                maps = getattr(channels[head], part)
                most = attention.most_activated(maps, *position_of(point, picture, maps)) + (head == 1)
                shown.setdefault(f"head {head}, {part}: {kind} {most}", []).append(f"#{number}")
    expected = [f"{', '.join(points)}: {title}" for title, points in shown.items()]
    assert sorted(titles[2:]) == sorted([*of_groups, *expected])


def test_a_baseline_has_no_heads_to_draw(picture: Image.Image) -> None:
    plain = SANet(3, Architecture(Backbone("resnet10_tiny"), head="fcn"))
    with pytest.raises(ValueError, match="no SA heads"):
        attention.attention(plain, picture)


@pytest.mark.slow
def test_a_map_that_several_points_share_is_drawn_once(weights: Path, picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "photo.png")
    photo, points = tmp_path / "photo.png", ("5,6", "5,6", "150,90")
    options = replace(figures.DEFAULT, photo=photo, weights=str(weights), point=points)
    titles = [title for axis in figures.figure(options).axes if (title := axis.get_title())]
    assert not [title for title in titles if title.startswith("#2")]
    assert [title for title in titles if title.startswith("#1")]
    assert all(title.startswith(("#1, #2", "#3")) for title in titles[2:])
    shown = [title.partition(": ")[2] for title in titles[2:] if "pixel group" not in title]
    assert len(set(shown)) == len(shown)
