"""Blocks of a backbone computed again: the same numbers from less memory."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import tiny
import torch
from networks import build, heads, labels, pictures
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from core.networks import recompute
from core.networks.backbones import Backbone
from core.networks.backbones import build as features
from core.networks.features import Features
from core.networks.known import LEVELS
from core.networks.network import Network
from core.run import Run
from papers.danet.loss import loss


def learned(network: Network, steps: int = 2) -> dict[str, Tensor]:
    """Train for some steps, with dropout; return all weights, gradients and running means."""
    network.train()
    for step in range(steps):
        torch.manual_seed(step)
        network.zero_grad()
        torch.stack(list(loss(network(pictures()), labels()).values())).sum().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter -= 0.01 * parameter.grad
    gradients = {f"gradient of {name}": value.grad for name, value in network.named_parameters()}
    return {**network.state_dict(), **gradients}


@pytest.mark.slow
def test_recomputed_blocks_give_the_same_numbers() -> None:
    plain = build("danet", heads("danet")["default"])
    other = copy.deepcopy(plain)
    other.backbone.recompute = True
    expected, found = learned(plain), learned(other)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert int(found["backbone.body.bn1.num_batches_tracked"]) == 2


def test_dropout_and_efficientnets_are_computed_again_as_they_were() -> None:
    """What is drawn, what is normalised and in which order stages follow: maps, gradients and running means."""
    torch.manual_seed(0)
    body = timm.create_model("efficientnet_lite0", features_only=True, out_indices=LEVELS)
    for stage in body.get_submodule("blocks").children():
        del stage[1:]  # one block is enough
        stage[0] = nn.Sequential(stage[0], nn.Dropout2d(0.5))
    plain = Features(body, body.feature_info.channels(), body.feature_info.reduction()).train()
    other = copy.deepcopy(plain)
    other.recompute = True
    found = []
    for network in (plain, other):
        torch.manual_seed(1)
        image = pictures(2, 32, 32).float().requires_grad_()
        maps = network(image)
        sum((map_ * map_).mean() for map_ in maps).backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        found.append([image.grad, *maps, *gradients, *network.buffers()])
    assert all(torch.equal(one, again) for one, again in zip(*found, strict=True))


@pytest.mark.slow
def test_a_run_says_whether_its_backbone_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "refuse_others", lambda body: None)
    for word in (False, True):
        training = tiny.begin(tmp_path / str(word), recompute=word)
        training.lock.release()
        assert training.network.backbone.recompute is word


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", [Backbone("resnet18"), Backbone("resnet50", "deep64"), Backbone("tf_efficientnet_b7")]
)
def test_recomputed_blocks_keep_less(backbone: Backbone) -> None:
    with torch.device("meta"):
        network = features(backbone).train()
        own = {tensor.untyped_storage()._cdata for tensor in network.parameters()}
        held: dict[bool, int] = {}
        for again in (False, True):
            network.recompute = again
            alive: dict[int, Tensor] = {}
            with saved_tensors_hooks(lambda x, seen=alive: seen.setdefault(x.untyped_storage()._cdata, x), lambda x: x):
                maps = network(torch.empty(2, 3, 128, 128))
            kept = [value for key, value in alive.items() if key not in own]
            held[again] = sum(math.prod(value.shape) for value in kept)
            assert len(maps) == 4
    assert held[True] < 0.4 * held[False]


def test_what_cannot_be_recomputed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run.recompute is for ResNets and EfficientNets"):
        tiny.begin(tmp_path, recompute=True)
    words: dict[str, Any] = {"recompute": True, "compile": True}
    with pytest.raises(ValueError, match=r"run\.recompute and run\.compile don't go together"):
        Run(**words)
