"""The bundled networks: their recipes, their size, and how a run becomes one of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from seeded import weights

import hub
import papers
from core import files
from core.datasets.sets.camvid import CLASSES
from core.networks import repository
from core.networks.network import About, Network
from core.recipe import Protocol, Recipe
from core.values import to_json
from hub import publish, ship

pytestmark = pytest.mark.slow

NAME = "danet-tiny-camvid"

BASELINES = {
    "danet-tiny-camvid": "danet-tiny-camvid-fcn",
    "dfdam-tiny-camvid": "dfdam-tiny-camvid-sum",
    "pdanet-tiny-camvid": "pdanet-tiny-camvid-fcn",
    "ranet-tiny-camvid": "ranet-tiny-camvid-backbone",
    "sanet-tiny-camvid": "sanet-tiny-camvid-fcn",
}


def recipe(name: str) -> Recipe[Any]:
    return papers.paper_of(name).recipes[name]


@pytest.mark.parametrize("name", [*BASELINES, *BASELINES.values()])
def test_a_tiny_network_has_less_than_a_million_weights_and_no_licence_but_that_of_camvid(name: str) -> None:
    network = papers.paper_of(name).build(recipe(name))
    assert sum(value.numel() for value in network.parameters()) < 1_000_000
    assert recipe(name).backbone_weights == "none"
    assert recipe(name).reported == ()


def test_all_tiny_networks_are_trained_and_tested_alike() -> None:
    first = alike(recipe("danet-tiny-camvid"))
    for name in (*BASELINES, *BASELINES.values()):
        assert alike(recipe(name)) == first
        backbone = recipe(name).architecture.backbone
        assert replace(backbone, output_stride=8) == recipe("danet-tiny-camvid").architecture.backbone


def alike(recipe: Recipe[Any]) -> Recipe[Any]:
    """A recipe without what is its own."""
    optimisation = replace(recipe.optimisation, learning_rate=1.0)
    return replace(recipe, name="", summary="", architecture=None, optimisation=optimisation)


@pytest.mark.parametrize("name", [*BASELINES, *BASELINES.values()])
def test_the_rate_is_lower_where_several_losses_add_up(name: str) -> None:
    paper, chosen = papers.paper_of(name), recipe(name)
    output = paper.build(chosen)(torch.randn(2, 3, 64, 64))
    terms = paper.objective(chosen.architecture)(output, torch.zeros(2, 64, 64, dtype=torch.int64))
    assert chosen.optimisation.learning_rate == (0.15 if len(terms) == 1 else 0.05)


MODULES = {
    "danet": {"position_attention": "none", "channel_attention": "none", "reduction": 8},
    "dfdam": {"dual_attention_fusion": "none", "position_attention": False},
    "pdanet": {"head": "fcn", "reduction": 8},
    "ranet": {"context": "none"},
    "sanet": {"head": "fcn"},
}
"""What of an architecture is another in the baseline of a paper."""


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        *BASELINES.items(),
        *(
            (name.replace("tiny-camvid", "demo"), other.replace("tiny-camvid", "demo"))
            for name, other in BASELINES.items()
        ),
    ],
)
def test_the_baseline_is_the_same_backbone_under_the_same_conditions_without_the_modules(
    name: str, baseline: str
) -> None:
    whole, plain = recipe(name), recipe(baseline)
    without = replace(whole.architecture, **MODULES[papers.paper_of(name).folder])
    assert without != whole.architecture
    assert plain.architecture == without
    assert alike(plain) == alike(whole)


def made_up(**about: Any) -> Network:
    """A network of the recipe, as if it had been trained."""
    chosen = recipe(NAME)
    network = papers.paper_of(NAME).build(chosen)
    network.load_state_dict(weights({name: value.shape for name, value in network.state_dict().items()}))
    network.about = About(CLASSES, chosen.protocol, **{"recipe": to_json(chosen), "commit": "0123abc", **about})
    return network.eval()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as the training leaves it."""
    before = replace(recipe(NAME), protocol=Protocol(base=360))
    network = made_up(recipe=to_json(before))
    network.about = replace(network.about, protocol=before.protocol)
    network.save_pretrained(tmp_path / "run")
    files.write_json(
        tmp_path / "run" / "score.json",
        {
            "seed": 2,
            "processes": 1,
            "precision": "bf16",
            "mean_iou": 99.0,
            "training_seconds": 60,
            "hardware": "abacus",
        },
    )
    return tmp_path / "run"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two test images in the layout of CamVid."""
    generator = np.random.default_rng(0)
    for number in range(2):
        for kind, shape, high in (("images", (24, 40, 3), 256), ("labels", (24, 40), 11)):
            path = tmp_path / "camvid" / "test" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, high, shape, dtype=np.uint8)).save(path)
    return tmp_path / "camvid"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for shipped networks."""
    monkeypatch.setattr(repository, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shipped"


def test_a_run_is_shipped_and_loaded_by_its_name(run: Path, data: Path, shelf: Path) -> None:
    folder = ship.ship(ship.Options(NAME, run, data))
    assert folder == shelf / NAME
    assert hub.shipped() == (NAME,)
    assert sorted(file.name for file in folder.iterdir()) == [
        *("LICENCE", "README.md", "config.json", "fingerprint.json", "model.safetensors", "score.json")
    ]

    loaded = hub.from_pretrained(NAME, verify=True, local_files_only=True)
    assert loaded.classes == CLASSES
    stored = load_file(folder / "model.safetensors")
    for name, value in made_up().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().to(value.dtype))
        assert stored[name].dtype == (torch.float16 if value.is_floating_point() else torch.int64)

    kind = type(loaded)  # every command finds it: they all load by Network.from_pretrained
    assert torch.equal(kind.from_pretrained(NAME).classify[1].weight, loaded.classify[1].weight)


@pytest.mark.parametrize("name", hub.shipped())
def test_every_network_that_comes_along_is_what_its_folder_says(name: str) -> None:
    loaded = hub.from_pretrained(name, verify=True, local_files_only=True)
    folder, about = repository.SHIPPED / name, loaded.about
    assert about is not None
    used, changed = publish.as_used(recipe(name), about)
    assert not changed or ship.trained_on(used, changed)
    score = files.read_json(folder / "score.json")
    assert score["weights"] == files.sha256(folder / "model.safetensors")
    assert (score["recipe"], score["split"], score["images"]) == (name, "test", 233)
    assert f"| {score['mean_iou']:.2f} |" in (folder / "README.md").read_text(encoding="utf-8")
    assert f"{score['mean_iou']:.2f}" in (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert "on CamVid and on nothing else" in (folder / "LICENCE").read_text(encoding="utf-8")
    ship.refuse_too_large(folder / "model.safetensors", name)


def test_what_is_shipped_tells_its_own_score_and_its_terms(run: Path, data: Path, shelf: Path) -> None:
    folder = ship.ship(ship.Options(NAME, run, data))
    score = files.read_json(folder / "score.json")
    assert score["mean_iou"] < 30  # of the rounded weights on noise, not the run's 99
    assert (score["split"], score["images"], score["seed"]) == ("test", 2, 2)
    assert (score["precision"], score["training_precision"]) == ("fp32", "bf16")
    assert (score["protocol"]["base"], score["protocol"]["limit"]) == (None, 480)  # the recipe's of today
    assert score["weights"] == files.sha256(folder / "model.safetensors")
    card = (folder / "README.md").read_text()
    assert f'hub.from_pretrained("{NAME}")' in card
    assert f"| {score['mean_iou']:.2f} |" in card
    assert f"train.py {NAME} --data DIR --run.seed 2 --run.precision bf16" in card
    assert "It took 1 min 0 s on abacus (bf16, 1 process). The seed was 2." in card
    assert "abacus, " not in card  # it was tested here
    assert "huggingface.co" not in card
    assert "CC BY-NC 4.0" in card
    licence = (folder / "LICENCE").read_text()
    assert "trained from scratch on CamVid and on nothing else" in licence
    assert "CC BY-NC 4.0" in licence


def test_what_its_recipe_trained_on_is_shipped_and_says_so(run: Path, data: Path, shelf: Path) -> None:
    longer = {"starts_from": (None, NAME), "optimisation.length": (120, 30), "optimisation.learning_rate": (0.05, 0.03)}
    made_up(changed=longer).save_pretrained(run)
    card = (ship.ship(ship.Options(NAME, run, data)) / "README.md").read_text()
    assert "beginning with what the same recipe had trained before (FIRST_RUN below" in card
    assert "--recipe.optimisation.learning-rate 0.03 --recipe.optimisation.length 30 --starts-from FIRST_RUN" in card
    assert "- `optimisation.length`: 120 -> 30" in card


def test_shipping_again_replaces_what_was_there(run: Path, data: Path, shelf: Path) -> None:
    (shelf / NAME).mkdir()
    (shelf / NAME / "old").write_text("")
    ship.ship(ship.Options(NAME, run, data))
    assert not (shelf / NAME / "old").exists()
    assert [folder.name for folder in shelf.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("name", "about", "sentence"),
    [
        ("danet-tiny-camvid-fcn", {}, "was trained by the recipe 'danet-tiny-camvid', not 'danet-tiny-camvid-fcn'"),
        (NAME, {"changed": {"optimisation.length": (120, 3)}}, "this was changed: optimisation.length: 120 -> 3"),
        (NAME, {"changed": {"starts_from": (None, f"{NAME}-fcn")}}, f"changed: starts_from: None -> {NAME}-fcn"),
        (NAME, {"changed": {"starts_from": (None, NAME), "augmentation.crop": (320, 96)}}, "augmentation.crop"),
        ("danet-r18-camvid", {"recipe": to_json(recipe("danet-r18-camvid"))}, "begins with trained weights"),
    ],
)
def test_what_is_not_the_network_of_its_recipe_is_refused(
    name: str, about: dict[str, Any], sentence: str, tmp_path: Path, data: Path, shelf: Path
) -> None:
    made_up(**about).save_pretrained(tmp_path / "run")
    with pytest.raises(ValueError, match=sentence):
        ship.ship(ship.Options(name, tmp_path / "run", data))
    assert hub.shipped() == ()


@pytest.mark.parametrize("limit", ["LARGEST_FILE", "LARGEST_TOGETHER"])
def test_weights_too_large_for_a_repository_are_refused(
    limit: str, run: Path, data: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship, limit, 100_000)
    with pytest.raises(ValueError, match=r"100,000.*ship a smaller network"):
        ship.ship(ship.Options(NAME, run, data))
    assert hub.shipped() == ()


def test_numbers_that_half_precision_does_not_reach_are_refused() -> None:
    assert ship.halves({"a": torch.tensor([65504.0]), "n": torch.tensor(70000)})["n"] == 70000
    with pytest.raises(ValueError, match="half precision does not reach the numbers of a"):
        ship.halves({"a": torch.tensor([65536.0])})


def test_a_folder_of_the_same_name_goes_before_a_shipped_network(shelf: Path, tmp_path: Path) -> None:
    (shelf / NAME).mkdir()
    assert repository.local(NAME) == shelf / NAME
    (tmp_path / NAME).mkdir()
    assert repository.local(NAME) == Path(NAME)
    assert repository.local(f"org/{NAME}") is None
    assert repository.local("nothing") is None


@pytest.mark.parametrize("name", hub.shipped())
def test_every_shipped_network_computes_what_it_did_and_is_small(name: str) -> None:
    network = hub.from_pretrained(name, verify=True, local_files_only=True)
    assert network.about is not None
    assert network.about.recipe["name"] == name
    folder = repository.SHIPPED / name
    assert files.read_json(folder / "score.json")["weights"] == files.sha256(folder / repository.WEIGHTS)
    assert (folder / "LICENCE").is_file()
    ship.refuse_too_large(folder / repository.WEIGHTS, name)
