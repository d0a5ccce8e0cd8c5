"""DF-DAM: its equations written out, its sizes, its rows, its figures, and what it answered when it was written.

`python tests/test_dfdam.py` stores the answers anew in `stored/dfdam.json`, after a change that is meant to move them.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from PIL import Image
from seeded import image, weight, weights
from torch import Tensor, nn
from torch.nn import functional

from core.datasets.sets import scenes
from core.images.pixels import to_tensor
from core.networks.backbones import Backbone
from papers.dfdam import figures
from papers.dfdam.attention import attention, channels_to_show, modules_of
from papers.dfdam.loss import loss
from papers.dfdam.model import DFDAM, Architecture, DualAttentionFusion, Output, PositionAttention2D
from papers.dfdam.recipes import DEMO, RECIPES

STORED = Path(__file__).parent / "stored" / "dfdam.json"

TINY = Backbone("resnet10_tiny", output_stride=32)
FORMS = ("converted", "squeezed")

Module = TypeVar("Module", bound=nn.Module)


def drawn(module: Module) -> Module:
    """Give a module float64 weights drawn from their names, and put it into eval mode."""
    module.load_state_dict(weights({key: tuple(value.shape) for key, value in module.state_dict().items()}))
    return module.double().eval()


def features(name: str, channels: int, h: int = 3, w: int = 5) -> Tensor:
    """Return features of two images on a map with h != w."""
    return weight(name, (2, channels, h, w)).double()


def parameters(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


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


# Recipes


ROWS = [  # table, mean IoU, backbone, DAFM, 2DPAM, several scales, mirrored: the rows that the paper gives for its own
    ("Table 1", 68.2, "resnet50", False, False, False, False),
    ("Table 1", 73.7, "resnet50", True, False, False, False),
    ("Table 1", 74.6, "resnet50", True, True, False, False),
    ("Table 1", 72.9, "resnet101", False, False, False, False),
    ("Table 1", 76.8, "resnet101", True, False, False, False),
    ("Table 1", 77.9, "resnet101", True, True, False, False),
    ("Table 2", 70.3, "resnet18", False, False, False, False),
    ("Table 2", 72.8, "resnet18", True, False, False, False),
    ("Table 2", 73.1, "resnet18", True, True, False, False),
    ("Table 3", 73.1, "resnet18", True, True, False, False),
    ("Table 3", 74.6, "resnet18", True, True, True, False),
    ("Table 3", 74.9, "resnet18", True, True, True, True),
    ("Table 4", 73.6, "resnet18", True, True, True, True),
    ("Table 5", 77.90, "resnet101", True, True, False, False),
    ("Table 5", 79.55, "resnet101", True, True, True, False),
    ("Table 5", 79.83, "resnet101", True, True, True, True),
    ("Table 6", 82.3, "resnet101", True, True, True, True),
    ("Table 7", 82.3, "resnet101", True, True, True, True),
]

DATA = {
    "Table 1": ("voc2012", 21, "val"),
    "Table 2": ("cityscapes", 19, "val"),
    "Table 3": ("cityscapes", 19, "val"),
    "Table 4": ("cityscapes", 19, "test"),
    "Table 5": ("voc2012", 21, "val"),
    "Table 6": ("voc2012", 21, "test"),
    "Table 7": ("voc2012", 21, "test"),
}

PER_CLASS = {  # the last row of Table 7
    "aero": 95.6,
    "bike": 70.7,
    "bird": 91.1,
    "boat": 73.0,
    "bottle": 76.1,
    "bus": 94.1,
    "car": 91.3,
    "cat": 93.7,
    "chair": 37.8,
    "cow": 90.2,
    "table": 72.1,
    "dog": 91.0,
    "horse": 93.0,
    "mbike": 90.6,
    "person": 88.7,
    "plant": 72.3,
    "sheep": 92.6,
    "sofa": 59.7,
    "train": 86.6,
    "tv": 72.5,
}

SCHEDULES = {  # Section 4.1: rate, batch, weight decay, crop
    "cityscapes": (0.01, 8, 5e-4, 1024),
    "voc2012": (0.001, 16, 1e-5, 512),
}


def test_every_reported_row_has_its_recipe() -> None:
    given = [
        (
            reported.table,
            reported.value,
            recipe.architecture.backbone.name,
            recipe.architecture.dual_attention_fusion == "converted",
            recipe.architecture.position_attention,
            recipe.protocol.scales == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
            recipe.protocol.flip,
        )
        for recipe in RECIPES.values()
        for reported in recipe.reported
    ]
    assert sorted(given) == sorted(ROWS)


def test_rows_are_tested_on_the_data_of_their_tables() -> None:
    for recipe in RECIPES.values():
        for reported in recipe.reported:
            assert (recipe.data.name, recipe.data.num_classes, recipe.data.test) == DATA[reported.table]
            assert (reported.paper, reported.split, reported.metric) == ("DF-DAM", recipe.data.test, "mIoU")


def test_rows_are_trained_as_section_4_1_says() -> None:
    for recipe in RECIPES.values():
        if recipe.data.name in SCHEDULES:
            optimisation = recipe.optimisation
            given = (
                optimisation.learning_rate,
                optimisation.batch,
                optimisation.weight_decay,
                recipe.augmentation.crop,
            )
            assert given == SCHEDULES[recipe.data.name]
            assert (optimisation.schedule, optimisation.power, optimisation.momentum) == ("poly", 0.9, 0.9)
            assert (recipe.augmentation.scale, recipe.augmentation.listed) == ((0.75, 1.0, 1.25, 1.5, 1.75, 2.0), True)
            assert recipe.augmentation.flip


def test_the_test_server_of_voc_is_a_second_stage_on_trainval() -> None:
    first, second, test = (RECIPES[f"dfdam-r101-voc2012{end}"] for end in ("", "-trainval", "-trainval-test"))
    assert second.starts_from == first.name
    assert test.same_weights_as == second.name
    assert (second.data.train, second.data.test, test.data.test) == ("trainval", "val", "test")
    assert second.architecture == first.architecture
    assert second.optimisation.learning_rate == first.optimisation.learning_rate


def test_table_7_has_every_object() -> None:
    (row,) = [row for recipe in RECIPES.values() for row in recipe.reported if row.table == "Table 7"]
    assert row.per_class == tuple(PER_CLASS.values())
    background = 21 * row.value - sum(row.per_class)
    assert 94 < background < 97  # what every network of that time reaches on it


def test_ablations_differ_in_their_modules_alone() -> None:
    whole = ["dfdam-r50-voc2012", "dfdam-r101-voc2012", "dfdam-r18-cityscapes"]
    whole += ["dfdam-r18-camvid", "dfdam-r18-camvid-small"]
    for name in whole:
        for suffix, form, position in (("sum", "none", False), ("dafm", "converted", False)):
            ablation = RECIPES[f"{name}-{suffix}"]
            for field in ("data", "augmentation", "optimisation", "protocol", "backbone_weights"):
                assert getattr(ablation, field) == getattr(RECIPES[name], field)
            assert ablation.architecture == Architecture(RECIPES[name].architecture.backbone, form, position)


def test_both_readings_of_the_channel_weights_are_recipes() -> None:
    for name in ("dfdam-r18-cityscapes", "dfdam-r101-voc2012"):
        assert RECIPES[name].architecture.dual_attention_fusion == "converted"
        assert RECIPES[f"{name}-squeezed"].architecture.dual_attention_fusion == "squeezed"


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


# Figures


def picture_of_a_scene() -> Image.Image:
    pixels, _ = scenes.draw(2, 0, height=96, width=160)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("figures")
    DFDAM(10, Architecture(TINY, channels=16)).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_figures_show_what_the_modules_compute(weights_folder: Path) -> None:
    network = DFDAM.from_pretrained(weights_folder)
    assert network.fusion is not None
    assert network.position is not None
    picture = picture_of_a_scene()
    modules = modules_of(network, picture)
    C1, _, C3, C4 = network.backbone(network.normalisation(to_tensor(picture))[None])
    X_L = network.convert_low(C3)
    X_H = network.convert_high(functional.interpolate(C4, (6, 10), mode="bilinear", align_corners=True))
    torch.testing.assert_close(modules.low, X_L[0])
    torch.testing.assert_close(modules.low_weights, network.fusion.to_alpha_low(X_H)[0, :, 0, 0])
    torch.testing.assert_close(modules.high_weights, network.fusion.to_alpha_high(X_H)[0, :, 0, 0])
    X_CI = functional.interpolate(network.fusion(X_L, X_H, X_H), (24, 40), mode="bilinear", align_corners=True)
    beta = network.position.to_beta(torch.cat([network.convert_spatial(C1), X_CI], dim=1))
    assert modules.beta is not None
    torch.testing.assert_close(modules.beta, beta[0, 0])
    assert not any(module._forward_hooks for module in network.modules())


def test_channels_are_the_lowest_and_the_two_highest() -> None:
    assert channels_to_show(torch.tensor([0.5, 0.1, 0.9, 0.6])) == (2, 4, 3)


@torch.no_grad()
def test_a_point_has_its_confidence_and_the_gates_of_its_image(weights_folder: Path) -> None:
    network, picture = DFDAM.from_pretrained(weights_folder), picture_of_a_scene()
    modules = modules_of(network, picture)
    assert modules.beta is not None
    confidence, gates, *channels = attention(network, picture)((159, 5)).panels
    assert confidence.title == f"confidence map, {float(modules.beta[1, 39]):.2f} here"
    torch.testing.assert_close(confidence.values, modules.beta)
    assert list(gates.lines) == ["high-level", "low-level"]
    torch.testing.assert_close(gates.lines["low-level"], modules.low_weights)
    lowest = int(modules.low_weights.argmin())
    assert channels[0].title == f"channel map #{lowest + 1}, weight {float(modules.low_weights[lowest]):.2f}"
    torch.testing.assert_close(channels[0].values, modules.low[lowest])


def test_figures_without_position_attention() -> None:
    torch.manual_seed(0)
    network = DFDAM(10, Architecture(TINY, position_attention=False, channels=16)).eval()
    picture = picture_of_a_scene()
    modules = modules_of(network, picture)
    assert modules.beta is None
    drawing = figures.figure8([picture], [modules], (3,), [network.predict(picture)])
    titles = [axis.get_title().split(",")[0] for axis in drawing.axes]
    assert titles == ["image", "prediction", "channel map #3"]


def test_the_baseline_has_nothing_to_draw() -> None:
    plain = DFDAM(10, Architecture(TINY, "none", False, channels=16)).eval()
    with pytest.raises(ValueError, match=r"no channel weights; take those of a DF-DAM with the module DAFM"):
        attention(plain, picture_of_a_scene())


def test_the_command_writes_both_figures(weights_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture_of_a_scene().save(tmp_path / "photo.png")
    words = [str(tmp_path / "photo.png")] * 2 + ["--weights", str(weights_folder), "--channel", "2", "--channel", "16"]
    monkeypatch.setattr(sys, "argv", ["figures.py", *words, "--to", str(tmp_path / "drawn")])
    figures.main()
    for name in ("figure7.png", "figure8.png"):
        with Image.open(tmp_path / "drawn" / name) as opened:
            assert min(opened.size) > 200
            assert len(opened.convert("RGB").getcolors(2**24)) > 50


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["photo.png", "--channel", "17"], "--channel must be 1 to 16, got 17"),
        (["nowhere.png"], "there is no image file nowhere.png"),
        (["--to", __file__], "--to must be a folder"),
        (["--weights", f"runs/{DEMO}"], "run train.py first"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    words: list[str],
    said: str,
    weights_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    picture_of_a_scene().save("photo.png")
    if "--weights" not in words:
        words = [*words, "--weights", str(weights_folder)]
    monkeypatch.setattr(sys, "argv", ["figures.py", *words])
    with pytest.raises(SystemExit) as stop:
        figures.main()
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


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
