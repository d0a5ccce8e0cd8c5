"""SANet: its equations written out, its sizes, its rows, and what it answered when it was written.

`python tests/test_sanet.py` stores the answers again in `stored/sanet.json`, after a change that is meant to move them.
"""

import json
import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from seeded import drawn, image, noise, parameters
from torch import Tensor, nn
from torch.nn import functional

from core import launch, machine
from core.images.classes import Classes
from core.networks.backbones import Backbone
from core.networks.known import NETWORKS
from core.testing.metrics import Score
from papers.sanet.baselines import DeepLabV3Plus
from papers.sanet.loss import categorical, loss, presence
from papers.sanet.model import Architecture, Output, SANet, SqueezeAndAttention, SqueezeAndExcitation
from papers.sanet.recipes import PAPER

STORED = Path(__file__).parent / "stored" / "sanet.json"

TINY = Backbone("resnet10_tiny")
FORMS = {
    "sanet": Architecture(TINY),
    "8-4-2-1": Architecture(TINY, downsampling=(8, 4, 2, 1)),
    "max": Architecture(TINY, pooling="max"),
    "dense alone": Architecture(TINY, dense_loss="alone"),
    "SA": Architecture(TINY, alpha=0.0, beta=0.0),
    "SA + Cat": Architecture(TINY, beta=0.0),
    "SA + Den": Architecture(TINY, alpha=0.0),
    "FCN-SE": Architecture(TINY, head="fcn-se"),
    "FCN": Architecture(TINY, head="fcn"),
    "DeepLab V3+": Architecture(TINY, head="deeplab-v3+"),
}

Pooling = Literal["average", "max"]


def features(channels: int, h: int = 3, w: int = 5) -> Tensor:
    """Return features of two images on a map with h != w."""
    return noise(2, channels, h, w).double()


# The equations, written out


def convolved(module: nn.Conv2d, maps: Tensor) -> Tensor:
    """Apply a 3x3 convolution of padding 1 to one image (c h w), product by product."""
    _, h, w = maps.shape
    out, within, *_ = module.weight.shape
    result = maps.new_zeros(out, h, w)
    for o in range(out):
        first = o // (out // module.groups) * within  # the first channel of its group
        for y in range(h):
            for x in range(w):
                total = 0.0 if module.bias is None else float(module.bias[o])
                for i in range(within):
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            if 0 <= y + dy < h and 0 <= x + dx < w:
                                total += float(module.weight[o, i, dy + 1, dx + 1] * maps[first + i, y + dy, x + dx])
                result[o, y, x] = total
    return result


def two_convolutions(module: nn.Sequential, maps: Tensor) -> Tensor:
    """Apply F to one image: convolution in two groups to a fourth, batch normalisation, ReLU, convolution."""
    first, norm, activation, second = module.children()
    assert isinstance(first, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(activation, nn.ReLU)
    assert isinstance(second, nn.Conv2d)
    assert (first.groups, first.bias, first.out_channels) == (2, None, len(maps) // 4)
    assert second.groups == 1
    assert norm.running_mean is not None
    assert norm.running_var is not None
    hidden = convolved(first, maps)
    for c, channel in enumerate(hidden):
        scale = float(norm.weight[c]) / math.sqrt(float(norm.running_var[c]) + norm.eps)
        hidden[c] = ((channel - norm.running_mean[c]) * scale + norm.bias[c]).clamp(min=0)
    assert 0 < (hidden > 0).sum() < hidden.numel()  # or nothing would tell the ReLU
    return convolved(second, hidden)


def pooled(maps: Tensor, side: int, pooling: Pooling) -> Tensor:
    """Pool one image in windows of `side`; those at the border take what is inside."""
    c, h, w = maps.shape
    result = maps.new_empty(c, math.ceil(h / side), math.ceil(w / side))
    for i in range(c):
        for row in range(result.shape[1]):
            for column in range(result.shape[2]):
                values = [
                    float(maps[i, y, x])
                    for y in range(row * side, min((row + 1) * side, h))
                    for x in range(column * side, min((column + 1) * side, w))
                ]
                result[i, row, column] = max(values) if pooling == "max" else sum(values) / len(values)
    return result


def enlarged(maps: Tensor, h: int, w: int) -> Tensor:
    """Enlarge one image bilinearly with aligned corners, position by position."""
    c, rows, columns = maps.shape
    result = maps.new_empty(c, h, w)
    for y in range(h):
        for x in range(w):
            top, left = y * (rows - 1) / max(h - 1, 1), x * (columns - 1) / max(w - 1, 1)
            row, column = int(top), int(left)
            below, right = min(row + 1, rows - 1), min(column + 1, columns - 1)
            down, across = top - row, left - column
            upper = (1 - across) * maps[:, row, column] + across * maps[:, row, right]
            lower = (1 - across) * maps[:, below, column] + across * maps[:, below, right]
            result[:, y, x] = (1 - down) * upper + down * lower
    return result


@torch.no_grad()
def test_squeeze_and_excitation_is_equations_2_and_3() -> None:
    module = drawn(SqueezeAndExcitation(16, squeeze=4))
    X_in = features(16)
    expected = torch.empty_like(X_in)
    W_1, W_2 = module.W_1.weight[:, :, 0, 0], module.W_2.weight[:, :, 0, 0]
    assert module.W_1.bias is not None
    assert module.W_2.bias is not None
    for b in range(2):
        squeezed = [float(X_in[b, c].sum()) / 15 for c in range(16)]
        energies = [
            sum(float(W_1[m, c]) * squeezed[c] for c in range(16)) + float(module.W_1.bias[m]) for m in range(4)
        ]
        assert min(energies) < 0 < max(energies)  # or nothing would tell the ReLU
        residual = two_convolutions(module.residual, X_in[b])
        for c in range(16):
            energy = sum(float(W_2[c, m]) * max(0.0, energies[m]) for m in range(4)) + float(module.W_2.bias[c])
            expected[b, c] = X_in[b, c] / (1 + math.exp(-energy)) + residual[c]
    torch.testing.assert_close(module(X_in), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("side", [2, 1, 8])
def test_squeeze_and_attention_is_equations_4_and_5(side: int, pooling: Pooling) -> None:
    """At 8 the whole 3 x 5 map is one window; at 2 the last windows reach over the border."""
    module = drawn(SqueezeAndAttention(16, 3, side, pooling))
    X_in = features(16)
    X_attn, X_out = X_in.new_empty(2, 3, 3, 5), X_in.new_empty(2, 3, 3, 5)
    for b in range(2):
        X_res = two_convolutions(module.main, X_in[b])
        X_attn_hat = two_convolutions(module.attention, pooled(X_in[b], side, pooling))
        assert X_attn_hat.shape[1:] == (math.ceil(3 / side), math.ceil(5 / side))
        X_attn[b] = enlarged(X_attn_hat, 3, 5)
        X_out[b] = X_attn[b] * X_res + X_attn[b]
    torch.testing.assert_close(module.attend(X_in), X_attn, rtol=0, atol=1e-12)
    torch.testing.assert_close(module(X_in), X_out, rtol=0, atol=1e-12)


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_the_network_around_the_modules(form: str) -> None:
    """Which stages, which sizes, what is fused, what is predicted, and what each loss judges."""
    architecture = FORMS[form]
    network = drawn(SANet(5, architecture))
    picture = image(65, 97).double()
    output = network(picture)
    stages = network.backbone(picture)
    C4 = stages[-1] if network.excite is None else network.excite(stages[-1])
    assert (network.excite is not None) == (form == "FCN-SE")
    Y_den = None if network.dense is None else network.dense(C4)
    if architecture.head != "sanet":
        assert output[1:] == (None, None, None)
        small = network.decode(stages[0], stages[3]) if network.decode is not None else Y_den
        assert (network.decode is not None, Y_den is None) == ((form == "DeepLab V3+",) * 2)
        torch.testing.assert_close(output.scores, enlarge(small, (65, 97)))
        return
    assert [tuple(maps.shape[-2:]) for maps in stages] == [(17, 25), (9, 13), (9, 13), (9, 13)]
    Y_SA = [head(maps) for head, maps in zip(network.heads, stages, strict=True)]
    mask = enlarge(network.fuse(torch.cat([enlarge(maps, (17, 25)) for maps in Y_SA], dim=1)), (65, 97))
    torch.testing.assert_close(output.mask, mask)
    if architecture.beta:
        assert Y_den is not None
        torch.testing.assert_close(output.scores, enlarge(Y_den + Y_SA[3], (65, 97)))
        alone = architecture.dense_loss == "alone"
        torch.testing.assert_close(output.dense, enlarge(Y_den, (65, 97)) if alone else output.scores)
    else:
        assert output.scores is output.mask
        assert output.dense is None
    if architecture.alpha:
        assert Y_den is not None
        torch.testing.assert_close(output.presence, Y_den.mean(dim=(2, 3)))
    else:
        assert output.presence is None
    assert (Y_den is None) == (form == "SA")


# What must hold for any weights


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_attention_is_spatial(pooling: Pooling) -> None:
    """It is not squeezed to one value for each class, as in SE, and what changes far away it does not hear."""
    module = drawn(SqueezeAndAttention(16, 3, 8, pooling))
    X_in = features(16, 40, 64)
    before = module.attend(X_in)
    assert before.std(dim=(2, 3)).min() > 1e-3
    changed = X_in.clone()
    changed[:, :, 32:, 56:] += 5
    moved = (module.attend(changed) - before).abs().amax(dim=1)
    assert (moved[:, 32:, 56:] > 1e-3).all()
    assert (moved[:, :8, :8] == 0).all()
    squeezed = drawn(SqueezeAndAttention(16, 3, 64, pooling)).attend(X_in)
    assert squeezed.std(dim=(2, 3)).max() < 1e-12  # a window as large as the map squeezes it fully


@torch.no_grad()
@pytest.mark.parametrize("form", ["sanet", "8-4-2-1", "max"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (63, 64), (65, 1), (67, 95)], ids=str)
def test_any_size_is_tested(form: str, size: tuple[int, int]) -> None:
    output = drawn(SANet(5, FORMS[form]))(image(*size).double())
    assert output.presence.shape == (1, 5)
    for scores in output[:3]:
        assert scores.shape == (1, 5, *size)
        assert scores.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_learns_from_the_losses(form: str) -> None:
    """On several processes a parameter without a gradient is an error."""
    torch.manual_seed(0)
    network = SANet(5, FORMS[form])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)  # timm starts some at 0
    labels = torch.arange(2 * 65 * 97).reshape(2, 65, 97) % 4  # the fifth class is absent
    pictures = torch.cat([image(65, 97), image(65, 97).flip(1)])  # two, or the mean of an image would say nothing
    sum(loss(network(pictures), labels).values(), torch.zeros(())).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []
    heads = [value.grad for name, value in network.named_parameters() if not name.startswith("backbone.")]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in heads)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"head": "fnc"}, r"head must be one of sanet, fcn-se, fcn, deeplab-v3\+, got 'fnc'"),
        ({"pooling": "mean"}, r"pooling must be one of average, max, got 'mean'"),
        ({"dense_loss": "both"}, r"dense_loss must be one of prediction, alone, got 'both'"),
        ({"downsampling": (8, 8, 8)}, r"downsampling must have 4 entries, got 3"),
        ({"downsampling": (8, 8, 8, 0)}, r"downsampling must be at least 1, got 0"),
        ({"alpha": -0.1}, r"alpha must be a number of at least 0, got -0\.1"),
        ({"beta": math.nan}, r"beta must be a finite number, got nan"),
    ],
)
def test_refusals_say_what_was_given_and_what_is_allowed(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SANet(5, Architecture(TINY, **fields))


def test_modules_refuse_channels_that_they_cannot_divide() -> None:
    with pytest.raises(ValueError, match="divisible by 8, got 12"):
        SqueezeAndAttention(12, 5)
    with pytest.raises(ValueError, match="divisible by 8, got 20"):
        SqueezeAndExcitation(20)
    with pytest.raises(ValueError, match="squeeze of at least 1, got 0"):
        SqueezeAndExcitation(16, squeeze=0)


# DeepLab V3+


@torch.no_grad()
def test_the_decoder_puts_the_enlarged_pyramid_beside_the_reduced_first_stage() -> None:
    head = drawn(DeepLabV3Plus(8, 6, 5))
    C1, C4 = features(8, 9, 13), features(6, 5, 7)
    beside = torch.cat([enlarge(head.pyramid(C4), (9, 13)), head.reduce(C1)], dim=1)
    assert beside.shape[1] == 256 + 48
    first, second = head.refine
    torch.testing.assert_close(head(C1, C4), head.classify(second(first(beside))), rtol=0, atol=1e-12)
    assert [layer[0].kernel_size for layer in (first, second, head.reduce)] == [(3, 3), (3, 3), (1, 1)]


# EfficientNet


EFFICIENT = Architecture(Backbone("tf_efficientnet_b7"))


@pytest.mark.slow
def test_the_heads_tap_four_stages_of_efficientnet_at_strides_4_and_8() -> None:
    with torch.device("meta"):
        network = SANet(59, EFFICIENT)
        maps = network.backbone(torch.empty(1, 3, 480, 480))
    assert [tuple(values.shape[1:]) for values in maps] == [(48, 120, 120), (80, 60, 60), (224, 60, 60), (640, 60, 60)]
    modules = [row["module"] for row in network.backbone.body.feature_info.get_dicts()]
    assert modules == ["blocks.1", "blocks.2", "blocks.4", "blocks.6"]
    assert network.heads is not None
    assert [head.main[0].in_channels for head in network.heads] == [48, 80, 224, 640]


@torch.no_grad()
def test_synchronising_batchnorm_keeps_the_activations_of_efficientnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch normalisation has the activation inside; torch's own conversion would drop it."""
    smallest = replace(NETWORKS["tf_efficientnet_b7"], timm_name="tf_efficientnet_b0")  # of the same layers
    monkeypatch.setitem(NETWORKS, "tf_efficientnet_b7", smallest)
    torch.manual_seed(0)
    network = SANet(3, EFFICIENT).eval()
    picture = image(33, 48)
    before = network(picture)
    kinds = {type(module) for module in network.modules()}
    several = Mock(spec=Accelerator, num_processes=2, device=torch.device("cuda"))
    synchronised = machine.synchronise_batchnorm(network, several).eval()
    norms = [module for module in synchronised.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert all(isinstance(module, nn.SyncBatchNorm) for module in norms)
    assert len(norms) > 40
    assert any(kind.__name__ == "BatchNormAct2d" for kind in kinds)
    for one, other in zip(before, synchronised(picture), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


# Sizes


def first_and_second(channels: int, width: int) -> int:
    hidden = channels // 4
    return channels // 2 * hidden * 9 + 2 * hidden + hidden * width * 9 + width


HEADS = sum(2 * first_and_second(channels, 21) for channels in (256, 512, 1024, 2048)) + 4 * 21 * 21 + 21
DENSE = 2048 * 21 + 21
DEEPLAB = (
    (2 * 2048 + 5 * 256 + 9 * (3 * 2048 + 304 + 256)) * 256  # 1x1 and mean, their fusion, three dilated, two of 3x3
    + 256 * 48
    + 2 * (8 * 256 + 48)
    + 256 * 21
    + 21
)
EXCITE = first_and_second(2048, 2048) + 2048 * 4 + 4 + 4 * 2048 + 2048


@pytest.mark.parametrize(
    ("fields", "head", "names"),
    [
        ({}, HEADS + DENSE, {"heads", "fuse", "dense"}),
        ({"downsampling": (8, 4, 2, 1), "pooling": "max"}, HEADS + DENSE, {"heads", "fuse", "dense"}),
        ({"beta": 0.0}, HEADS + DENSE, {"heads", "fuse", "dense"}),
        ({"alpha": 0.0}, HEADS + DENSE, {"heads", "fuse", "dense"}),
        ({"alpha": 0.0, "beta": 0.0}, HEADS, {"heads", "fuse"}),
        ({"head": "fcn"}, DENSE, {"dense"}),
        ({"head": "fcn-se"}, DENSE + EXCITE, {"dense", "excite"}),
        ({"head": "deeplab-v3+"}, DEEPLAB, {"decode"}),
    ],
    ids=["SANet", "readings", "SA + Cat", "SA + Den", "SA", "FCN", "FCN-SE", "DeepLab V3+"],
)
def test_what_is_not_used_is_not_there(fields: dict[str, Any], head: int, names: set[str]) -> None:
    with torch.device("meta"):
        network = SANet(21, replace(Architecture(), **fields))
    assert {key.split(".")[0] for key, _ in network.named_parameters()} - {"backbone"} == names
    assert parameters(network) - parameters(network.backbone) == head


# The objective


def labels_with_ignored() -> Tensor:
    """Labels of two images: the first has the classes 0 to 3, the second 2 and 4; rows are ignored in both."""
    labels = torch.arange(2 * 7 * 9).reshape(2, 7, 9) % 4
    labels[1] = 2 + 2 * (labels[1] % 2)
    labels[:, 2:4] = 255
    return labels


def given() -> Output:
    mask, dense = noise(2, 5, 7, 9, seed=0), noise(2, 5, 7, 9, seed=1)
    return Output(dense, mask, dense, noise(2, 5, seed=2))


def test_the_presence_vector_skips_ignored_pixels() -> None:
    labels = labels_with_ignored()
    expected = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0, 1.0]])
    assert torch.equal(presence(labels, 5), expected)
    labels[0, labels[0] == 3] = 255
    expected[0, 3] = 0.0
    assert torch.equal(presence(labels, 5), expected)
    assert torch.equal(presence(torch.full((1, 2, 3), 255), 5), torch.zeros(1, 5))


def test_the_categorical_loss_is_equation_8() -> None:
    y_cat = noise(2, 5, seed=2)
    y = presence(labels_with_ignored(), 5)
    total = 0.0
    for n in range(2):
        for j in range(5):
            predicted = 1 / (1 + math.exp(-float(y_cat[n, j])))
            total -= float(y[n, j]) * math.log(predicted) + (1 - float(y[n, j])) * math.log(1 - predicted)
    assert float(categorical(y_cat, labels_with_ignored())) == pytest.approx(total / 2, rel=1e-6)


def test_an_image_without_labels_says_nothing_about_its_classes() -> None:
    labels = labels_with_ignored()
    labels[1] = 255
    y_cat = noise(2, 5, seed=2)
    assert float(categorical(y_cat, labels)) == pytest.approx(float(categorical(y_cat[:1], labels[:1])), rel=1e-6)


def test_the_terms_are_weighted_as_printed() -> None:
    output, labels = given(), labels_with_ignored()
    assert output.mask is not None
    assert output.dense is not None
    assert output.presence is not None
    terms = loss(output, labels)
    assert list(terms) == ["mask", "categorical", "dense"]
    torch.testing.assert_close(terms["mask"], functional.cross_entropy(output.mask, labels, ignore_index=255))
    torch.testing.assert_close(terms["categorical"], 0.2 * categorical(output.presence, labels))
    torch.testing.assert_close(terms["dense"], 0.8 * functional.cross_entropy(output.dense, labels, ignore_index=255))
    other = loss(output, labels, alpha=0.6, beta=0.4)
    torch.testing.assert_close(other["categorical"], 3 * terms["categorical"])
    torch.testing.assert_close(other["dense"], 0.5 * terms["dense"])
    torch.testing.assert_close(other["mask"], terms["mask"])


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("sanet", ["mask", "categorical", "dense"]),
        ("SA + Den", ["mask", "dense"]),
        ("SA + Cat", ["mask", "categorical"]),
        ("SA", ["mask"]),
        ("FCN-SE", ["scores"]),
        ("FCN", ["scores"]),
        ("DeepLab V3+", ["scores"]),
    ],
)
def test_terms_can_be_switched_off_as_in_table_1(form: str, names: list[str]) -> None:
    output = drawn(SANet(5, FORMS[form]))(image(65, 97).double())
    labels = torch.arange(65 * 97).reshape(1, 65, 97) % 5
    terms = loss(output, labels)
    assert list(terms) == names
    if len(names) == 1:
        (term,) = terms.values()
        torch.testing.assert_close(term, functional.cross_entropy(output.scores.float(), labels))


def test_training_takes_the_weights_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def set_up(recipe: Any, run: Any, published: Any, build: Any, objective: Any) -> str:
        seen.append(objective)
        return "training"

    monkeypatch.setattr(launch, "set_up", set_up)
    done = Score(Classes.coloured(["all"]), torch.ones(1, 1, dtype=torch.int64))
    monkeypatch.setattr(launch.loop, "train", lambda training: seen.append(training) or done)
    for words in (["sanet-demo"], ["sanet-demo", "--recipe.architecture.alpha", "0.6"]):
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        launch.train(PAPER)
    assert seen[1::2] == ["training"] * 2
    assert all(isinstance(objective, partial) for objective in seen[::2])
    first, second = (objective(given(), labels_with_ignored()) for objective in seen[::2])
    torch.testing.assert_close(second["categorical"], 3 * first["categorical"])
    torch.testing.assert_close(second["dense"], first["dense"])


# Stored answers


@torch.no_grad()
def answers() -> dict[str, list[float]]:
    """Return for each output its sum, the sum of its magnitudes, and a few single scores, by drawn weights."""
    found = {}
    for form in ("sanet", "8-4-2-1", "max", "FCN-SE", "DeepLab V3+"):
        output = drawn(SANet(5, FORMS[form]))(image(65, 97).double())
        for name, values in output._asdict().items():
            if values is not None:
                singles = values.flatten()[:: max(values.numel() // 12, 1)][:12].tolist()
                found[f"{form} {name}"] = [float(values.sum()), float(values.abs().sum()), *singles]
    return found


@pytest.mark.slow
def test_answers_are_those_stored() -> None:
    stored = json.loads(STORED.read_text())
    computed = answers()
    assert list(computed) == list(stored)
    assert len(computed) == 14
    for name, values in computed.items():
        assert len(values) == (7 if name.endswith("presence") else 14)
        assert values == pytest.approx(stored[name], rel=1e-8)


if __name__ == "__main__":
    STORED.write_text(json.dumps(answers(), indent=1) + "\n")
