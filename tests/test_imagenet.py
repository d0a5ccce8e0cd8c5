"""ImageNet weights by their source: how files are known, and which of them a row may begin with."""

import dataclasses
from pathlib import Path

import pytest
import safetensors.torch
import tiny
import torch
from seeded import weights
from torch import Tensor

import papers
from core import files
from core.networks import backbones, imagenet, pretrained
from core.networks.backbones import Backbone
from core.networks.weights import shapes
from core.recipe import WeightsSource
from core.training.setup import Training
from hub.convert import Options, run

CSAIL = Backbone("resnet18", "deep64")
STEM = {  # as CSAIL's code calls the layers, in the order of the image
    "conv1": "conv1.0",
    "bn1": "conv1.1",
    "conv2": "conv1.3",
    "bn2": "conv1.4",
    "conv3": "conv1.6",
    "bn3": "bn1",
}

ON_HUB = {  # torchvision's first generation for the plain stem; GluonCV's s has the stem 64-64-128, its c 32-32-64
    **{(name, "plain", "hub"): f"{name}.tv_in1k" for name in ("resnet18", "resnet34", "resnet50", "resnet101")},
    **{(name, "plain", "gluon"): f"{name}.gluon_in1k" for name in ("resnet18", "resnet34", "resnet50", "resnet101")},
    **{(name, "deep32", "hub"): f"{name}c.gluon_in1k" for name in ("resnet50", "resnet101")},
    **{(name, "deep64", "hub"): f"{name}s.gluon_in1k" for name in ("resnet50", "resnet101")},
}


def csail(path: Path, fc: bool = True) -> dict[str, Tensor]:
    """Write a file with CSAIL's names; return its weights by timm's."""
    with torch.device("meta"):
        body = backbones.build(CSAIL).body.state_dict()
    ours = weights(shapes(body))
    theirs = {}
    for key, value in ours.items():
        layer, _, rest = key.rpartition(".")
        named = {timm: name for name, timm in STEM.items()}.get(layer, layer)
        theirs[f"{named}.{rest}"] = value
    assert "layer1.0.downsample.0.weight" in theirs
    torch.save({**theirs, **({"fc.weight": torch.ones(1000, 512), "fc.bias": torch.ones(1000)} if fc else {})}, path)
    return ours


@pytest.mark.slow
def test_csails_file_is_read_as_it_is_and_converted(tmp_path: Path) -> None:
    ours = csail(tmp_path / "resnet18-imagenet.pth")
    features = backbones.build(CSAIL)
    pretrained.load_weights(features, CSAIL, tmp_path / "resnet18-imagenet.pth")
    assert all(torch.equal(value, ours[key]) for key, value in features.body.state_dict().items())
    assert imagenet.source_of(tmp_path / "resnet18-imagenet.pth", "resnet18", "deep64") == "csail"

    said = run(Options("csail-backbone", tmp_path / "resnet18-imagenet.pth", tmp_path / "converted"))
    assert "resnet18 with the deep64 stem" in said
    converted = tmp_path / "converted" / "model.safetensors"
    loaded = safetensors.torch.load_file(converted)
    assert loaded.keys() == ours.keys()
    assert all(torch.equal(loaded[key], value) for key, value in ours.items())
    assert imagenet.source_of(converted, "resnet18", "deep64") == "csail"
    with safetensors.safe_open(converted, framework="pt") as file:
        assert file.metadata()["sha256"] == files.sha256(tmp_path / "resnet18-imagenet.pth")


@pytest.mark.slow
def test_other_files_are_not_csails(tmp_path: Path) -> None:
    ours = csail(tmp_path / "trained.pth", fc=False)  # not of a classifier of ImageNet
    assert imagenet.source_of(tmp_path / "trained.pth", "resnet18", "deep64") is None
    safetensors.torch.save_file(ours, tmp_path / "timm.safetensors")
    assert imagenet.source_of(tmp_path / "timm.safetensors", "resnet18", "deep64") is None
    with pytest.raises(ValueError, match="has not the names of CSAIL's ImageNet weights"):
        run(Options("csail-backbone", tmp_path / "timm.safetensors", tmp_path / "converted"))
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        imagenet.source_of(tmp_path / "absent.pth", "resnet18", "deep64")


def test_torchvisions_file_is_known_by_its_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "renamed.pth"
    file.write_bytes(b"")
    monkeypatch.setattr(files, "sha256", lambda _: "63fe2227" + 56 * "0")
    assert imagenet.source_of(file, "resnet101", "plain") == "hub"
    assert imagenet.source_of(file, "resnet50", "plain") is None
    assert imagenet.source_of(file, "tf_efficientnet_b7", "plain") is None
    monkeypatch.setattr(imagenet, "read_weights", lambda _: {})
    assert imagenet.source_of(file, "resnet101", "deep64") is None


def test_where_the_weights_of_each_source_are() -> None:
    found = {
        (name, stem, source): pretrained.on_hub(Backbone(name, stem), source)
        for name in ("resnet18", "resnet34", "resnet50", "resnet101")
        for stem in ("plain", "deep32", "deep64")
        for source in ("hub", "gluon", "csail")
    }
    assert {place: where.removeprefix("timm/") for place, where in found.items() if where} == ON_HUB
    assert pretrained.on_hub(Backbone("tf_efficientnet_b7"), "hub") == "timm/tf_efficientnet_b7.aa_in1k"
    assert pretrained.on_hub(Backbone("hrnet_w48", output_stride=32), "hub") == "timm/hrnet_w48.ms_in1k"
    with pytest.raises(
        ValueError, match=r"fetch http://\S+/resnet18-imagenet.pth and pass --backbone-weights resnet18-im"
    ):
        pretrained.load_weights(backbones.build(CSAIL), CSAIL, "csail")


def test_every_row_names_weights_that_there_are() -> None:
    for paper in papers.every():
        for recipe in paper.recipes.values():
            backbone = recipe.architecture.backbone
            for source in (recipe.backbone_weights, *recipe.also_weights):
                known = source == "csail" and imagenet.has_csail(backbone.name, backbone.stem)
                assert source == "none" or known or pretrained.on_hub(backbone, source), f"{recipe.name}: {source}"


def begin(to: Path, given: str | None, also: tuple[WeightsSource, ...] = ()) -> Training[tiny.Architecture]:
    """Set up a run of a row that begins with CSAIL's weights, with those that are given."""
    published = dataclasses.replace(tiny.recipe(length=2), backbone_weights="csail", also_weights=also)
    training = tiny.begin(to, published, backbone_weights=given, name=None)
    training.lock.release()
    return training


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is loaded, instead of loading it."""
    seen: list[str] = []
    monkeypatch.setattr("core.training.setup.load_weights", lambda _features, _backbone, given: seen.append(given))
    return seen


def test_a_file_of_the_named_source_is_the_published_recipe(
    tmp_path: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "resnet18-imagenet.pth"
    file.write_bytes(b"")
    monkeypatch.setattr(imagenet, "source_of", lambda *_: "csail")
    training = begin(tmp_path / "runs", str(file))
    assert (training.changed, training.folder.name, loaded) == ({}, tiny.NAME, [str(file)])
    monkeypatch.setattr(imagenet, "source_of", lambda *_: None)
    told = {"backbone_weights": ("csail", f"{file.name}, sha256 {files.sha256(file)}")}
    changed = begin(tmp_path / "runs", str(file))
    assert changed.changed == told
    assert changed.folder.name.startswith(f"{tiny.NAME}-changed-")


def test_a_choice_of_the_row_is_the_published_recipe_and_is_recorded(tmp_path: Path, loaded: list[str]) -> None:
    training = begin(tmp_path, "gluon", also=("gluon",))
    assert (training.changed, training.folder.name, loaded) == ({}, tiny.NAME, ["gluon"])
    assert training.network.about is not None
    assert training.network.about.recipe["backbone_weights"] == "gluon"
    other = begin(tmp_path, "gluon")
    assert other.changed == {"backbone_weights": ("csail", "gluon")}
