"""The contracts that every paper keeps (`papers/__init__.py`), held for all of them alike."""

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file
from seeded import image, weights
from torch import Tensor

import hub
import papers
import papers.ranet.interaction
import papers.ranet.released
from ci import complexity, golden, learning, rows
from core import launch
from core.datasets import DATASETS
from core.images.classes import IGNORE, Classes
from core.networks import backbones
from core.networks.backbones import Backbone
from core.networks.network import About, Network
from core.paper import Paper
from core.recipe import Protocol, Recipe
from core.values import from_json, to_json
from papers.danet import Architecture, DANet

EACH_PAPER = pytest.mark.parametrize("paper", list(papers.every()), ids=papers.NAMES)


def test_every_paper_is_held_to_its_contracts() -> None:
    home = Path(papers.__path__[0])
    assert {path.parent.name for path in home.glob("*/model.py")} == set(papers.NAMES)
    for name, paper in zip(papers.NAMES, papers.every(), strict=True):
        assert paper.folder == name
        files = {path.name for path in (home / name).glob("*.*")}
        needed = {"README.md", "train.py", "evaluate.py", "figures.py", "attention.py", "loss.py", "recipes.py"}
        assert needed <= files
        assert all(papers.paper_of(recipe) is paper for recipe in paper.recipes)


@EACH_PAPER
def test_recipes_name_themselves_and_data_that_is_known_and_survive_json(paper: Paper) -> None:
    for name, recipe in paper.recipes.items():
        assert recipe.name == name
        assert recipe.data.name in {dataset.name for dataset in DATASETS}
        kind = Recipe[type(recipe.architecture)]  # type: ignore[misc]
        assert from_json(kind, json.loads(json.dumps(to_json(recipe)))) == recipe


@EACH_PAPER
def test_rows_that_borrow_weights_name_who_trains_them(paper: Paper) -> None:
    for recipe in paper.recipes.values():
        if recipe.starts_from is not None:
            assert paper.recipes[recipe.starts_from].same_weights_as is None
            assert recipe.same_weights_as is None
        if recipe.same_weights_as is not None:
            lender = paper.recipes[recipe.same_weights_as]
            assert lender.same_weights_as is None
            assert recipe.name.startswith(lender.name)
            assert recipe.data.train == lender.data.train
            for field in ("architecture", "augmentation", "optimisation", "backbone_weights"):
                assert getattr(recipe, field) == getattr(lender, field)
    assert set(paper.tested_by) <= {r.name for r in paper.recipes.values() if r.same_weights_as is not None}


@pytest.fixture
def sizes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone is built once for all networks that have it; RANet's regions need values, but O has the size of A.

    Enlarging, which without values takes Python 40 ms, gives the size that is asked for.
    """

    def like(self: Any, A: Tensor, regions: Any) -> Tensor:
        return torch.empty_like(A)

    def enlarged(maps: Tensor, size: Any, **_: Any) -> Tensor:
        return maps.new_empty((*maps.shape[:2], *size))

    monkeypatch.setattr(backbones, "build", functools.cache(backbones.build))
    monkeypatch.setattr(torch.nn.functional, "interpolate", enlarged)
    for kind in (papers.ranet.interaction.RegionInteraction, papers.ranet.released.ReleasedInteraction):
        monkeypatch.setattr(kind, "forward", like)


@pytest.mark.slow
@EACH_PAPER
@pytest.mark.usefixtures("sizes_alone")
def test_every_network_builds_and_keeps_the_size(paper: Paper) -> None:
    """Its backbone gives maps of the sizes that it names; that those are true is tested with the backbones."""
    networks = {recipe.architecture: recipe for recipe in paper.recipes.values()}
    for recipe in networks.values():
        with torch.device("meta"):
            network = paper.build(recipe)
            sizes = zip(network.backbone.channels, network.backbone.strides, strict=True)
            maps = [torch.empty(2, c, -(-65 // s), -(-97 // s)) for c, s in sizes]
            with patch.object(network.backbone, "forward", lambda _, maps=maps: maps):
                output = network(torch.empty(2, 3, 65, 97))
        assert output.scores is output[0]
        assert tuple(output.scores.shape) == (2, recipe.data.num_classes, 65, 97), recipe.name
        assert {len(value) for value in output if value is not None} == {2}  # what a loss needs besides: one each


@EACH_PAPER
def test_the_demo_needs_no_download(paper: Paper) -> None:
    demo = paper.recipes[paper.demo]
    assert (demo.data.name, demo.backbone_weights) == ("scenes", "none")
    assert demo.architecture.backbone.name == "resnet10_tiny"


@EACH_PAPER
def test_the_objective_is_made_of_named_scalars(paper: Paper) -> None:
    recipe = paper.recipes[paper.demo]
    output = paper.build(recipe)(image(65, 97).expand(2, -1, -1, -1))
    labels = torch.arange(2 * 65 * 97).reshape(2, 65, 97) % recipe.data.num_classes
    terms = paper.objective(recipe.architecture)(output, labels)
    assert all(term.ndim == 0 and term > 0 for term in terms.values())
    sum(terms.values(), torch.zeros(())).backward()
    ignored = paper.objective(recipe.architecture)(output, torch.full_like(labels, IGNORE))
    assert [float(term.detach()) for term in ignored.values()] == [0.0] * len(terms)


@pytest.fixture(scope="module", params=list(papers.every()), ids=papers.NAMES)
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Paper, Network, Path]:
    """The demo's network with weights drawn from their names, and the folder where it was saved."""
    paper: Paper = request.param
    folder = tmp_path_factory.mktemp(paper.folder)
    network = paper.build(paper.recipes[paper.demo])
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    names = [f"class {label}" for label in range(network.num_classes)]
    network.about = About(
        Classes.coloured(names),
        Protocol(crop=64, stride=48, scales=(0.5, 1.0), flip=True, merge="exp"),
        recipe=to_json(paper.recipes[paper.demo]),
        changed={"optimisation.batch": [16, 8]},
        commit="0123abc",
    )
    network.eval().save_pretrained(folder)
    return paper, network, folder


@pytest.fixture
def saved(demo: tuple[Paper, Network, Path], tmp_path: Path) -> tuple[Paper, Network, Path]:
    """The demo's network, and a folder of one's own where it was saved."""
    paper, network, folder = demo
    return paper, network, shutil.copytree(folder, tmp_path / "run")


def test_a_network_is_built_from_words(no_type_checks: None) -> None:
    network = DANet(num_classes=3, backbone="resnet18", channel_attention="paper")
    assert network.architecture == Architecture(Backbone("resnet18"), channel_attention="paper")
    assert network.num_classes == 3
    with pytest.raises(ValueError, match=r"channel_attention.*must be one of released, paper, none, got 'papr'"):
        DANet(3, channel_attention="papr")
    with pytest.raises(ValueError, match=r"no choice of .* 'backbon', only backbone, .*did you mean 'backbone'"):
        DANet(3, backbon="resnet18")
    with pytest.raises(ValueError, match=r"there is no backbone 'resnet19', only .*resnet18"):
        DANet(3, backbone="resnet19")


@pytest.mark.slow
def test_words_for_the_backbone_are_taken_too(no_type_checks: None) -> None:
    network = DANet(3, backbone="resnet18", output_stride=16, stem="deep64", multi_grid=(2, 4))
    assert network.architecture.backbone == Backbone("resnet18", "deep64", 16, (2, 4))
    assert DANet(3, Architecture(Backbone("resnet18")), output_stride=32).architecture.backbone.output_stride == 32
    dfdam = papers.paper_of("dfdam-demo").network(3, backbone="resnet18")
    assert dfdam.architecture.backbone == Backbone("resnet18", output_stride=32)  # as the paper's own
    with pytest.raises(ValueError, match="output_stride must be a whole number, got 16.0"):
        DANet(3, backbone="resnet18", output_stride=16.0)
    with pytest.raises(ValueError, match=r"backbone\.in_channels must be a whole number, got '4'"):
        DANet(3, in_channels="4")
    for given in ("resnet18", None):
        with pytest.raises(ValueError, match="architecture must be an Architecture .*, such as backbone='resnet18'"):
            DANet(3, given)  # type: ignore[arg-type]


@pytest.mark.parametrize("paper", list(papers.every()), ids=papers.NAMES)
def test_another_network_of_timm_carries_every_paper(paper: Paper) -> None:
    torch.manual_seed(0)
    kind: Any = paper.network
    network = kind(3, backbone="convnext_atto").eval()
    assert network.backbone.channels == (40, 80, 160, 320)
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 65, 97)).scores.shape == (1, 3, 65, 97)


@pytest.mark.slow
def test_loading_a_network_loads_no_reader_of_data() -> None:
    code = "import sys, papers.danet.model; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"datasets", "pandas", "pyarrow", "scipy", "matplotlib", "accelerate"}
    assert "core.datasets" not in loaded


@pytest.mark.slow
def test_a_sixth_paper_touches_its_folder_and_the_list_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of a paper under another name is found by every command, with nothing else changed."""
    folder = tmp_path / "papers" / "sixth"
    shutil.copytree(Path(papers.__path__[0]) / "danet", folder)
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8").replace("papers.danet", "papers.sixth").replace("danet-", "sixth-")
        text = text.replace("class DANet(", "class Sixth(").replace("DANet", "Sixth").replace('"danet"', '"sixth"')
        file.write_text(text, encoding="utf-8")
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(folder.parent)])
    monkeypatch.setattr(papers, "NAMES", (*papers.NAMES, "sixth"))

    paper = papers.paper_of("sixth-demo")
    assert "sixth-r101-cityscapes" in rows.listing()
    assert any(line.startswith("sixth-demo") for line in complexity.recipe_lines(paper))
    assert golden.command(paper, tmp_path)[:2] == ["papers/sixth/train.py", "sixth-demo"]
    assert learning.command("sixth-demo", 0, tmp_path)[:2] == ["papers/sixth/train.py", "sixth-demo"]
    assert (
        learning.main(["sixth", "--file", str(Path(learning.__file__).parent / "learning.toml")]) == 2
    )  # no seeds yet
    assert "sixth-demo: not judged" in capsys.readouterr().out
    network = paper.build(paper.recipes["sixth-demo"])
    network.save_pretrained(tmp_path / "run")
    assert type(hub.from_pretrained(tmp_path / "run")) is paper.network
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        launch.train(paper)
    assert "79.94 mIoU, Table 2" in capsys.readouterr().out


@pytest.mark.slow
def test_a_saved_network_comes_back(saved: tuple[Paper, Network, Path]) -> None:
    paper, network, folder = saved
    loaded = paper.network.from_pretrained(folder)
    assert loaded.about is not None
    assert loaded.about == network.about
    assert loaded.architecture == network.architecture
    assert not loaded.training
    with torch.inference_mode():
        for ours, theirs in zip(network(image(65, 97)), loaded(image(65, 97)), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)


def test_a_folder_without_its_configuration_is_refused(saved: tuple[Paper, Network, Path]) -> None:
    paper, _, folder = saved
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        paper.network.from_pretrained(folder)


@pytest.mark.parametrize("renamed", [False, True], ids=["missing", "of another name"])
def test_weights_of_another_network_are_refused(saved: tuple[Paper, Network, Path], renamed: bool) -> None:
    paper, _, folder = saved
    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in tensors if key.endswith(".weight") and not key.startswith("backbone."))
    tensor = tensors.pop(name)
    save_file({**tensors, "renamed": tensor} if renamed else tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        paper.network.from_pretrained(folder)


@pytest.mark.parametrize("inside", [(), ("backbone",)], ids=["architecture", "backbone"])
def test_a_configuration_with_an_unknown_field_is_refused(
    saved: tuple[Paper, Network, Path], inside: tuple[str, ...]
) -> None:
    paper, _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    place = config["architecture"]
    for key in inside:
        place = place[key]
    place["grid"] = [3]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"grid"):
        paper.network.from_pretrained(folder)
