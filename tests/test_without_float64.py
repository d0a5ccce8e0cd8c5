"""No computation needs float64, which Apple's GPUs do not have: tried by refusing every tensor of that kind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import CLASSES, PAPERS, drawn, labels, pictures, tiny
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.networks.network import Network
from core.recipe import Protocol
from papers.ranet.regions import divergence, equations

PROTOCOLS = [
    Protocol(flip=True),
    Protocol(crop=65, stride=48, merge="scores"),
    Protocol(crop=65, stride=48, scales=(0.75, 1.0), flip=True, merge="exp"),
]


class NoFloat64(TorchDispatchMode):
    """As on Apple's GPUs: a result in float64 is a TypeError."""

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        found = function(*given, **(named or {}))
        if any(isinstance(leaf, Tensor) and leaf.dtype == torch.float64 for leaf in tree_leaves(found)):
            raise TypeError(f"Cannot convert a MPS Tensor to float64 dtype ({function})")
        return found


def float32(_: Tensor) -> torch.dtype:
    """What `wide` says of Apple's GPUs."""
    return torch.float32


@pytest.fixture
def on_apple(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (equations, divergence):
        monkeypatch.setattr(module, "wide", float32)
    for name in ("first_matches", "region_means", "region_means_backward"):
        monkeypatch.setattr(equations, name, looked_into(getattr(equations, name)))


def looked_into(form: Callable[..., Any]) -> Callable[..., Any]:
    """What an operator of ours computes, likewise: the mode itself sees only the operator."""

    def watched(*given: Any) -> Any:
        with NoFloat64():
            return form(*given)

    return watched


def networks() -> list[Any]:
    """The default network of each paper, and RANet with the authors' divergence."""
    found = [(paper, {}) for paper in PAPERS]
    return [*found, ("ranet", {"reading": "released"})]


def network_of(paper: str, changes: dict[str, Any]) -> Network:
    with torch.device("meta"):
        default = PAPERS[paper].network(CLASSES).architecture
    return drawn(PAPERS[paper].network(CLASSES, tiny(type(default)(**changes)))).float()


@pytest.mark.slow
@pytest.mark.parametrize(("paper", "changes"), networks(), ids=str)
def test_a_step_needs_no_float64(paper: str, changes: dict[str, Any], on_apple: None) -> None:
    network, objective = network_of(paper, changes), PAPERS[paper].objective
    image, answer = pictures().float(), labels()
    with NoFloat64():
        terms = objective(network.architecture)(network(image), answer)
        torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("paper", "changes"), networks(), ids=str)
def test_prediction_needs_no_float64(paper: str, changes: dict[str, Any], on_apple: None) -> None:
    network = network_of(paper, changes).eval()
    picture = (pictures(1)[0].float() * 64 + 128).clamp(0, 255).byte()
    for protocol in PROTOCOLS:
        with NoFloat64():
            found = network.predict(picture, protocol)
        assert found.labels.shape == picture.shape[1:]


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_sums_in_float32_give_the_same_labels(reading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = network_of("ranet", {"reading": reading}).eval(), pictures(1).float()
    with torch.no_grad():
        exact = network(picture).scores
        for module in (equations, divergence):
            monkeypatch.setattr(module, "wide", float32)
        found = network(picture).scores
    torch.testing.assert_close(found, exact, atol=1e-4 * float(exact.abs().max()), rtol=0)
    assert (found.argmax(1) == exact.argmax(1)).float().mean() > 0.999


def test_a_tensor_in_float64_is_found() -> None:
    with pytest.raises(TypeError, match="float64"), NoFloat64():
        torch.zeros(2).double()
