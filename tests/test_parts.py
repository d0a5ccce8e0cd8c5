"""Networks with one of their modules switched off, and what each module contributes to a score."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import CLASSES, PAPERS, build, heads, pictures
from seeded import noise
from torch import Tensor, nn

from core import datasets
from core.command import EvaluationOptions
from core.datasets.samples import Pairs
from core.networks.backbones import Backbone
from core.networks.network import About, Network
from core.networks.parts import Averaged
from core.recipe import Protocol
from core.testing.report import evaluate_checkpoint
from papers.danet.model import Architecture, DANet
from papers.danet.recipes import RECIPES
from papers.ranet.interaction import RegionInteraction, WithoutRegions
from papers.ranet.regions.construction import Regions

DEMO = RECIPES["danet-demo"]


def picture() -> Tensor:
    """Return a small image of noise."""
    return pictures(1, 65, 49)


def scores(network: Network, part: str | None = None) -> Tensor:
    """Return the scores of a picture, perhaps without a part."""
    with torch.no_grad():
        if part is None:
            return network.eval()(picture()).scores
        with network.without(part):
            return network.eval()(picture()).scores


@pytest.mark.slow
@pytest.mark.parametrize("paper", PAPERS)
def test_each_part_counts_and_comes_back(paper: str) -> None:
    """Of the heads of a paper, one for each kind of module that can be switched off."""
    tried = set()
    for name, architecture in heads(paper).items():
        network = build(paper, architecture)
        kinds = [
            (part, path, type(network.get_submodule(path))) for part, x in network.removable().items() for path in x
        ]
        if tuple(kinds) in tried or not kinds:
            continue
        tried.add(tuple(kinds))
        for key, parameter in network.named_parameters():
            if key.split(".")[-1] in ("alpha", "beta"):
                nn.init.constant_(parameter, 0.7)
        before, state = scores(network), set(network.state_dict())
        for part in network.removable():
            assert not torch.allclose(scores(network, part), before), f"{name}: {part}"
            assert torch.equal(scores(network), before), f"{name}: {part}"
            assert set(network.state_dict()) == state
    assert tried


@pytest.mark.parametrize("paper", ["danet", "pdanet"])
def test_without_attention_alpha_or_beta_is_zero(paper: str) -> None:
    network = build(paper, heads(paper)["default"])
    for part, scalar in (("position attention", "alpha"), ("channel attention", "beta")):
        scalars = [value for key, value in network.named_parameters() if key.split(".")[-1] == scalar]
        for parameter in scalars:
            nn.init.constant_(parameter, 0.7)
        without = scores(network, part)
        for parameter in scalars:
            nn.init.zeros_(parameter)
        assert torch.allclose(without, scores(network), rtol=1e-12, atol=1e-12)
        assert len(scalars) == (1 if paper == "danet" else 4)


def test_a_mean_stands_for_what_weighs() -> None:
    x = noise(2, 3, 4, 5).double()
    averaged = Averaged(nn.Sigmoid(), (2, 3))(x)
    assert averaged.shape == x.shape
    for b in range(2):
        for c in range(3):
            mean = sum(float(x[b, c, i, j].sigmoid()) for i in range(4) for j in range(5)) / 20
            assert torch.allclose(averaged[b, c], torch.full((4, 5), mean, dtype=torch.float64))


def test_dfdam_without_its_weights_prefers_nothing() -> None:
    network = build("dfdam", heads("dfdam")["default"])
    seen = []
    hooks = []
    fusion, position = network.get_submodule("fusion"), network.get_submodule("position")
    hooks.append(fusion.register_forward_hook(lambda _, given, answer: seen.append((*given[:2], answer))))
    hooks.append(position.register_forward_hook(lambda _, given, answer: seen.append((given[0], answer))))
    scores(network, "dual attention fusion")
    (low, high, context), _ = seen
    weights = torch.linalg.lstsq(torch.stack([low.flatten(), high.flatten()], 1), context.flatten()[:, None]).solution
    assert torch.allclose(weights[0] * low + weights[1] * high, context)  # one weight for each of the two
    seen.clear()
    scores(network, "position attention")
    _, (spatial, weighted) = seen
    assert torch.allclose(spatial * (weighted.sum() / spatial.sum()), weighted)
    for hook in hooks:
        hook.remove()


def test_sanet_without_a_part_of_its_prediction_is_the_other() -> None:
    network = build("sanet", heads("sanet")["default"])
    together = scores(network)
    parts = [scores(network, "SA head of C4"), scores(network, "dense head")]
    assert torch.allclose(sum(parts), together)


def test_sanet_without_attention_has_its_mean_over_the_positions() -> None:
    network = build("sanet", heads("sanet")["default"])
    x = noise(2, 96, 9, 7).double()
    head = network.get_submodule("heads.3")
    main, attention = head.get_submodule("main"), head.get_submodule("attention")
    pooled = head.get_submodule("pool")(x)
    with torch.no_grad():
        mean = attention.eval()(pooled).mean((2, 3), keepdim=True)
        expected = mean * main.eval()(x) + mean
        with network.eval().without("attention channels"):
            found = head(x)
    torch.testing.assert_close(found, expected)
    assert mean.std(dim=1).min() > 0  # each class has its own


def test_released_ranet_without_regions_has_what_is_around_them() -> None:
    network = build("ranet", heads("ranet")["reading=released"]).eval()
    X = noise(1, 24, 3, 4).double()
    gather = network.get_submodule("gather")
    with torch.no_grad():
        expected = gather.get_submodule("after_distribution")(gather.get_submodule("to_query")(X))
        with network.without("regions"):
            found = network.get_submodule("gather")(X)
    assert torch.equal(found, expected)


def test_ranet_without_regions_keeps_the_first_terms() -> None:
    A = noise(1, 2, 2, 3).double()
    index = torch.tensor([[[0, 0, 1], [0, 1, 1]]])
    J = torch.tensor([[[0.9, 0.5, 0.7], [0.2, 0.4, 0.6]]], dtype=torch.float64)
    regions = Regions(index, J, torch.tensor([2]))
    assert torch.equal(WithoutRegions()(A, regions), J[:, None] * A)
    network = build("ranet", heads("ranet")["default"])
    with network.without("interaction between regions"):
        alone = network.get_submodule("gather")
        assert torch.equal(alone(A, regions), RegionInteraction(8, inter=False)(A, regions))
    assert not torch.allclose(
        network.get_submodule("gather")(A, regions), RegionInteraction(8, inter=False)(A, regions)
    )


def test_an_error_inside_leaves_the_network_whole() -> None:
    network = build("danet", heads("danet")["default"])
    before = dict(network.named_modules())
    network.classify.register_forward_hook(lambda *_: {}["stop"])
    with pytest.raises(KeyError, match="stop"):
        scores(network, "position attention")
    assert dict(network.named_modules()) == before


def test_what_cannot_be_switched_off_is_refused() -> None:
    network = DANet(CLASSES, Architecture(Backbone("resnet10_tiny"), channel_attention="none"))
    with pytest.raises(
        ValueError, match="no removable part of this DANet 'channel attention', only position attention"
    ):
        network.without("channel attention").__enter__()


@pytest.mark.slow
def test_the_score_without_each_module_stands_below_the_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = datasets.read

    def few(name: str, data: Path | None, split: str) -> Pairs:
        pairs = real(name, data, split)
        return replace(pairs, rows=pairs.rows[:2])

    monkeypatch.setattr(datasets, "read", few)
    torch.manual_seed(0)
    network = DANet(10, Architecture(Backbone("resnet10_tiny")))
    assert network.get_parameter("position.attend.alpha") == 0
    nn.init.constant_(network.get_parameter("channel.attend.beta"), -3.0)
    network.about = About(datasets.read("scenes", None, "val").classes, Protocol())
    network.save_pretrained(tmp_path / "weights")
    told = EvaluationOptions(DEMO, str(tmp_path / "weights"), to=tmp_path / "score.json", workers=0, modules=True)
    evaluate_checkpoint(DANet, told)
    written = json.loads((tmp_path / "score.json").read_text())
    modules = written["modules"]
    assert modules["images"] == 2
    assert modules["as_trained"] == modules["without"]["position attention"] == written["mean_iou"]  # alpha is 0
    assert modules["without"]["channel attention"] != written["mean_iou"]
    printed = capsys.readouterr().out
    assert f"what each module contributes, mIoU on 2 images: {written['mean_iou']:.2f} as trained" in printed
    assert f"without position attention  {written['mean_iou']:6.2f}  (+0.00)" in printed
    assert "--modules" not in printed
