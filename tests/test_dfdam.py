"""DF-DAM: its equations written out, its sizes, its objective, and what it answered when it was written.

`python tests/test_dfdam.py` stores the answers again in `stored/dfdam.json`, after a change that is meant to move them.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded import drawn, image, parameters, weight, weights
from torch import Tensor, nn
from torch.nn import functional

from core.networks.backbones import Backbone
from papers.dfdam.loss import loss
from papers.dfdam.model import DFDAM, Architecture, DualAttentionFusion, Output, PositionAttention2D

STORED = Path(__file__).parent / "stored" / "dfdam.json"

TINY = Backbone("resnet10_tiny", output_stride=32)
FORMS = ("converted", "squeezed")


def features(name: str, channels: int, h: int = 3, w: int = 5) -> Tensor:
    """Return features of two images on a map with h != w."""
    return weight(name, (2, channels, h, w)).double()


def fusion_with_inputs(form: str) -> tuple[DualAttentionFusion, Tensor, Tensor, Tensor]:
    """Return a fusion of 6 channels in one of its forms, with X_L, X_H and what its weights come from."""
    X_L, X_H = features("low", 6), features("high", 6)
    if form == "converted":
        return drawn(DualAttentionFusion(6, guide_channels=6)), X_L, X_H, X_H
    return drawn(DualAttentionFusion(6, guide_channels=9, squeeze=4)), X_L, X_H, features("raw", 9, 2, 3)


# The equations, written out


def dense(module: nn.Module, column: list[float]) -> list[float]:
    """Apply a 1x1 convolution to the numbers of one position, sum by sum."""
    assert isinstance(module, nn.Conv2d)
    assert module.kernel_size == (1, 1)
    table = module.weight[:, :, 0, 0].tolist()
    bias = [0.0] * len(table) if module.bias is None else module.bias.tolist()
    return [sum(w * x for w, x in zip(row, column, strict=True)) + b for row, b in zip(table, bias, strict=True)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def channel_weights(module: nn.Sequential, guide: Tensor) -> list[float]:
    """Return alpha of one image from its guide (g h w): mean of each channel, dense layers, sigmoid."""
    pool, *layers, last = module.children()
    assert isinstance(pool, nn.AdaptiveAvgPool2d)
    assert isinstance(last, nn.Sigmoid)
    _, h, w = guide.shape
    column = [sum(float(channel[y, x]) for y in range(h) for x in range(w)) / (h * w) for channel in guide]
    for layer in layers:
        column = [max(0.0, x) for x in column] if isinstance(layer, nn.ReLU) else dense(layer, column)
    return [sigmoid(x) for x in column]


def confidence(module: PositionAttention2D, column: list[float]) -> float:
    """Return beta of one position from its concatenated features."""
    first, last, activation = module.to_beta.children()
    convolution, norm, relu = first.children()
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(relu, nn.ReLU)
    assert isinstance(activation, nn.Sigmoid)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    hidden = torch.tensor(dense(convolution, column), dtype=torch.float64)
    hidden = (hidden - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    (score,) = dense(last, [max(0.0, x) for x in hidden.tolist()])
    return sigmoid(score)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_fusion_weighs_each_channel_and_adds(form: str) -> None:
    module, X_L, X_H, guide = fusion_with_inputs(form)
    expected = torch.empty_like(X_L)
    for b in range(2):
        alpha_L = channel_weights(module.to_alpha_low, guide[b])
        alpha_H = channel_weights(module.to_alpha_high, guide[b])
        for c in range(6):
            for y in range(3):
                for x in range(5):
                    expected[b, c, y, x] = alpha_L[c] * X_L[b, c, y, x] + alpha_H[c] * X_H[b, c, y, x]
    torch.testing.assert_close(module(X_L, X_H, guide), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_equations_1_to_8_hold_between_any_two_positions(form: str) -> None:
    """On every channel and for every pair of positions A and B; the paper names two channels, 1 and 2."""
    module, X_L, X_H, guide = fusion_with_inputs(form)
    alpha_L, alpha_H = module.to_alpha_low(guide)[:, :, 0], module.to_alpha_high(guide)[:, :, 0]  # b c 1
    nothing = torch.zeros_like(X_L)
    weighted_low, fused = module(X_L, nothing, guide), module(X_L, X_H, guide)
    agreements = 0
    for A in range(15):
        for B in range(15):
            signed_L, signed_H, signed_low, signed_fused = (
                maps.flatten(2)[:, :, [A]] - maps.flatten(2)[:, :, [B]] for maps in (X_L, X_H, weighted_low, fused)
            )
            e_L, e_H = signed_L.abs(), signed_H.abs()  # Eq. (1) and (2)
            torch.testing.assert_close(signed_low.abs(), alpha_L * e_L)  # Eq. (3) and (4)
            torch.testing.assert_close(signed_fused, alpha_L * signed_L + alpha_H * signed_H)
            agree = signed_L * signed_H >= 0
            unweighted = (signed_L + signed_H).abs()
            torch.testing.assert_close(unweighted[agree], (e_L + e_H)[agree])  # Eq. (5) and (6)
            torch.testing.assert_close(signed_fused.abs()[agree], (alpha_L * e_L + alpha_H * e_H)[agree])  # (7), (8)
            assert (signed_fused.abs() <= alpha_L * e_L + alpha_H * e_H + 1e-12).all()
            agreements += int(agree.sum())
    assert agreements > 15 * 12  # more than the pairs of a position with itself


@torch.no_grad()
def test_equations_9_and_10_position_by_position() -> None:
    module = drawn(PositionAttention2D(6))
    X_SI, X_CI = features("spatial", 6), features("context", 6)
    filtered, fused = torch.empty_like(X_SI), torch.empty_like(X_SI)
    for b in range(2):
        for y in range(3):
            for x in range(5):
                beta = confidence(module, X_SI[b, :, y, x].tolist() + X_CI[b, :, y, x].tolist())
                for c in range(6):
                    filtered[b, c, y, x] = beta * X_SI[b, c, y, x]
                    fused[b, c, y, x] = filtered[b, c, y, x] + X_CI[b, c, y, x]
    torch.testing.assert_close(module(X_SI, X_CI), filtered, rtol=0, atol=1e-12)
    torch.testing.assert_close(module(X_SI, X_CI) + X_CI, fused, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("form", ["converted", "squeezed", "none"])
@pytest.mark.parametrize("position", [True, False])
def test_what_is_refined_is_equation_10(form: Any, position: bool) -> None:
    """The network around the modules: which stages, which sizes, and the sum."""
    network = drawn(DFDAM(5, Architecture(TINY, form, position, channels=16)))
    refined: list[Tensor] = []
    handle = network.refine.register_forward_hook(lambda module, given, returned: refined.append(given[0]))
    picture = image(65, 97).double()
    output = network(picture)
    handle.remove()

    C1, _, C3, C4 = network.backbone(picture)
    assert [tuple(maps.shape[-2:]) for maps in (C1, C3, C4)] == [(17, 25), (5, 7), (3, 4)]

    def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.interpolate(maps, size, mode="bilinear", align_corners=True)

    low, high = network.convert_low(C3), network.convert_high(enlarge(C4, (5, 7)))
    if network.fusion is None:
        context = low + high
    else:
        alpha_L, alpha_H = (
            gate(high if form == "converted" else C4)
            for gate in (network.fusion.to_alpha_low, network.fusion.to_alpha_high)
        )
        context = alpha_L * low + alpha_H * high
    X_SI, X_CI = network.convert_spatial(C1), enlarge(context, (17, 25))
    beta = 1 if network.position is None else network.position.to_beta(torch.cat([X_SI, X_CI], dim=1))
    torch.testing.assert_close(refined[0], beta * X_SI + X_CI)
    torch.testing.assert_close(output.scores, enlarge(network.refine(beta * X_SI + X_CI), (65, 97)))
    torch.testing.assert_close(output.context, enlarge(network.classify_context(context), (65, 97)))
    torch.testing.assert_close(output.spatial, enlarge(network.classify_spatial(beta * X_SI), (65, 97)))


# What must hold for any weights


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0.01, 1.0, 10.0])
def test_weights_and_confidence_lie_between_0_and_1(form: str, size: float) -> None:
    module, X_L, X_H, guide = fusion_with_inputs(form)
    position = drawn(PositionAttention2D(6))
    for values in (
        module.to_alpha_low(size * guide),
        module.to_alpha_high(size * guide),
        position.to_beta(torch.cat([size * X_L, size * X_H], dim=1)),
    ):
        assert ((values > 0) & (values < 1)).all()
    assert module.to_alpha_low(guide).shape == (2, 6, 1, 1)
    assert position.to_beta(torch.cat([X_L, X_H], dim=1)).shape == (2, 1, 3, 5)


@pytest.mark.parametrize("form", FORMS)
def test_both_weight_vectors_come_from_the_high_level_features_alone(form: str) -> None:
    """X_L meets alpha_L only where it is multiplied by it: the fusion is linear in X_L, with the gradient alpha_L."""
    module, X_L, X_H, guide = fusion_with_inputs(form)
    X_L, guide = X_L.requires_grad_(), guide.clone().requires_grad_()
    outward = features("outward", 6)
    for gate in (module.to_alpha_low, module.to_alpha_high):
        (gradient,) = torch.autograd.grad(gate(guide).sum(), guide)
        assert (gradient != 0).all()
    (gradient,) = torch.autograd.grad((outward * module(X_L, X_H, guide)).sum(), X_L)
    torch.testing.assert_close(gradient, outward * module.to_alpha_low(guide).detach())


@pytest.mark.parametrize("form", FORMS)
def test_the_weights_of_a_network_do_not_hear_from_the_lower_stages(form: Any) -> None:
    network = drawn(DFDAM(5, Architecture(TINY, form, channels=16)))
    assert network.fusion is not None
    seen: list[Tensor] = []
    for gate in (network.fusion.to_alpha_low, network.fusion.to_alpha_high):
        gate.register_forward_hook(lambda module, given, returned: seen.append(returned))
    network(image(65, 97).double())
    for alpha in seen:
        outward = weight("outward", alpha.shape).double()
        (alpha * outward).sum().backward(retain_graph=True)
    heard = {
        name: any(parameter.grad is not None and bool((parameter.grad != 0).any()) for parameter in part.parameters())
        for name, part in network.named_children()
    }
    assert heard == {
        "backbone": True,
        "convert_spatial": False,
        "convert_low": False,
        "convert_high": form == "converted",
        "fusion": True,
        "position": False,
        "refine": False,
        "classify_context": False,
        "classify_spatial": False,
    }


@torch.no_grad()
def test_confidence_is_decided_position_by_position_by_both_sources() -> None:
    module = drawn(PositionAttention2D(6))
    X_SI, X_CI = features("spatial", 6), features("context", 6)
    before = module.to_beta(torch.cat([X_SI, X_CI], dim=1))
    for changed in ("spatial", "context"):
        sources = {"spatial": X_SI.clone(), "context": X_CI.clone()}
        sources[changed][:, :, 2, 4] += 1
        moved = module.to_beta(torch.cat(list(sources.values()), dim=1)) != before
        assert moved[:, 0, 2, 4].all()
        assert moved.sum() == 2


@pytest.mark.usefixtures("no_type_checks")
def test_refusals_say_what_was_given_and_what_is_allowed() -> None:
    typo: Any = "txet"
    with pytest.raises(ValueError, match=r"must be one of converted, squeezed, none, got 'txet'"):
        DFDAM(5, Architecture(TINY, dual_attention_fusion=typo))
    with pytest.raises(ValueError, match=r"multiple of 16, as the paper's 128 is, got 24"):
        DFDAM(5, Architecture(TINY, channels=24))
    with pytest.raises(ValueError, match=r"got channels 8, guide_channels 8 and squeeze 0; pass squeeze=None"):
        DualAttentionFusion(8, guide_channels=8, squeeze=0)
    with pytest.raises(ValueError, match=r"at least 2 channels, got 1"):
        PositionAttention2D(1)
    with pytest.raises(ValueError, match=r"num_classes of at least 1 and at most 255, got 0"):
        DFDAM(0, Architecture(TINY))


# Sizes


def gate_converted(c: int) -> int:
    return 2 * (c * c + c)


def gate_squeezed(c: int, raw: int) -> int:
    return 2 * ((raw + 1) * c // 16 + (c // 16 + 1) * c)


CONVERT = (256 + 1024 + 2048) * 128 + 3 * 2 * 128
POSITION = 256 * 64 + 2 * 64 + 64 + 1
REFINE = 128 * 64 * 9 + 64 * 64 * 9 + 2 * 2 * 64 + 64 * 21 + 21
AUXILIARY = 128 * 64 * 9 + 2 * 64 + 64 * 21 + 21


@pytest.mark.parametrize(
    ("form", "position", "module_parameters", "absent"),
    [
        ("converted", True, gate_converted(128) + POSITION, set()),
        ("squeezed", True, gate_squeezed(128, 2048) + POSITION, set()),
        ("converted", False, gate_converted(128), {"position"}),
        ("none", True, POSITION, {"fusion"}),
        ("none", False, 0, {"fusion", "position"}),
    ],
    ids=["converted", "squeezed", "DAFM", "2DPAM", "Sum"],
)
def test_what_is_not_used_is_not_there(form: Any, position: bool, module_parameters: int, absent: set[str]) -> None:
    with torch.device("meta"):
        network = DFDAM(21, Architecture(Backbone("resnet50", output_stride=32), form, position))
    names = {
        *("convert_spatial", "convert_low", "convert_high", "fusion", "position"),
        *("refine", "classify_context", "classify_spatial"),
    }
    assert {key.split(".")[0] for key, _ in network.named_parameters()} - {"backbone"} == names - absent
    head = CONVERT + module_parameters + REFINE + 2 * AUXILIARY
    assert parameters(network) - parameters(network.backbone) == head


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 64), (1, 70), (67, 95)], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_any_size_is_tested(form: Any, size: tuple[int, int]) -> None:
    """Down to one pixel, where each of the four maps is a single position."""
    output = drawn(DFDAM(5, Architecture(TINY, form, channels=16)))(image(*size).double())
    for scores in output:
        assert scores.shape == (1, 5, *size)
        assert scores.isfinite().all()


def test_training_at_one_position_needs_two_images() -> None:
    """BatchNorm has no variance of one value, and says so; with two images it has, and every weight learns."""
    network = DFDAM(5, Architecture(TINY, channels=16)).train()
    with pytest.raises(ValueError, match=r"more than 1 value per channel"):
        network(image(32, 32))
    output = network(torch.cat([image(32, 32), image(32, 32).flip(-1)]))
    sum(loss(output, torch.arange(2 * 32 * 32).reshape(2, 32, 32) % 5).values(), torch.zeros(())).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_changes_little(form: Any, dtype: torch.dtype) -> None:
    network = DFDAM(5, Architecture(TINY, form, channels=16))
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    network.eval()
    with torch.no_grad():
        exact = network(image(64, 96)).scores
        with torch.autocast("cpu", dtype=dtype):
            given = network(image(64, 96)).scores
    assert (given.float() - exact).abs().max() < 0.05 * exact.abs().max()


# The objective


def labels_with_ignored() -> Tensor:
    labels = torch.arange(2 * 7 * 9).reshape(2, 7, 9) % 5
    labels[:, 2:4] = 255
    return labels


def scores(name: str) -> Tensor:
    return weight(name, (2, 5, 7, 9)).requires_grad_()


def test_the_joint_loss_is_equations_11_and_12() -> None:
    output = Output(scores("principal"), scores("context"), scores("spatial"))
    labels = labels_with_ignored()
    terms = loss(output, labels)
    assert list(terms) == ["principal", "context", "spatial"]
    joint = 0.0
    for given, factor in zip(output, (1.0, 0.4, 0.1), strict=True):
        probabilities = given.detach().double().softmax(dim=1)
        sum_of_logs, pixels = 0.0, 0
        for b, y, x in (labels != 255).nonzero().tolist():
            sum_of_logs -= math.log(float(probabilities[b, labels[b, y, x], y, x]))
            pixels += 1
        joint += factor * sum_of_logs / pixels
    assert float(sum(terms.values(), torch.zeros(())).detach()) == pytest.approx(joint, rel=1e-6)
    for (name, term), given, factor in zip(terms.items(), output, (1.0, 0.4, 0.1), strict=True):
        expected = factor * functional.cross_entropy(given, labels, ignore_index=255)
        torch.testing.assert_close(term, expected, msg=name)


# Stored answers


@torch.no_grad()
def answers() -> dict[str, list[float]]:
    """Return for each output its sum, the sum of its magnitudes, and 12 single scores, by weights drawn from names."""
    found = {}
    for form in FORMS:
        output = drawn(DFDAM(5, Architecture(TINY, form, channels=16)))(image(65, 97).double())
        for name, given in output._asdict().items():
            singles = given.flatten()[:: given.numel() // 12][:12].tolist()
            found[f"{form} {name}"] = [float(given.sum()), float(given.abs().sum()), *singles]
    return found


def test_answers_are_those_stored() -> None:
    stored = json.loads(STORED.read_text())
    given = answers()
    assert list(given) == list(stored)
    assert list(given) == [f"{form} {name}" for form in FORMS for name in ("scores", "context", "spatial")]
    for name, values in given.items():
        assert len(values) == 14
        assert values == pytest.approx(stored[name], rel=1e-8)


if __name__ == "__main__":
    STORED.write_text(json.dumps(answers(), indent=1) + "\n")
