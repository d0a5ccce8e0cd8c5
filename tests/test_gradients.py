"""What each term of each objective trains, and that every gradient is the derivative, in float64 with drawn weights.

A value can be right where a gradient is cut: a factor of a product that is detached, a loss that stops at the wrong
layer. So each term must reach exactly the parts of the network that are listed, and its gradient along a random
direction of each layer must be its difference quotient.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from networks import PAPERS, build, heads, labels, pictures
from torch import Tensor, nn

from core.networks.network import Network

SMALL = (2, 33, 41)  # images, height, width
STEP = 1e-8  # small, for ReLUs have kinks
NOTHING = 1e-11  # what rounding leaves of a gradient that is zero; objectives are about 1


@dataclass(frozen=True)
class Reach:
    """A head, and the parts of the network that each of its terms trains, by prefixes of the names."""

    paper: str
    head: str
    terms: dict[str, set[str]]


ALL_OF_BACKBONE = "backbone."
TO_C3 = {f"backbone.body.{name}." for name in ("conv1", "bn1", "layer1", "layer2", "layer3")}
TO_C1 = {f"backbone.body.{name}." for name in ("conv1", "bn1", "layer1")}
CONTEXT = {ALL_OF_BACKBONE, "convert_low.", "convert_high."}
REGIONS = {ALL_OF_BACKBONE, "reduce.", "fuse.", "heads.", "construct.weight"}

REACHES = (
    # DANet: three losses, each of its own branch; alone, a module has one
    Reach(
        "danet",
        "default",
        {
            "fused": {ALL_OF_BACKBONE, "position.", "channel.", "classify."},
            "position": {ALL_OF_BACKBONE, "position.", "classify_position."},
            "channel": {ALL_OF_BACKBONE, "channel.", "classify_channel."},
        },
    ),
    Reach("danet", "channel_attention=none", {"fused": {ALL_OF_BACKBONE, "position.", "classify."}}),
    Reach("danet", "position_attention=none", {"fused": {ALL_OF_BACKBONE, "channel.", "classify."}}),
    Reach(
        "danet",
        "channel_attention=none, position_attention=none",
        {"fused": {ALL_OF_BACKBONE, "plain.", "classify."}},
    ),
    # DF-DAM: Eq. (12); the confidence of 2DPAM hears from both sources, so L_s trains the context too
    Reach(
        "dfdam",
        "default",
        {
            "principal": {*CONTEXT, "convert_spatial.", "fusion.", "position.", "refine."},
            "context": {*CONTEXT, "fusion.", "classify_context."},
            "spatial": {*CONTEXT, "convert_spatial.", "fusion.", "position.", "classify_spatial."},
        },
    ),
    Reach(
        "dfdam",
        "dual_attention_fusion=none, position_attention=False",
        {
            "principal": {*CONTEXT, "convert_spatial.", "refine."},
            "context": {*CONTEXT, "classify_context."},
            "spatial": {*TO_C1, "convert_spatial.", "classify_spatial."},
        },
    ),
    # PDANet: one loss; under deep supervision a second one that ends at C3
    Reach("pdanet", "default", {"scores": {ALL_OF_BACKBONE, "gather.", "classify."}}),
    Reach("pdanet", "head=psp", {"scores": {ALL_OF_BACKBONE, "gather.", "classify."}}),
    Reach("pdanet", "head=danet", {"scores": {ALL_OF_BACKBONE, "classify."}}),
    Reach("pdanet", "head=fcn", {"scores": {ALL_OF_BACKBONE, "gather.", "classify."}}),
    Reach(
        "pdanet",
        "deep_supervision=True, loss_size=features",
        {"scores": {ALL_OF_BACKBONE, "gather.", "classify."}, "deep": {*TO_C3, "classify_deep."}},
    ),
    # RANet: what is classified trains B and C through J; RCB's own losses end at A
    Reach(
        "ranet",
        "default",
        {
            "scores": {*REGIONS, "classify."},
            "coarse": {ALL_OF_BACKBONE, "reduce.", "heads.semantic."},
            "boundary": {*REGIONS, "classify_boundary."},
            "coarse_boundary": {ALL_OF_BACKBONE, "reduce.", "heads.boundary."},
        },
    ),
    Reach("ranet", "context=none", {"scores": {ALL_OF_BACKBONE, "reduce.", "classify."}}),
    Reach("ranet", "context=non-local", {"scores": {ALL_OF_BACKBONE, "reduce.", "gather.", "fuse.", "classify."}}),
    Reach("ranet", "context=identity", {"scores": {ALL_OF_BACKBONE, "reduce.", "fuse.", "classify."}}),
    Reach(
        "ranet",
        "context=none, supervised=all",  # a baseline with the losses of a RANet
        {
            "scores": {ALL_OF_BACKBONE, "reduce.", "classify."},
            "coarse": {ALL_OF_BACKBONE, "reduce.", "heads.semantic."},
            "boundary": {ALL_OF_BACKBONE, "reduce.", "classify_boundary."},
            "coarse_boundary": {ALL_OF_BACKBONE, "reduce.", "heads.boundary."},
        },
    ),
    Reach(
        "ranet",
        "other_regions=joint, score_maps=res4",  # whose coarse losses leave A and the last stage alone
        {
            "scores": {*REGIONS, "classify."},
            "coarse": {*TO_C3, "heads.trunk.", "heads.semantic."},
            "boundary": {*REGIONS, "classify_boundary."},
            "coarse_boundary": {*TO_C3, "heads.trunk.", "heads.boundary."},
        },
    ),
    Reach("ranet", "supervised=none", {"scores": {*REGIONS, "classify."}}),
    # SANet: Eq. (6); the masks train four heads, the prediction the dense head and the fourth
    Reach(
        "sanet",
        "default",
        {
            "mask": {ALL_OF_BACKBONE, "heads.", "fuse."},
            "categorical": {ALL_OF_BACKBONE, "dense."},
            "dense": {ALL_OF_BACKBONE, "dense.", "heads.3."},
        },
    ),
    Reach(
        "sanet",
        "dense_loss=alone",
        {
            "mask": {ALL_OF_BACKBONE, "heads.", "fuse."},
            "categorical": {ALL_OF_BACKBONE, "dense."},
            "dense": {ALL_OF_BACKBONE, "dense."},
        },
    ),
    Reach("sanet", "head=fcn", {"scores": {ALL_OF_BACKBONE, "dense."}}),
    Reach("sanet", "head=fcn-se", {"scores": {ALL_OF_BACKBONE, "dense.", "excite."}}),
    Reach("sanet", "head=deeplab-v3+", {"scores": {ALL_OF_BACKBONE, "decode."}}),
)

EACH = pytest.mark.parametrize("reach", REACHES, ids=lambda reach: f"{reach.paper} {reach.head}")


@pytest.fixture(autouse=True)
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is float32 elsewhere, made so or raised to it, is float64 here."""
    raised = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self if self.dtype == torch.float64 else raised(self))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def objective(reach: Reach, network: Network) -> dict[str, Tensor]:
    """Return the terms, with the same dropout at each call."""
    torch.manual_seed(0)
    number, height, width = SMALL
    return PAPERS[reach.paper].loss(network(pictures(number, height, width)), labels(number, height, width))


def idle(network: Network) -> set[str]:
    """Return the parameters that no result depends on.

    A bias of all keys changes no softmax, one before a batch normalisation changes nothing, and where there is one key
    the softmax is 1 (PDANet's level 1). RANet's bias of W^g follows its weight.
    """
    names = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    for name, _ in network.named_parameters():
        level_1 = name.startswith("gather.pyramid.transforms.0.0.position.attend.")
        if (
            name.endswith(("heads.trunk.0.bias", "attend.to_b.bias", "gather.to_k.bias", "gather.to_v.bias"))
            or ("gather.pyramid" in name and name.endswith("project.1.bias"))
            or (name.startswith("gather.project.0") and name.endswith("bias"))
            or (level_1 and name.endswith(("to_b.weight", "to_c.weight", "to_c.bias", "to_d.bias")))
        ):
            names.add(name)
    return names


@pytest.mark.slow
@EACH
def test_each_term_trains_what_it_must_and_nothing_else(reach: Reach) -> None:
    network = build(reach.paper, heads(reach.paper)[reach.head]).train()
    named = dict(network.named_parameters())
    terms = objective(reach, network)
    assert list(terms) == list(reach.terms)
    learned = [name for name in named if named[name].requires_grad]
    assert set(named) - set(learned) <= {"construct.bias"}  # nothing is frozen; RANet's bias of W^g follows its weight
    silent = idle(network)
    for term, parts in reach.terms.items():
        found = torch.autograd.grad(
            terms[term], [named[name] for name in learned], retain_graph=True, allow_unused=True
        )
        reached = {
            name
            for name, gradient in zip(learned, found, strict=True)
            if gradient is not None and gradient.abs().max() > NOTHING
        }
        expected = {name for name in named if name.startswith(tuple(parts))} - silent
        assert reached - silent == expected, f"{term} misses {expected - reached} and reaches {reached - expected}"


def layers(network: Network) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """Return the parameters layer by layer; those of the backbone together."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            layer = "backbone" if name.startswith("backbone.") else name.rsplit(".", 1)[0]
            groups.setdefault(layer, []).append(parameter)
    yield from groups.items()


@pytest.mark.slow
@EACH
def test_gradients_are_difference_quotients(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(reach.paper, heads(reach.paper)[reach.head]).train()
    generator = torch.Generator().manual_seed(0)
    terms = objective(reach, network)
    groups = dict(layers(network))
    directions = {
        layer: [torch.randn(part.shape, generator=generator) for part in parts] for layer, parts in groups.items()
    }
    slopes = {name: slopes_along(term, groups, directions) for name, term in terms.items()}
    with torch.no_grad():
        maps = network.backbone(pictures(*SMALL))
    for layer, parts in sorted(groups.items(), key=lambda group: group[0] != "backbone"):
        if layer != "backbone":  # whose maps no other layer changes
            monkeypatch.setattr(network.backbone, "forward", lambda _: maps)
        quotients = difference_quotients(reach, network, parts, directions[layer])
        for name, quotient in zip(terms, quotients, strict=True):
            assert slopes[name][layer] == pytest.approx(quotient, rel=1e-3, abs=1e-5), f"{name} along {layer}"


def slopes_along(
    term: Tensor, groups: dict[str, list[nn.Parameter]], directions: dict[str, list[Tensor]]
) -> dict[str, float]:
    """Return the derivative of a term along the direction of each layer, by its gradient."""
    every = [parameter for parts in groups.values() for parameter in parts]
    found = iter(torch.autograd.grad(term, every, retain_graph=True, allow_unused=True))
    return {
        layer: sum(float((g * d).sum()) for d in directions[layer] if (g := next(found)) is not None)
        for layer in groups
    }


@torch.no_grad()
def difference_quotients(
    reach: Reach, network: Network, parameters: list[nn.Parameter], directions: list[Tensor]
) -> list[float]:
    """Return (f(p + s d) - f(p - s d)) / 2s for each term."""
    values: list[list[float]] = []
    for shift in (STEP, -2 * STEP, STEP):  # the third puts everything back
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.add_(direction, alpha=shift)
        if len(values) < 2:
            values.append([float(term) for term in objective(reach, network).values()])
    above, below = values
    return [(one - other) / (2 * STEP) for one, other in zip(above, below, strict=True)]
