"""Loading any of the networks by what its configuration says, and predicting with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from seeded import weights

import hub
import papers
from core import datasets
from core.images.classes import Classes
from core.networks.network import About, Network
from core.networks.weights import load_matching
from core.paper import Paper
from core.recipe import Protocol
from core.values import to_json
from papers import paper_of

EACH_PAPER = pytest.mark.parametrize("paper", list(papers.every()), ids=papers.NAMES)
CLASSES = Classes.coloured([f"thing {label}" for label in range(10)])


def demo(paper: Paper, num_classes: int = 10) -> Network:
    """The paper's smallest network, with weights drawn from their names."""
    recipe = paper.recipes[f"{paper.folder}-demo"]
    build: Any = paper.network
    network: Network = build(num_classes, recipe.architecture)
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    network.about = About(CLASSES, Protocol(crop=48, stride=40, flip=True), to_json(recipe), {}, "0123abc")
    return network.eval()


def test_a_recipe_that_no_paper_has_is_refused() -> None:
    with pytest.raises(ValueError, match="no paper has a recipe 'danet-r1000'"):
        paper_of("danet-r1000")


@pytest.mark.slow
@EACH_PAPER
def test_the_right_network_is_found_and_predicts_any_size(paper: Paper, tmp_path: Path) -> None:
    made = demo(paper)
    made.save_pretrained(tmp_path)
    network = hub.from_pretrained(tmp_path, verify=True)
    assert type(network) is paper.network
    assert network.about == made.about
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in network.state_dict().items())
    assert not network.training
    for size in ((65, 49), (90, 5), (1, 1)):
        for protocol in (None, Protocol()):
            result = network.predict(Image.new("RGB", size, (40, 90, 200)), protocol)
            assert (result.labels.shape[1], result.labels.shape[0]) == result.overlay().size == size
            assert result.probabilities.shape == (10, size[1], size[0])
            assert result.probabilities.isfinite().all()
            assert result.classes == CLASSES


@EACH_PAPER
def test_foreign_classifiers_are_left_out_of_every_network(paper: Paper) -> None:
    seven = demo(paper, num_classes=7)
    ten = demo(paper)
    dropped = load_matching(ten, {name: value + 1 for name, value in seven.state_dict().items()})
    assert dropped
    for name, value in ten.state_dict().items():
        assert (value.shape != seven.state_dict()[name].shape) == (name in dropped)


def test_a_class_that_is_no_network_of_ours_is_refused(tmp_path: Path) -> None:
    demo(paper_of("danet-demo")).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("Module", "papers.danet.model.DANet", "__import__('os')"):
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
        with pytest.raises(ValueError, match="holds a network of the class .* there are DANet, DFDAM, PDANet"):
            hub.from_pretrained(tmp_path)


def test_every_data_set_of_a_recipe_has_its_terms() -> None:
    names = {recipe.data.name for paper in papers.every() for recipe in paper.recipes.values()}
    known = {name: datasets.find(name).licence for name in names}
    assert datasets.find("hub:org/roads").licence.title == "org/roads"
    assert all(licence.link for name, licence in known.items() if datasets.find(name).in_folder)
