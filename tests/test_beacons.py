"""The pictures that ask for context: nothing near a block tells its class, and no baseline reaches what does."""

import numpy as np
import pytest
import torch
from torch import nn

import papers
from core import datasets
from core.datasets.samples import labels_of
from core.datasets.sets import beacons
from core.datasets.sets.beacons import APART, BEACON, CLEAR, COLOURS, END, GROUND, HEIGHT, WARNED, WIDTH
from core.images.reading import read_image
from core.networks.network import Network
from core.paper import Paper


def drawn(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [beacons.draw(7, index) for index in range(count)]


def test_a_picture_is_a_function_of_its_seed_and_index() -> None:
    (image, labels), (again, labels_again) = beacons.draw(1, 4), beacons.draw(1, 4)
    assert image.shape == (32, 288, 3)
    assert (image == again).all()
    assert (labels == labels_again).all()
    assert (image != beacons.draw(1, 5)[0]).any()
    with pytest.raises(ValueError, match="got seed 1, index -1"):
        beacons.draw(1, -1)


def test_the_beacon_decides_the_class_of_every_block() -> None:
    kinds = []
    for image, labels in drawn(40):
        (kind,) = set(np.unique(labels)) - {GROUND, BEACON}
        colour = image[labels == BEACON].mean(0)
        distances = {name: np.abs(colour - np.array(painted)).sum() for name, painted in COLOURS.items()}
        assert kind == min(distances, key=distances.__getitem__)
        kinds.append(kind)
    assert 10 < kinds.count(WARNED) < 30


def test_beacon_and_blocks_lie_far_apart_on_either_side() -> None:
    sides = set()
    for _, labels in drawn(40):
        beacon, blocks = (np.flatnonzero(np.isin(labels, kinds).any(0)) for kinds in ((BEACON,), (WARNED, CLEAR)))
        left = beacon.max() < blocks.min()
        sides.add(left)
        assert (blocks.min() - beacon.max() if left else beacon.min() - blocks.max()) > APART
    assert sides == {True, False}


@pytest.mark.slow
def test_a_block_looks_the_same_in_both_classes() -> None:
    greys: dict[int, list[float]] = {WARNED: [], CLEAR: []}
    for image, labels in drawn(400):
        kind = int(labels.max())
        greys[kind].append(float(image[labels == kind].mean()))
    means, spreads = ([float(function(greys[kind])) for kind in greys] for function in (np.mean, np.std))
    assert abs(means[0] - means[1]) < 0.2 * spreads[0]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.15)


@pytest.mark.slow
def test_the_data_set_is_what_it_says() -> None:
    dataset = datasets.find("beacons")
    for split, (count,) in dataset.counts.items():
        pairs = datasets.read("beacons", None, split)
        assert len(pairs.rows) == count
    image, labels = beacons.draw(beacons.SPLITS["val"][0], 3)
    row = datasets.read("beacons", None, "val").rows[3]
    assert (np.asarray(read_image(row.image)) == image).all()
    assert (np.asarray(labels_of(row)) == labels).all()
    with pytest.raises(ValueError, match="has the splits train, val, test, got 'trainval'"):
        datasets.read("beacons", None, "trainval")


def reached(network: Network) -> bool:
    """Return True if the scores of a block depend on the end of the beacon, with every module at work."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    for parameter in network.parameters():
        if parameter.numel() == 1:
            nn.init.ones_(parameter)
    torch.manual_seed(0)
    image = torch.randn(1, 3, HEIGHT, WIDTH, requires_grad=True)
    scores = network.eval()(image).scores
    scores[..., END + APART :].square().sum().backward()
    assert image.grad is not None
    assert image.grad[..., -8:].abs().max() > 0
    return bool(image.grad[..., :END].abs().max() > 0)


@pytest.mark.parametrize("paper", list(papers.every()), ids=lambda paper: paper.folder)
def test_context_is_what_each_paper_adds(paper: Paper) -> None:
    network, without = next(pair for pair in paper.ladders if pair[0].data.name == "beacons")
    torch.manual_seed(0)
    assert reached(paper.build(network))
    assert not reached(paper.build(without))
