"""The contracts that every paper keeps (`papers/__init__.py`), held for all of them alike."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from seeded import image, weights
from torch import Tensor

import papers.danet.loss
import papers.danet.model
import papers.danet.recipes
import papers.dfdam.loss
import papers.dfdam.model
import papers.dfdam.recipes
import papers.pdanet.loss
import papers.pdanet.model
import papers.pdanet.recipes
import papers.ranet.interaction
import papers.ranet.loss
import papers.ranet.model
import papers.ranet.recipes
import papers.ranet.released
import papers.sanet.loss
import papers.sanet.model
import papers.sanet.recipes
from ci.rows import PAPERS
from core.datasets import READERS
from core.images.classes import IGNORE, Classes
from core.networks.network import About, Network
from core.recipe import Protocol, Recipe
from core.values import from_json, to_json


@dataclass(frozen=True)
class Paper:
    """What a paper's modules are expected to offer."""

    network: type[Network]
    architecture: type
    loss: Callable[[Any, Tensor], dict[str, Tensor]]
    recipes: dict[str, Recipe[Any]]
    demo: str

    def build(self, recipe: Recipe[Any]) -> Network:
        return self.network(recipe.data.num_classes, recipe.architecture)  # type: ignore[call-arg, arg-type]


KEPT = {
    "danet": Paper(
        papers.danet.model.DANet,
        papers.danet.model.Architecture,
        papers.danet.loss.loss,
        papers.danet.recipes.RECIPES,
        papers.danet.recipes.DEMO,
    ),
    "dfdam": Paper(
        papers.dfdam.model.DFDAM,
        papers.dfdam.model.Architecture,
        papers.dfdam.loss.loss,
        papers.dfdam.recipes.RECIPES,
        papers.dfdam.recipes.DEMO,
    ),
    "pdanet": Paper(
        papers.pdanet.model.PDANet,
        papers.pdanet.model.Architecture,
        papers.pdanet.loss.loss,
        papers.pdanet.recipes.RECIPES,
        papers.pdanet.recipes.DEMO,
    ),
    "ranet": Paper(
        papers.ranet.model.RANet,
        papers.ranet.model.Architecture,
        papers.ranet.loss.loss,
        papers.ranet.recipes.RECIPES,
        papers.ranet.recipes.DEMO,
    ),
    "sanet": Paper(
        papers.sanet.model.SANet,
        papers.sanet.model.Architecture,
        papers.sanet.loss.loss,
        papers.sanet.recipes.RECIPES,
        papers.sanet.recipes.DEMO,
    ),
}

EACH_PAPER = pytest.mark.parametrize("paper", KEPT.values(), ids=KEPT)
EACH_RECIPE = pytest.mark.parametrize(
    ("paper", "name"), [pytest.param(paper, name, id=name) for paper in KEPT.values() for name in paper.recipes]
)


def test_every_paper_is_held_to_its_contracts() -> None:
    folders = {path.parent.name for path in Path(papers.__file__).parent.glob("*/model.py")}
    assert folders == set(KEPT) == set(PAPERS)
    for name, paper in KEPT.items():
        files = {path.name for path in (Path(papers.__file__).parent / name).glob("*.*")}
        assert {"README.md", "train.py", "evaluate.py", "figures.py", "loss.py", "recipes.py"} <= files
        assert PAPERS[name] is paper.recipes


def test_a_second_stage_names_a_first_that_is_trained() -> None:
    for paper in KEPT.values():
        for recipe in paper.recipes.values():
            if recipe.starts_from is not None:
                assert paper.recipes[recipe.starts_from].same_weights_as is None
                assert recipe.same_weights_as is None


@pytest.fixture
def sizes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without values there are no regions whose representatives could interact; but O has the size of A."""

    def like(self: Any, A: Tensor, regions: Any) -> Tensor:
        return torch.empty_like(A)

    for kind in (papers.ranet.interaction.RegionInteraction, papers.ranet.released.ReleasedInteraction):
        monkeypatch.setattr(kind, "forward", like)


@EACH_RECIPE
@pytest.mark.usefixtures("sizes_alone")
def test_every_recipe_builds_and_keeps_the_size(paper: Paper, name: str) -> None:
    recipe = paper.recipes[name]
    assert recipe.name == name
    with torch.device("meta"):
        output = paper.build(recipe)(torch.empty(2, 3, 65, 97))
    assert output.scores is output[0]
    assert tuple(output.scores.shape) == (2, recipe.data.num_classes, 65, 97)
    assert {len(value) for value in output if value is not None} == {2}  # what a loss needs besides: one each


@EACH_RECIPE
def test_every_recipe_survives_json(paper: Paper, name: str) -> None:
    recipe = paper.recipes[name]
    kind = Recipe[paper.architecture]  # type: ignore[name-defined]
    assert from_json(kind, json.loads(json.dumps(to_json(recipe)))) == recipe


@EACH_RECIPE
def test_every_recipe_names_data_that_is_known(paper: Paper, name: str) -> None:
    assert paper.recipes[name].data.name in {"scenes", *READERS}


@EACH_PAPER
def test_rows_that_only_test_harder_borrow_all_that_makes_the_weights(paper: Paper) -> None:
    for recipe in paper.recipes.values():
        if recipe.same_weights_as is not None:
            lender = paper.recipes[recipe.same_weights_as]
            assert lender.same_weights_as is None
            assert recipe.name.startswith(lender.name)
            assert recipe.data.train == lender.data.train
            for field in ("architecture", "augmentation", "optimisation", "backbone_weights"):
                assert getattr(recipe, field) == getattr(lender, field)


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
    terms = paper.loss(output, labels)
    assert all(term.ndim == 0 and term > 0 for term in terms.values())
    sum(terms.values(), torch.zeros(())).backward()
    ignored = paper.loss(output, torch.full_like(labels, IGNORE))
    assert [float(term.detach()) for term in ignored.values()] == [0.0] * len(terms)


@pytest.fixture(params=KEPT.values(), ids=KEPT)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Paper, Network, Path]:
    """The demo's network with weights drawn from their names, and the folder where it was saved."""
    paper: Paper = request.param
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
    network.eval().save_pretrained(tmp_path / "run")
    return paper, network, tmp_path / "run"


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
