"""Checkpoints side by side on the same images, with the labels."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

from core import comparison, datasets
from core.comparison import Options, sheet
from core.datasets.transforms import TestSamples
from core.images import pictures, sheets
from core.networks.backbones import Backbone
from core.networks.network import About
from core.recipe import Protocol
from core.training.gallery import gallery
from core.values import to_json
from papers.danet import figures
from papers.danet.model import Architecture, DANet
from papers.danet.recipes import RECIPES


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints of the embedded scenes: one with attention that counts, one without."""
    folder = tmp_path_factory.mktemp("weights")
    for name, channel in (("with", "released"), ("without", "none")):
        torch.manual_seed(0)
        network = DANet(
            10, Architecture(Backbone("resnet10_tiny"), channel_attention=channel, position_attention="none")
        )
        if channel != "none":
            nn.init.constant_(network.get_parameter("channel.attend.beta"), -30.0)
        nn.init.zeros_(network.get_parameter("classify.1.bias"))
        recipe = to_json(RECIPES["danet-demo"])
        network.about = About(datasets.read("scenes", None, "val").classes, Protocol(), recipe)
        network.save_pretrained(folder / name)
    return folder


@pytest.mark.slow
def test_a_row_has_the_image_each_prediction_and_the_labels(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def keep(rows, titles, classes, ignored):  # type: ignore[no-untyped-def]
        seen.update(rows=rows, titles=titles)
        return real(rows, titles, classes, ignored)

    real = sheets.contact_sheet
    monkeypatch.setattr(sheets, "contact_sheet", keep)
    given = (str(weights / "without"), str(weights / "with"))
    sheet(DANet, Options(given, ("a", "b"), ("channel attention",), image=(2, 0)))
    assert seen["titles"] == ["image", "a", "b", "without channel attention", "labels"]
    pairs = datasets.read("scenes", None, "val")
    networks = [DANet.from_pretrained(where) for where in given]
    for row, number in zip(seen["rows"], (2, 0), strict=True):
        samples = TestSamples(pairs, networks[0].normalisation)
        image = samples.picture(number)
        assert np.array_equal(row[0], image)
        for cell, network in zip(row[1:3], networks, strict=True):
            assert np.array_equal(
                cell, pictures.colourise(network.predict(Image.fromarray(image)).labels, pairs.classes)
            )
        with networks[1].without("channel attention"):
            without = networks[1].predict(Image.fromarray(image)).labels
        assert np.array_equal(row[3], pictures.colourise(without, pairs.classes))
        assert not np.array_equal(row[3], row[2])
        assert np.array_equal(row[4], pictures.colourise(samples[number][1], pairs.classes))


def test_the_command_of_a_paper_writes_it(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--weights", str(weights / "with"), "--image", "1", "--to", str(tmp_path / "figure4.png")]
    monkeypatch.setattr(sys, "argv", ["figures.py", comparison.WORD, *words])
    figures.main()
    with Image.open(tmp_path / "figure4.png") as drawn:
        assert drawn.width > drawn.height > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"weights": ()}, "nothing to compare; pass --weights"),
        ({"image": (99999,)}, r"--image must be 0 to \d+, got \[99999\]"),
        ({"name": ("a", "b")}, "--name is needed once for each of the 1 weights"),
        ({"without": ("SA",)}, "no removable part of this DANet 'SA', only channel attention"),
        ({"dataset": "camvid", "data": None}, "--data"),
    ],
)
def test_what_does_not_exist_is_refused(weights: Path, changed: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sheet(DANet, replace(Options((str(weights / "with"),)), **changed))


@pytest.mark.parametrize("ignored", [True, False])
def test_the_pictures_of_a_run_name_ignored_pixels_where_there_are_some(
    ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = datasets.read("scenes", None, "val")
    mapping = {**pairs.mapping, 0: 255 if ignored else 0}
    named: list[bool] = []
    monkeypatch.setattr(sheets, "contact_sheet", lambda *given: named.append(given[3]) or Image.new("RGB", (1, 1)))
    network = DANet(10, Architecture(Backbone("resnet10_tiny")))
    gallery(network, replace(pairs, rows=pairs.rows[:2], mapping=mapping), Protocol(), Accelerator(cpu=True))
    assert named == [ignored]
