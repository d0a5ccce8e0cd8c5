"""Stored answers of the head of every row and reading: `PYTHONPATH=. python tests/test_heads.py` writes them again.

Each architecture of the recipes stands on the tiny backbone with weights drawn from their names, in float64. A change
of an answer is a change of a network that somebody may have trained.
"""

import functools
import itertools
import json
from pathlib import Path

import pytest
import torch
from networks import PAPERS, build, heads, pictures
from torch import nn

from core.networks.blocks import classifier
from papers.ranet.baselines import NonLocalAttention

STORED = Path(__file__).with_name("stored") / "heads.json"


@functools.cache
@torch.no_grad()
def answers(paper: str) -> dict[str, dict[str, list[float]]]:
    """Return for each head and each of its outputs the sum of magnitudes and seven single numbers."""
    found = {}
    for name, architecture in heads(paper).items():
        output = build(paper, architecture).eval()(pictures(1))
        found[name] = {
            key: [float(value.abs().sum()), *value.flatten()[:: max(1, value.numel() // 7)][:7].tolist()]
            for key, value in output._asdict().items()
            if value is not None
        }
    return found


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_every_head_answers_as_stored(paper: str) -> None:
    stored = json.loads(STORED.read_text())[paper]
    given = answers(paper)
    assert given.keys() == stored.keys()
    for name, outputs in given.items():
        assert list(outputs) == list(stored[name]), name
        for key, values in outputs.items():
            assert values == pytest.approx(stored[name][key], rel=1e-6, abs=1e-9), f"{name}: {key}"


OF_TRAINING = {"loss_size", "supervised", "deep_supervision", "alpha", "beta", "dense_loss"}
"""What changes the objective, and the scores of an image not at all or only by its absence."""


def of_testing(name: str) -> frozenset[str]:
    """Return what a head's name says of its scores."""
    idle = OF_TRAINING | {"default"}
    if "context=identity" in name:  # RANet's score maps then make nothing
        idle |= {"score_maps"}
    return frozenset(part for part in name.split(", ") if part.split("=")[0] not in idle)


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_no_two_heads_answer_alike(paper: str) -> None:
    """Otherwise something that a recipe says does not reach its network."""
    scores = {name: tuple(outputs["scores"]) for name, outputs in answers(paper).items()}
    for one, other in itertools.combinations(scores, 2):
        if of_testing(one) != of_testing(other):
            assert scores[one] != pytest.approx(scores[other], rel=1e-6), f"{one} and {other}"


# Dropout


DROPOUT = {  # of whole channels, 0.1, before a classifier: how many classifiers of the default network have it
    "danet": 3,  # the authors' code: conv6, conv7 and conv8
    "dfdam": 0,  # the text has none
    "pdanet": 5,  # the author's code: behind each of four dual attentions, and before the last classifier
    "ranet": 4,  # the authors' code: before the heads
    "sanet": 1,  # PyTorch-Encoding: before the dense head's classifier
}


@pytest.mark.parametrize("paper", PAPERS)
def test_dropout_has_the_stated_rate(paper: str) -> None:
    with torch.device("meta"):
        network = PAPERS[paper].network(5)
    drops = [part for part in network.modules() if isinstance(part, nn.modules.dropout._DropoutNd)]
    assert [(type(part), part.p) for part in drops] == [(nn.Dropout2d, 0.1)] * DROPOUT[paper]


@pytest.mark.slow
@pytest.mark.parametrize("paper", [name for name, number in DROPOUT.items() if number])
def test_dropout_is_for_training_alone(paper: str) -> None:
    network = build(paper, heads(paper)["default"])
    with torch.no_grad():
        torch.manual_seed(0)
        one, other = network.eval()(pictures()), network(pictures())
        assert torch.equal(one.scores, other.scores)
        one, other = network.train()(pictures()), network(pictures())
        assert not torch.equal(one.scores, other.scores)


def test_a_classifier_drops_a_tenth_of_its_channels() -> None:
    torch.manual_seed(0)
    drop, _ = classifier(40_000, 2)
    given = torch.ones(2, 40_000, 1, 2)
    found = drop(given)
    assert torch.equal(found[..., 0], found[..., 1])  # whole channels
    assert float((found == 0).double().mean()) == pytest.approx(0.1, abs=0.005)
    assert float(found.max()) == pytest.approx(1 / 0.9)
    assert torch.equal(drop.eval()(given), given)


# The start of training


SQUARES = dict.fromkeys(PAPERS, (1 / 3, 0.3)) | {"pdanet": (2.0, 2.83)}
"""Mean and deviation of fan_in * w^2: uniform within 1 / sqrt(fan_in), as PyTorch has it; PDANet's author has He's."""
SHIFTS = dict.fromkeys(PAPERS, 0.0) | {"pdanet": 1e-4}
"""What the bias of a new batch normalisation is."""


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_new_layers_start_as_in_the_released_code(paper: str) -> None:
    """No text says anything of it; all leave PyTorch's defaults but PDANet's author."""
    torch.manual_seed(0)
    mean, deviation = SQUARES[paper]
    for head, architecture in heads(paper).items():
        network = PAPERS[paper].network(5, architecture)
        zero = [part.project[-1] for part in network.modules() if isinstance(part, NonLocalAttention)]
        for name, part in network.named_modules():
            if name.startswith("backbone"):
                continue
            if isinstance(part, nn.Conv2d):
                fan_in, number = part.weight[0].numel(), part.weight.numel()
                squares = fan_in * part.weight.detach().square()
                assert float(squares.mean()) == pytest.approx(mean, abs=6 * deviation / number**0.5), f"{head}: {name}"
                assert paper == "pdanet" or float(squares.max()) <= 1 + 1e-5, f"{head}: {name}"
                assert part.bias is None or float(fan_in * part.bias.detach().square().max()) <= 1 + 1e-5, (
                    f"{head}: {name}"
                )
            elif isinstance(part, nn.modules.batchnorm._BatchNorm):
                assert (part.weight == float(part not in zero)).all(), f"{head}: {name}"
                assert (part.bias == SHIFTS[paper]).all(), f"{head}: {name}"


# Batch normalisation


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_every_batchnorm_learns_its_statistics_in_training_alone(paper: str) -> None:
    """A tenth of the way at each step. Frozen ones are what the papers compare themselves with, not what they do."""
    network = build(paper, heads(paper)["default"])
    norms = {name: part for name, part in network.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    assert {(part.momentum, part.eps) for part in norms.values()} == {(0.1, 1e-5)}
    assert all(parameter.requires_grad for part in norms.values() for parameter in part.parameters())

    def statistics() -> dict[str, torch.Tensor]:
        both = {name: torch.cat([part.running_mean, part.running_var]) for name, part in norms.items()}
        return {name: value.clone() for name, value in both.items()}

    with torch.no_grad():
        before = statistics()
        network.eval()(pictures())
        assert all(torch.equal(before[name], value) for name, value in statistics().items())
        network.train()(pictures())
        assert [name for name, value in statistics().items() if torch.equal(before[name], value)] == []


if __name__ == "__main__":
    STORED.write_text(json.dumps({paper: answers(paper) for paper in PAPERS}, indent=1) + "\n")
