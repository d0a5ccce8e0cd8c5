"""DANet: its equations written out, its sizes, its rows, and what it answered when it was written.

`python tests/test_danet.py` stores the answers again in `stored/danet.json`, after a change that is meant to move them.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dual_attention import FORMS, SCALAR, Form, channel_sums, drawn, features, position_sums
from seeded import image, noise, parameters
from torch import Tensor, nn
from torch.nn import functional

from core.networks.backbones import Backbone
from core.recipe import Protocol
from papers.danet.loss import loss
from papers.danet.model import Architecture, ChannelAttention, DANet, Output, PositionAttention
from papers.danet.recipes import RECIPES

STORED = Path(__file__).parent / "stored" / "danet.json"

TINY = Backbone("resnet10_tiny")


# The equations, written out


@torch.no_grad()
@pytest.mark.parametrize("reduction", [8, 1])
@pytest.mark.parametrize("form", FORMS)
def test_position_attention_is_equations_1_and_2(form: Form, reduction: int) -> None:
    module = drawn(PositionAttention(32, reduction, form))
    A = features(32)
    expected, S = position_sums(module, A)
    assert (S - S.mT).abs().max() > 0.01  # or B and C could be exchanged
    assert module.to_b(A).shape[1] == module.to_c(A).shape[1] == 32 // reduction
    torch.testing.assert_close(module(A), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_channel_attention_is_equations_3_and_4(form: Form) -> None:
    A = features(6)
    torch.testing.assert_close(drawn(ChannelAttention(form))(A), channel_sums(form, A), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_the_rows_of_s(form: Form) -> None:
    module = drawn(PositionAttention(32, 8, form))
    A = features(32)
    positions = torch.tensor([7, 0, 14])
    _, S = position_sums(module, A)
    assert (S - S.mT).abs().max() > 0.01  # or rows could be columns
    rows = module.rows(A, positions)
    torch.testing.assert_close(rows.double(), S[:, positions].reshape(2, 3, 3, 5), rtol=0, atol=1e-6)
    torch.testing.assert_close(rows.sum(dim=(2, 3)), torch.ones(2, 3), rtol=0, atol=1e-6)


# What must hold for any weights


@pytest.mark.parametrize("form", FORMS)
def test_untrained_modules_are_the_identity(form: Form) -> None:
    A = features(16).float()
    for module in (PositionAttention(16, 8, form), ChannelAttention(form)):
        E = module(A)
        assert torch.equal(E, A)
        E.square().sum().backward()
        (scalar,) = [value for name, value in module.named_parameters() if name in ("alpha", "beta")]
        assert scalar.grad != 0  # it can leave the identity


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_position_attention_does_not_know_where_positions_are(form: Form) -> None:
    module = drawn(PositionAttention(16, 8, form))
    A = features(16)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))

    def shuffled(x: Tensor) -> Tensor:
        return x.flatten(2)[..., order].reshape(x.shape)

    torch.testing.assert_close(module(shuffled(A)), shuffled(module(A)), rtol=0, atol=1e-12)
    changed = A.clone()
    changed[:, :, 2, 4] += 1
    assert ((module(changed) - module(A)).abs().amax(dim=1) > 1e-6).all()  # yet each hears from the last one


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_channel_attention_does_not_know_which_channel_is_which(form: Form) -> None:
    module = drawn(ChannelAttention(form))
    A = features(16)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(A[:, order]), module(A)[:, order], rtol=0, atol=1e-12)
    changed = A.clone()
    changed[:, 15] += 1
    assert ((module(changed) - module(A)).abs().amax(dim=(2, 3)) > 1e-9).all()  # yet each hears from the last one


@pytest.mark.usefixtures("no_type_checks")
def test_refusals_say_what_was_given_and_what_is_allowed() -> None:
    typo: Any = "relaesed"
    with pytest.raises(ValueError, match=r"divisible by reduction, got 12 and 8; pass reduction=1"):
        PositionAttention(12, reduction=8)
    with pytest.raises(ValueError, match=r"got 12 and 0"):
        PositionAttention(12, reduction=0)
    with pytest.raises(ValueError, match=r"PositionAttention must be one of released, paper, got 'relaesed'"):
        PositionAttention(16, form=typo)
    with pytest.raises(ValueError, match=r"ChannelAttention must be one of released, paper, got 'relaesed'"):
        ChannelAttention(form=typo)
    for name in ("position_attention", "channel_attention"):
        with pytest.raises(ValueError, match=f"{name} must be one of released, paper, none, got 'relaesed'"):
            DANet(5, Architecture(TINY, **{name: typo}))
    with pytest.raises(ValueError, match=r"num_classes of at least 1.*, got 0"):
        DANet(0, Architecture(TINY))


# Half precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("level", [3.5, 4.5], ids=["5e4", "8e4"])
@pytest.mark.parametrize("form", FORMS)
def test_channel_energies_survive_half_precision(form: Form, level: float, dtype: torch.dtype) -> None:
    """Energies of `level` ** 2 * 4096 that differ by about 1: half precision would round that away, or overflow.

    Channel k alone has a 0.25 at position k, which lets us read x_jk from E there.
    """
    A = torch.full((1, 4, 64, 64), level)
    flat = A.view(4, 4096)
    for channel in range(4):
        flat[channel, 100 : 100 + 8 * channel] += 1 / 32  # a step of both dtypes
        flat[:, channel] = 0
        flat[channel, channel] = 0.25
    assert torch.equal(A, A.to(dtype).float())
    outward = noise(*A.shape)

    exact = A.double().requires_grad_()
    energies = exact.flatten(2) @ exact.flatten(2).mT
    assert energies.min() > 4096 * level**2 * 0.99 > 4.9e4
    X = (energies if form == "paper" else -energies).softmax(-1)
    assert 0.02 < X.min() < X.max() < 0.9  # rounding the energies would show
    reference = SCALAR * (X @ exact.flatten(2)).view(A.shape) + exact
    reference.backward(outward.double())

    for given in (A, A.to(dtype)):
        module = ChannelAttention(form)
        nn.init.constant_(module.beta, SCALAR)
        leaf = given.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype):
            E = module(leaf)
        E.float().backward(outward)
        weights_read = (E.detach().float() - A)[0].flatten(1)[:, :4] / SCALAR / 0.25
        torch.testing.assert_close(weights_read, X[0].detach().float(), rtol=0, atol=0.03)
        assert leaf.grad is not None
        assert exact.grad is not None
        assert module.beta.grad is not None
        assert module.beta.grad.isfinite()
        error = (leaf.grad.double() - exact.grad).abs().max() / exact.grad.abs().max()
        assert error < 0.03, f"the gradient is off by {error:.1e} of its largest entry"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("level", [90.0, 112.0], ids=["5e4", "8e4"])
def test_position_energies_survive_half_precision(level: float, dtype: torch.dtype) -> None:
    """Energies of 7 * `level` ** 2 that differ by a few units through the last channel, which projections pass on."""
    module = PositionAttention(8, reduction=1)
    for projection in (module.to_b, module.to_c, module.to_d):
        nn.init.eye_(projection.weight.data[:, :, 0, 0])
        nn.init.zeros_(projection.bias)
    nn.init.constant_(module.alpha, SCALAR)
    A = torch.full((1, 8, 3, 5), level)
    A[:, 7] = torch.arange(15).reshape(3, 5) / 8 - 1
    assert torch.equal(A, A.to(dtype).float())
    outward = torch.zeros_like(A)
    outward[:, 7] = noise(3, 5)

    exact = A.double().requires_grad_()
    flat = exact.flatten(2)
    energies = flat.mT @ flat
    assert energies.min() > 4.9e4
    S = energies.softmax(-1)
    assert S.max() > 3 * S.min()  # rounding the energies would show
    reference = SCALAR * (flat @ S.mT).view(A.shape) + exact
    reference.backward(outward.double())

    leaf = A.clone().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        E = module(leaf)
        rows = module.rows(A, torch.arange(15))
    E.float().backward(outward)
    torch.testing.assert_close(rows[0].flatten(1).double(), S[0].detach(), rtol=0, atol=0.02)
    torch.testing.assert_close(E[:, 7].double(), reference[:, 7], rtol=0, atol=0.02)
    assert E.isfinite().all()
    assert leaf.grad is not None
    assert exact.grad is not None
    error = (leaf.grad.double() - exact.grad)[:, 7].abs().max() / exact.grad[:, 7].abs().max()
    assert error < 0.03, f"the gradient is off by {error:.1e} of its largest entry"
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


# Sizes


@pytest.mark.parametrize(
    ("backbone", "whole"),
    [(Backbone("resnet50", stem="deep32"), 47.482), (Backbone("resnet101"), 66.455)],
    ids=["resnet50-deep32", "resnet101"],
)
def test_parameters(backbone: Backbone, whole: float) -> None:
    with torch.device("meta"):
        network = DANet(19, Architecture(backbone))
    assert round(parameters(network) / 1e6, 3) == whole
    assert round((parameters(network) - parameters(network.backbone)) / 1e6, 3) == 23.955


REDUCE = 2048 * 512 * 9 + 2 * 512
TRANSFORM = 512 * 512 * 9 + 2 * 512
PROJECTIONS = 2 * (512 * 64 + 64) + 512 * 512 + 512
CLASSIFIER = 512 * 19 + 19


@pytest.mark.slow
@pytest.mark.parametrize(
    ("position", "channel", "side_scores", "head", "names"),
    [
        (
            "released",
            "released",
            True,
            2 * (REDUCE + TRANSFORM + 1) + PROJECTIONS + 3 * CLASSIFIER,
            {"position", "channel", "classify", "classify_position", "classify_channel"},
        ),
        (
            "released",
            "released",
            False,
            2 * (REDUCE + TRANSFORM + 1) + PROJECTIONS + CLASSIFIER,
            {"position", "channel", "classify"},
        ),
        ("released", "none", True, REDUCE + TRANSFORM + PROJECTIONS + 1 + CLASSIFIER, {"position", "classify"}),
        ("none", "released", True, REDUCE + TRANSFORM + 1 + CLASSIFIER, {"channel", "classify"}),
        ("none", "none", True, REDUCE + CLASSIFIER, {"plain", "classify"}),
    ],
    ids=["both", "both, one classifier", "position", "channel", "none"],
)
def test_what_is_not_used_is_not_there(
    position: Any, channel: Any, side_scores: bool, head: int, names: set[str]
) -> None:
    with torch.device("meta"):
        network = DANet(19, Architecture(Backbone("resnet50"), position, channel, side_scores=side_scores))
        output = network.eval()(torch.empty(1, 3, 33, 49))
    assert {key.split(".")[0] for key, _ in network.named_parameters()} - {"backbone"} == names
    assert parameters(network) - parameters(network.backbone) == head
    has_sides = "classify_position" in names
    assert (output.position is not None, output.channel is not None) == (has_sides, has_sides)


# Recipes


ROWS = [  # table, mean IoU, backbone, PAM, CAM: the rows that the paper gives for itself and for its own baselines
    ("Table 1", 70.03, "resnet50", False, False),
    ("Table 1", 75.74, "resnet50", True, False),
    ("Table 1", 74.28, "resnet50", False, True),
    ("Table 1", 76.34, "resnet50", True, True),
    ("Table 1", 72.54, "resnet101", False, False),
    ("Table 1", 77.03, "resnet101", True, False),
    ("Table 1", 76.55, "resnet101", False, True),
    ("Table 1", 77.57, "resnet101", True, True),
    ("Table 2", 77.57, "resnet101", True, True),
    ("Table 2", 78.83, "resnet101", True, True),
    ("Table 2", 79.94, "resnet101", True, True),
    ("Table 2", 81.50, "resnet101", True, True),
    ("Table 3", 81.5, "resnet101", True, True),
    ("Table 4", 44.3, "resnet50", False, False),
    ("Table 4", 50.1, "resnet50", True, True),
    ("Table 4", 52.6, "resnet101", True, True),
    ("Table 5", 31.9, "resnet50", False, False),
    ("Table 5", 37.2, "resnet50", True, True),
    ("Table 5", 39.7, "resnet101", True, True),
]

PUBLIC = {  # mmsegmentation's files on the backbones of 50 and 101 layers: mean IoU of the image tested once
    "512x1024_40k_cityscapes": (78.74, 80.52),
    "769x769_40k_cityscapes": (78.88, 79.88),
    "512x1024_80k_cityscapes": (79.34, 80.41),
    "769x769_80k_cityscapes": (79.27, 80.47),
    "512x512_80k_ade20k": (41.66, 43.64),
    "512x512_160k_ade20k": (42.45, 44.17),
    "512x512_20k_voc12aug": (74.45, 76.02),
    "512x512_40k_voc12aug": (76.37, 76.51),
}

DATA = {
    "Table 1": ("cityscapes", 19, "val"),
    "Table 2": ("cityscapes", 19, "val"),
    "Table 3": ("cityscapes", 19, "test"),
    "Table 4": ("pascal_context", 60, "val"),
    "Table 5": ("coco_stuff10k", 171, "test"),
}

STRATEGIES = {  # of Table 2: random scaling (DA), Multi-Grid, several scales (MS)
    77.57: (False, False, False),
    78.83: (True, False, False),
    79.94: (True, True, False),
    81.50: (True, True, True),
}

PER_CLASS = {  # the last row of Table 3
    "road": 98.6,
    "sidewalk": 86.1,
    "building": 93.5,
    "wall": 56.1,
    "fence": 63.3,
    "pole": 69.7,
    "traffic light": 77.3,
    "traffic sign": 81.3,
    "vegetation": 93.9,
    "terrain": 72.9,
    "sky": 95.7,
    "person": 87.3,
    "rider": 72.9,
    "car": 96.2,
    "truck": 76.8,
    "bus": 89.4,
    "train": 86.5,
    "motorcycle": 72.2,
    "bicycle": 78.2,
}


def test_every_reported_row_has_its_recipe() -> None:
    given = [
        (
            reported.table,
            reported.value,
            recipe.architecture.backbone.name,
            recipe.architecture.position_attention == "released",
            recipe.architecture.channel_attention == "released",
        )
        for recipe in RECIPES.values()
        for reported in recipe.reported
        if reported.paper == "DANet"
    ]
    assert sorted(given) == sorted(ROWS)


def test_every_public_file_has_its_recipe() -> None:
    given = {
        reported.row: (reported.value, recipe.data.name, recipe.architecture.backbone, recipe.protocol)
        for recipe in RECIPES.values()
        for reported in recipe.reported
        if reported.paper == "mmsegmentation"
    }
    expected = {}
    for file, values in PUBLIC.items():
        size, _, data = file.split("_")
        name = {"cityscapes": "cityscapes", "ade20k": "ade20k", "voc12aug": "voc2012"}[data]
        protocol = {
            "512x1024": Protocol(),
            "769x769": Protocol(crop=769, stride=513, base=2049, merge="scores"),
            "512x512": Protocol(base=512, edge="short", limit=2048),
        }[size]
        for depth, value in zip(("50", "101"), values, strict=True):
            backbone = Backbone("resnet50" if depth == "50" else "resnet101", stem="deep32")
            expected[f"danet_r{depth}-d8_{file}"] = (value, name, backbone, protocol)
    assert given == expected
    for recipe in RECIPES.values():
        if any(reported.paper == "mmsegmentation" for reported in recipe.reported):
            assert recipe.architecture.align_corners == (recipe.protocol.crop == 769)


def test_rows_are_tested_on_the_data_of_their_tables() -> None:
    for recipe in RECIPES.values():
        for reported in (row for row in recipe.reported if row.paper == "DANet"):
            assert (recipe.data.name, recipe.data.num_classes, recipe.data.test) == DATA[reported.table]
            assert (reported.paper, reported.split, reported.metric) == ("DANet", recipe.data.test, "mIoU")


def test_table_2_adds_one_strategy_at_a_time() -> None:
    found = {
        reported.value: (
            recipe.augmentation.scale is not None,
            recipe.architecture.backbone.multi_grid == (4, 8, 16),
            len(recipe.protocol.scales) > 1,
        )
        for recipe in RECIPES.values()
        for reported in recipe.reported
        if reported.table == "Table 2"
    }
    assert found == STRATEGIES


def test_table_3_has_every_class() -> None:
    (row,) = [row for recipe in RECIPES.values() for row in recipe.reported if row.table == "Table 3"]
    assert row.per_class == tuple(PER_CLASS.values())
    assert round(sum(row.per_class) / 19, 1) == row.value


# The objective


def labels_with_ignored() -> Tensor:
    labels = torch.arange(2 * 7 * 9).reshape(2, 7, 9) % 5
    labels[:, 2:4] = 255
    return labels


def scores(seed: int) -> Tensor:
    return noise(2, 5, 7, 9, seed=seed).requires_grad_()


@pytest.mark.slow
def test_deep_supervision_has_a_classifier_and_a_loss_of_weight_0_4() -> None:
    with torch.device("meta"):
        network = DANet(19, Architecture(Backbone("resnet50"), deep_supervision=True))
        output = network.eval()(torch.empty(1, 3, 33, 49))
    assert parameters(network.classify_deep) == 1024 * 256 * 9 + 2 * 256 + 256 * 19 + 19
    assert output.deep is not None
    assert output.deep.shape == output.scores.shape

    labels = labels_with_ignored()
    terms = loss(Output(scores(0), deep=scores(1)), labels)
    assert list(terms) == ["fused", "deep"]
    torch.testing.assert_close(terms["deep"], 0.4 * functional.cross_entropy(scores(1), labels, ignore_index=255))


def test_each_classifier_has_a_loss_of_weight_1() -> None:
    output = Output(scores(0), scores(1), scores(2))
    labels = labels_with_ignored()
    terms = loss(output, labels)
    assert list(terms) == ["fused", "position", "channel"]
    for term, given in zip(terms.values(), output[:3], strict=True):
        assert given is not None
        torch.testing.assert_close(term, functional.cross_entropy(given, labels, ignore_index=255))
    assert len({float(term.detach()) for term in terms.values()}) == 3


def test_one_classifier_has_one_loss() -> None:
    output = Output(scores(0))
    labels = labels_with_ignored()
    terms = loss(output, labels)
    assert list(terms) == ["fused"]
    torch.testing.assert_close(terms["fused"], functional.cross_entropy(output.scores, labels, ignore_index=255))


# Stored answers


@torch.no_grad()
def answers() -> dict[str, list[float]]:
    """Return for each output its sum, the sum of its magnitudes, and 12 single scores, by weights drawn from names."""
    output = drawn(DANet(5, Architecture(TINY)))(image(65, 97).double())
    return {
        name: [float(scores.sum()), float(scores.abs().sum()), *scores.flatten()[:: scores.numel() // 12][:12].tolist()]
        for name, scores in output._asdict().items()
        if scores is not None
    }


def test_answers_are_those_stored() -> None:
    stored = json.loads(STORED.read_text())
    given = answers()
    assert list(given) == list(stored) == ["scores", "position", "channel"]
    for name, values in given.items():
        assert len(values) == 14
        assert values == pytest.approx(stored[name], rel=1e-8)


if __name__ == "__main__":
    STORED.write_text(json.dumps(answers(), indent=1) + "\n")
