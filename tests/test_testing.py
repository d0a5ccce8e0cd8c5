"""Testing a checkpoint by a recipe: the command behind evaluate.py."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core import datasets
from core.command import EvaluationOptions
from core.datasets.samples import Pairs
from core.images.classes import Classes
from core.networks.backbones import Backbone
from core.networks.network import About
from core.recipe import Data, Protocol
from core.run import Run
from core.testing.report import evaluate_checkpoint, known
from core.training.setup import set_up
from papers.danet.loss import loss as danet_loss
from papers.danet.model import Architecture, DANet
from papers.danet.recipes import RECIPES

DEMO = RECIPES["danet-demo"]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved network for the scenes, of which only four are there."""
    real = datasets.read

    def few(name: str, data: Path | None, split: str) -> Pairs:
        pairs = real(name, data, split)
        return replace(pairs, rows=pairs.rows[:4])

    monkeypatch.setattr(datasets, "read", few)
    torch.manual_seed(0)
    network = DANet(10, Architecture(Backbone("resnet10_tiny")))
    network.about = About(datasets.read("scenes", None, "val").classes, Protocol())
    network.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.slow
def test_the_table_and_the_record(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score = evaluate_checkpoint(DANet, EvaluationOptions(DEMO, str(weights), to=tmp_path / "score.json", workers=0))
    printed = capsys.readouterr().out
    assert "pavement" in printed
    assert printed.splitlines()[-1] == "--modules tests without each module too: position attention, channel attention"
    written = json.loads((tmp_path / "score.json").read_text())
    assert written["mean_iou"] == pytest.approx(100 * score.mean_iou)
    assert written["pixels"] == 4 * 128 * 128
    assert {"recipe", "commit", "hardware", "date", "protocol", "split"} <= written.keys()


@pytest.mark.slow
def test_reported_numbers_stand_below_the_table(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DANet, "removable", lambda _: {})
    reported = RECIPES["danet-r101-cityscapes"].reported
    recipe = replace(DEMO, reported=reported)
    evaluate_checkpoint(DANet, EvaluationOptions(recipe, str(weights), workers=0))
    printed = capsys.readouterr().out
    assert "reported: 79.94 mIoU (DANet, Table 2, DANet-101 DA + Multi-Grid, val)" in printed
    assert "--modules" not in printed  # there is none


@pytest.mark.slow
def test_a_changed_recipe_is_said(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = DANet.from_pretrained(weights)
    assert network.about is not None
    network.about = replace(network.about, changed={"optimisation.batch": [8, 16]})
    network.save_pretrained(weights)
    evaluate_checkpoint(DANet, EvaluationOptions(DEMO, str(weights), workers=0))
    assert "optimisation.batch" in capsys.readouterr().out


@pytest.mark.slow
def test_weights_of_other_classes_are_refused(weights: Path) -> None:
    network = DANet.from_pretrained(weights)
    classes = datasets.read("scenes", None, "val").classes
    network.about = About(Classes(classes.names[::-1], classes.palette), Protocol())
    network.save_pretrained(weights)
    with pytest.raises(ValueError, match=r"class 0 of the weights is 'car', but that of 'scenes' is 'road'"):
        evaluate_checkpoint(DANet, EvaluationOptions(DEMO, str(weights), workers=0))
    DANet(3, Architecture(Backbone("resnet10_tiny"))).save_pretrained(weights)
    with pytest.raises(ValueError, match="for 3 classes, but 'scenes' has 10"):
        evaluate_checkpoint(DANet, EvaluationOptions(DEMO, str(weights), workers=0))


def test_a_folder_in_place_of_the_score_is_refused_before_the_test(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; give the file that the score is written to"):
        evaluate_checkpoint(DANet, EvaluationOptions(DEMO, "danet-tiny-camvid", to=tmp_path))
    with pytest.raises(ValueError, match="--workers must be at least 0, got -1"):
        EvaluationOptions(DEMO, workers=-1)


def test_own_images_without_the_split_name_the_option_and_a_split_that_is_there(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "images").mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("land\nwater\n")
    own = replace(DEMO, data=Data("folder", num_classes=2, test="test"))
    said = r"has no split 'test', only train, val; choose one of them, such as --recipe\.data\.test val$"
    with pytest.raises(ValueError, match=said):
        evaluate_checkpoint(DANet, EvaluationOptions(own, "danet-tiny-camvid", data=tmp_path, workers=0))
    run = Run(to=tmp_path / "runs", data=tmp_path)
    with pytest.raises(ValueError, match=said):
        set_up(replace(own, backbone_weights="none"), run, DEMO, DANet, danet_loss)
    (tmp_path / "val").rename(tmp_path / "dev")
    with pytest.raises(ValueError, match="only dev, train; choose one of them, such as --recipe.data.validation dev"):
        set_up(replace(own, backbone_weights="none"), run, DEMO, DANet, danet_loss)


def test_weights_of_another_paper_are_refused_before_their_recipe_is_read() -> None:
    with pytest.raises(ValueError, match="pdanet-tiny-camvid holds a network of the class PDANet, not DANet; take the"):
        known(RECIPES, DEMO.name, ["--weights", "pdanet-tiny-camvid"], DANet)
    assert known(RECIPES, DEMO.name, ["--weights", "danet-tiny-camvid"], DANet)[1] == "danet-tiny-camvid"


def test_missing_weights_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"train them with train\.py danet-demo, or pass --weights"):
        evaluate_checkpoint(DANet, EvaluationOptions(DEMO))
    with pytest.raises(
        ValueError, match=r"runs/danet-r101-cityscapes; train them with train\.py danet-r101-cityscapes,"
    ):
        evaluate_checkpoint(DANet, EvaluationOptions(RECIPES["danet-r101-cityscapes-ms"]))
