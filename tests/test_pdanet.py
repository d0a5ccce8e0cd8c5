"""PDANet: its equations written out, its sizes, its objective, and what it answered before.

`python tests/test_pdanet.py` stores the answers again in `stored/pdanet.json`, after a change meant to move them.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dual_attention import FORMS, SCALAR, Form, channel_sums, drawn, features, position_sums
from PIL import Image
from seeded import image, noise, parameters, weights
from torch import Tensor, nn
from torch.nn import functional

import papers.danet.model as danet
from core.networks.backbones import Backbone
from core.networks.known import NETWORKS
from papers.pdanet.loss import loss
from papers.pdanet.model import (
    LEVELS,
    Architecture,
    ChannelAttention,
    DualAttention,
    Output,
    PDANet,
    PositionAttention,
    PyramidDualAttention,
    PyramidPooling,
)
from papers.pdanet.recipes import RECIPES

HERE = Path(__file__).parent
STORED = HERE / "stored" / "pdanet.json"

HEADS = ("pdanet", "psp", "danet", "fcn")

TINY = Backbone("resnet10_tiny")
DEEP_STEM = Backbone("resnet18", stem="deep64")

# The equations, written out


@torch.no_grad()
@pytest.mark.parametrize("reduction", [8, 1])
def test_position_attention_is_equations_6_and_7(reduction: int) -> None:
    module = drawn(PositionAttention(32, reduction))
    A = features(32)
    expected, S = position_sums(module, A)
    assert (S - S.mT).abs().max() > 0.01  # or B and C could be exchanged
    assert module.to_b(A).shape[1] == module.to_c(A).shape[1] == 32 // reduction
    torch.testing.assert_close(module(A), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_channel_attention_is_equations_8_and_9(form: Form) -> None:
    A = features(6)
    torch.testing.assert_close(drawn(ChannelAttention(form))(A), channel_sums(form, A), rtol=0, atol=1e-12)


@torch.no_grad()
def test_rows_are_the_rows_of_s() -> None:
    module = drawn(PositionAttention(32, 8))
    A = features(32)
    positions = torch.tensor([7, 0, 14])
    _, S = position_sums(module, A)
    rows = module.rows(A, positions)
    torch.testing.assert_close(rows.double(), S[:, positions].reshape(2, 3, 3, 5), rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_dual_attention_is_both_branches_summed(form: Form) -> None:
    module = drawn(DualAttention(64, 7, reduction=2, form=form))
    given = features(64)
    position, channel = module.position, module.channel
    E_position, _ = position_sums(position.attend, position.reduce(given))
    E_channel = channel_sums(form, channel.reduce(given))
    summed = position.transform(E_position) + channel.transform(E_channel)
    weight, bias = module.project[1].weight[:, :, 0, 0], module.project[1].bias
    expected = torch.einsum("oc,bchw->bohw", weight, summed) + bias[:, None, None]
    torch.testing.assert_close(module(given), expected, rtol=0, atol=1e-11)


def bins(length: int, level: int) -> list[range]:
    """Return the rows of each bin: the smallest ranges that cover the map, shared at the border if need be."""
    return [range(k * length // level, -(-(k + 1) * length // level)) for k in range(level)]


@torch.no_grad()
@pytest.mark.parametrize("size", [(12, 6), (7, 9), (13, 4), (1, 2)], ids=str)
def test_levels_are_means_of_bins(size: tuple[int, int]) -> None:
    given = features(3, *size)
    for level, pooled in zip(LEVELS, PyramidPooling([nn.Identity()] * 4).pooled(given), strict=True):
        expected = torch.empty(2, 3, level, level, dtype=torch.float64)
        for row, ys in enumerate(bins(size[0], level)):
            for column, xs in enumerate(bins(size[1], level)):
                values = [given[:, :, y, x] for y in ys for x in xs]
                expected[:, :, row, column] = sum(values, torch.zeros(2, 3)) / len(values)
        torch.testing.assert_close(pooled, expected)


@torch.no_grad()
def test_the_pyramid_is_pooled_transformed_enlarged_and_fused() -> None:
    module = drawn(PyramidDualAttention(32, reduction=1))
    given = features(32, 7, 9)
    parts = [given]
    for level, transform in zip(LEVELS, module.pyramid.transforms, strict=True):
        attend, norm, _ = transform.children()
        values = norm(attend(functional.adaptive_avg_pool2d(given, level))).clamp(min=0)
        parts.append(functional.interpolate(values, (7, 9), mode="bilinear", align_corners=False))
    assert [part.shape[1] for part in parts] == [32] * 5
    torch.testing.assert_close(module(given), module.fuse(torch.cat(parts, dim=1)), rtol=0, atol=1e-12)


# What must hold for any weights


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_our_copy_of_dual_attention_is_that_of_danet(form: Form) -> None:
    """One's weights in the other: equal bit for bit."""
    A = features(32, 5, 4)
    for theirs, ours in (
        (drawn(danet.PositionAttention(32)), PositionAttention(32)),
        (drawn(danet.PositionAttention(32, reduction=1)), PositionAttention(32, reduction=1)),
        (drawn(danet.ChannelAttention(form)), ChannelAttention(form)),
    ):
        ours.double().load_state_dict(theirs.state_dict(), strict=True)
        assert torch.equal(ours(A), theirs(A))
        assert not torch.equal(ours(A), A)
    rows = torch.tensor([3, 11])
    ours, theirs = PositionAttention(32).double(), drawn(danet.PositionAttention(32))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert torch.equal(ours.rows(A, rows), theirs.rows(A, rows))


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_the_danet_row_is_danet_with_one_classifier(form: Form) -> None:
    theirs = drawn(
        danet.DANet(5, danet.Architecture(TINY, channel_attention=form, side_scores=False, align_corners=False))
    )
    ours = PDANet(5, Architecture(TINY, "danet", channel_attention=form)).double().eval()
    names = {"classify.": "classify.project.", "position.": "classify.position.", "channel.": "classify.channel."}
    renamed = {}
    for key, value in theirs.state_dict().items():
        prefix = next((prefix for prefix in names if key.startswith(prefix)), "")
        renamed[names.get(prefix, "") + key.removeprefix(prefix)] = value
    ours.load_state_dict(renamed, strict=True)
    torch.testing.assert_close(
        ours(image(65, 97).double()).scores, theirs(image(65, 97).double()).scores, rtol=0, atol=1e-12
    )


def test_untrained_modules_are_the_identity() -> None:
    A = features(16).float()
    for module in (PositionAttention(16), ChannelAttention("released"), ChannelAttention("paper")):
        E = module(A)
        assert torch.equal(E, A)
        E.square().sum().backward()
        (scalar,) = [value for name, value in module.named_parameters() if name in ("alpha", "beta")]
        assert scalar.grad != 0  # it can leave the identity


@torch.no_grad()
def test_at_level_1_position_attention_has_one_key() -> None:
    module = drawn(PositionAttention(16))
    A = features(16, 1, 1)
    torch.testing.assert_close(module(A), SCALAR * module.to_d(A) + A, rtol=0, atol=1e-12)
    assert torch.equal(module.rows(A, torch.tensor([0])), torch.ones(2, 1, 1, 1))


@torch.no_grad()
@pytest.mark.parametrize("size", [(7, 9), (6, 12), (1, 1), (4, 25)], ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_pyramid_of_a_constant_map_is_constant(size: tuple[int, int], align_corners: bool) -> None:
    column = features(4, 1, 1)
    given = column.expand(2, 4, *size)
    pyramid = PyramidPooling([nn.Identity() for _ in LEVELS], align_corners)
    expected = column.repeat(1, 5, 1, 1).expand(2, 20, *size)
    torch.testing.assert_close(pyramid(given), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (40, 40), (48, 96), (1, 70), (67, 95)], ids=str)
@pytest.mark.parametrize("head", HEADS)
def test_any_size_is_tested(head: Any, size: tuple[int, int]) -> None:
    """Down to one pixel, and where no level but the first divides the map."""
    scores = drawn(PDANet(5, Architecture(TINY, head)))(image(*size).double()).scores
    assert scores.shape == (1, 5, *size)
    assert scores.isfinite().all()


@pytest.mark.parametrize("head", HEADS)
def test_training_at_the_level_1_needs_two_images(head: Any) -> None:
    """Batch normalisation has no variance of one value: we say so before PyTorch does, and what to do."""
    network = PDANet(5, Architecture(TINY, head)).train()
    labels = torch.zeros(1, 65, 97, dtype=torch.int64)
    if head in ("pdanet", "psp"):
        with pytest.raises(ValueError, match=r"at least 2 images at a time on each process, got 1.*optimisation.batch"):
            network(image(65, 97))
        network.gather.eval()  # as with frozen statistics
    sum(loss(network(image(65, 97)), labels).values()).backward()
    network.train()(image(65, 97).expand(2, -1, -1, -1))
    network.eval()(image(65, 97))


def test_one_image_on_each_of_several_processes_is_left_to_synchronised_statistics() -> None:
    pyramid = PyramidPooling([nn.SyncBatchNorm(4) for _ in LEVELS])
    with pytest.raises(ValueError, match=r"Expected more than 1 value"):  # PyTorch's, where there is no other
        pyramid(noise(1, 4, 7, 9))


@pytest.mark.slow
def test_every_parameter_learns() -> None:
    """But for what cannot matter.

    At the level 1 there is one key, so the softmax is 1 whatever the energies. A constant in all keys changes no
    softmax, and a constant before batch normalisation changes nothing: some biases are idle, as in the author's code.
    """
    network = drawn(PDANet(5, Architecture(TINY, deep_supervision=True))).train()
    labels = torch.arange(4 * 65 * 97).reshape(4, 65, 97) % 5
    sum(loss(network(noise(4, 3, 65, 97).double()), labels).values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())  # as several processes require
    silent = {name for name, parameter in network.named_parameters() if parameter.grad.abs().max() < 1e-12}
    level_1 = {f"0.0.position.attend.{name}" for name in ("to_b.weight", "to_c.weight", "to_c.bias", "to_d.bias")}
    biases = {f"{level}.0.{name}.bias" for level in range(4) for name in ("position.attend.to_b", "project.1")}
    assert silent == {f"gather.pyramid.transforms.{name}" for name in level_1 | biases}


@pytest.mark.parametrize("head", HEADS)
def test_new_layers_start_as_in_the_authors_code(head: Any) -> None:
    network = PDANet(150, Architecture(DEEP_STEM, head))
    norms = 0
    for name, module in network.named_modules():
        if not name.startswith("backbone") and isinstance(module, nn.Conv2d) and module.weight.numel() > 50_000:
            fan_in = module.weight[0].numel()
            assert float(module.weight.detach().var()) == pytest.approx(2 / fan_in, rel=0.05)
        if not name.startswith("backbone") and isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 1e-4).all()
            norms += 1
    assert norms == {"pdanet": 4 * 5 + 1, "psp": 4 + 1, "danet": 4, "fcn": 1}[head]
    assert all(value == 0 for name, value in network.named_parameters() if name.endswith(("alpha", "beta")))


@pytest.mark.usefixtures("no_type_checks")
def test_refusals_say_what_was_given_and_what_is_allowed() -> None:
    typo: Any = "relaesed"
    with pytest.raises(ValueError, match=r"divisible by reduction, got 12 and 8; pass reduction=1"):
        PositionAttention(12, reduction=8)
    with pytest.raises(ValueError, match=r"got 12 and 0"):
        PositionAttention(12, reduction=0)
    with pytest.raises(ValueError, match=r"channel_attention must be one of released, paper, got 'relaesed'"):
        PDANet(5, Architecture(TINY, channel_attention=typo))
    with pytest.raises(ValueError, match=r"head must be one of pdanet, psp, danet, fcn, got 'relaesed'"):
        PDANet(5, Architecture(TINY, head=typo))
    with pytest.raises(ValueError, match=r"num_classes of at least 1 and at most 255, got 0"):
        PDANet(0, Architecture(TINY))


# Half precision


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("head", HEADS)
def test_half_precision_is_finite_and_close(head: Any, dtype: torch.dtype) -> None:
    network = PDANet(5, Architecture(TINY, head, deep_supervision=True))
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    network.eval()
    labels = torch.arange(2 * 65 * 97).reshape(2, 65, 97) % 5
    batch = noise(2, 3, 65, 97)
    exact = network(batch).scores.detach()
    with torch.autocast("cpu", dtype=dtype):
        output = network(batch)
        terms = loss(output, labels)
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert (output.scores.float() - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("form", FORMS)
def test_channel_energies_survive_half_precision(form: Form, dtype: torch.dtype) -> None:
    """Energies around 8e4 on a map of 6 x 6, which float16 cannot hold, that differ by about 1."""
    A = torch.full((1, 4, 6, 6), 48.0)
    for channel in range(4):
        A[0, channel, 5, :] = 0
        A[0, channel, 5, channel] = 1  # what is gathered there is the weight of the channel
    A[0, :, 0, 0] = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.equal(A, A.to(dtype).float())
    flat = A.double().flatten(2)
    energies = flat @ flat.mT
    assert energies.min() > 6.5e4
    X = (energies if form == "paper" else -energies).softmax(-1)
    module = ChannelAttention(form)
    nn.init.constant_(module.beta, SCALAR)
    with torch.autocast("cpu", dtype=dtype):
        E = module(A.to(dtype))
    read = ((E.float() - A)[0, :, 5, :4] / SCALAR).double()
    torch.testing.assert_close(read, X[0], rtol=0, atol=0.02)


# Sizes


@pytest.mark.parametrize(
    ("head", "whole", "with_side_classifiers"),
    [("fcn", 11.934, 11.934), ("danet", 12.841, 12.879), ("psp", 24.252, 24.252), ("pdanet", 29.453, 29.981)],
)
def test_parameters(head: Any, whole: float, with_side_classifiers: float) -> None:
    """The released code computes two more classifiers in each dual attention, and throws their results away."""
    with torch.device("meta"):
        network = PDANet(150, Architecture(DEEP_STEM, head))
    ours = parameters(network)
    assert round(parameters(network.backbone) / 1e6, 3) == 11.325
    assert round(ours / 1e6, 3) == whole
    dual = [module for module in network.modules() if isinstance(module, DualAttention)]
    side = sum(2 * parameters(module.project) for module in dual)
    assert round((ours + side) / 1e6, 3) == with_side_classifiers
    assert side == {"pdanet": 4 * 132_096, "danet": 2 * 19_350}.get(head, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet10_tiny", "resnet18", "resnet50"])
@pytest.mark.parametrize("head", HEADS)
def test_any_backbone_fits(name: Any, head: Any) -> None:
    with torch.device("meta"):
        network = PDANet(7, Architecture(Backbone(name), head, deep_supervision=True))
        output = network(torch.empty(2, 3, 65, 97))
    for scores in (output.scores, output.deep):
        assert scores.shape == (2, 7, 65, 97)
    if head == "pdanet":
        channels = network.backbone.channels[-1]
        assert network.gather.fuse[0].in_channels == channels + 4 * min(channels, 512)
        assert network.gather.fuse[0].out_channels == min(channels, 512)


def test_public_weights_exist_for_the_plain_stem_only() -> None:
    assert set(NETWORKS["resnet18"].hub) == {"plain"}
    for recipe in RECIPES.values():
        stem = "deep64" if recipe.data.name == "ade20k" else "plain"
        assert recipe.architecture.backbone.stem == stem


# The objective


def labels_with_ignored() -> Tensor:
    labels = torch.arange(2 * 7 * 9).reshape(2, 7, 9) % 5
    labels[:, 2:4] = 255
    return labels


def test_the_objective_is_one_cross_entropy_and_a_second_under_deep_supervision() -> None:
    scores, deep, labels = noise(2, 5, 7, 9), noise(2, 5, 7, 9, seed=1), labels_with_ignored()
    whole, side = (functional.cross_entropy(given, labels, ignore_index=255) for given in (scores, deep))
    terms = loss(Output(scores), labels)
    assert list(terms) == ["scores"]
    torch.testing.assert_close(terms["scores"], whole)
    terms = loss(Output(scores, deep), labels)
    assert list(terms) == ["scores", "deep"]
    torch.testing.assert_close(terms["scores"], whole)
    torch.testing.assert_close(terms["deep"], 0.4 * side)


def test_at_an_eighth_a_label_is_that_of_the_nearest_pixel() -> None:
    """As the code resizes them, by PIL."""
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (1, 24, 40)))
    labels[:, 3:6] = 255
    resized = Image.fromarray(labels[0].numpy().astype(np.uint8)).resize((5, 3), Image.Resampling.NEAREST)
    few = torch.from_numpy(np.array(resized)).long()[None]
    coarse, deep = noise(1, 5, 3, 5), noise(1, 5, 3, 5, seed=1)
    terms = loss(Output(noise(1, 5, 24, 40, seed=2), deep, coarse), labels)
    torch.testing.assert_close(terms["scores"], functional.cross_entropy(coarse, few, ignore_index=255))
    torch.testing.assert_close(terms["deep"], 0.4 * functional.cross_entropy(deep, few, ignore_index=255))


@pytest.mark.parametrize("deep", [False, True])
def test_coarse_scores_are_those_before_they_are_enlarged(deep: bool) -> None:
    small = Architecture(Backbone("resnet10_tiny"), deep_supervision=deep)
    network, usual_network = PDANet(4, replace(small, loss_size="features")).eval(), PDANet(4, small).eval()
    usual_network.load_state_dict(network.state_dict())
    output = network(noise(2, 3, 64, 48))
    assert output.coarse.shape == (2, 4, 8, 6)
    enlarged = functional.interpolate(output.coarse, (64, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(output.scores, enlarged)
    usual = usual_network(noise(2, 3, 64, 48))
    assert usual.coarse is None
    torch.testing.assert_close(usual.scores, output.scores)
    if deep:
        assert output.deep.shape == output.coarse.shape


def test_rows_are_also_tested_at_the_sizes_of_the_second_test() -> None:
    for largest in (1000, 600):
        row, harder = (RECIPES[f"pdanet-r18-ade20k-{largest}{end}"] for end in ("", "-ms"))
        assert harder.same_weights_as == row.name
        sides = [450 * scale for scale in harder.protocol.scales]
        assert sides == pytest.approx([300, 400, 500, 600])
        assert replace(harder.protocol, scales=(1.0,)) == row.protocol


# Stored answers


@torch.no_grad()
def answers() -> dict[str, list[float]]:
    """Return for each output its sum, the sum of its magnitudes, and 12 single scores, by weights drawn from names."""
    found = {}
    variants: dict[str, Architecture] = {head: Architecture(TINY, head) for head in HEADS}  # type: ignore[arg-type]
    variants["text"] = Architecture(TINY, channel_attention="paper", reduction=1)
    variants["deep"] = Architecture(TINY, deep_supervision=True)
    for variant, architecture in variants.items():
        output = drawn(PDANet(5, architecture))(image(65, 97).double())
        given = output.scores if output.deep is None else output.deep
        singles = given.flatten()[:: given.numel() // 12][:12].tolist()
        found[variant] = [float(given.sum()), float(given.abs().sum()), *singles]
    return found


@pytest.mark.slow
def test_answers_are_those_stored() -> None:
    stored = json.loads(STORED.read_text())
    given = answers()
    assert list(given) == list(stored) == [*HEADS, "text", "deep"]
    for name, values in given.items():
        assert len(values) == 14
        assert values == pytest.approx(stored[name], rel=1e-8)


if __name__ == "__main__":
    STORED.write_text(json.dumps(answers(), indent=1) + "\n")
