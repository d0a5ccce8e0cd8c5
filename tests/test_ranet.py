"""RANet around its regions: network, baselines, released layers, objective, and what it answered before.

Its equations are held in test_ranet_construction.py and test_ranet_interaction.py, its boundary labels in
test_ranet_boundaries.py, its rows in test_ranet_recipes.py, its pictures in test_ranet_figures.py. `python
tests/test_ranet.py` stores the answers again in `stored/ranet.json`, after a change meant to move them.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

import pytest
import tiny
import torch
from seeded import image, noise, weights
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import papers.ranet
from core import launch
from core.networks.backbones import Backbone
from core.networks.blocks import AtrousSpatialPyramidPooling
from core.recipe import Augmentation, Data
from core.training.loop import train
from papers.ranet import complexity
from papers.ranet.baselines import HighResolutionRepresentation, NonLocalAttention, SpatialPyramidPooling
from papers.ranet.boundaries import boundary_labels
from papers.ranet.interaction import representatives
from papers.ranet.loss import loss
from papers.ranet.model import Architecture, CoarseSegmentation, Output, RANet, construct_within_bounds
from papers.ranet.recipes import PAPER, RECIPES, RELEASED
from papers.ranet.regions.construction import RegionConstruction, Regions
from papers.ranet.released import ListLayer, ReleasedInteraction

STORED = Path(__file__).parent / "stored" / "ranet.json"
TINY = Backbone("resnet10_tiny")
VARIANTS: dict[str, Architecture] = {
    "paper": Architecture(TINY),
    "released": Architecture(TINY, reading="released"),
    "boundary": Architecture(TINY, semantic_map=False),
    "semantic": Architecture(TINY, boundary_map=False),
    "no intra": Architecture(TINY, intra=False),
    "no inter": Architecture(TINY, inter=False),
    "non-local": Architecture(TINY, context="non-local"),
    "spp": Architecture(TINY, context="spp"),
    "none": Architecture(TINY, context="none"),
}
WITH_REGIONS = [name for name, architecture in VARIANTS.items() if architecture.context == "regions"]

Module = TypeVar("Module", bound=nn.Module)

SURE = 100.0  # what the classifiers of RCB are multiplied by


def drawn(module: Module) -> Module:
    """Give a module float64 weights drawn from their names, and put it into evaluation mode.

    Classifiers are scaled so that pixels are sure enough of their classes to fall into several regions.
    """
    module.load_state_dict(weights({key: tuple(value.shape) for key, value in module.state_dict().items()}))
    for name, parameter in module.named_parameters():
        if name == "construct.weight":
            nn.init.ones_(parameter)
        elif name == "construct.bias":
            nn.init.zeros_(parameter)
        elif name.startswith("heads.") and parameter.ndim == 4 and "trunk" not in name:
            parameter.data *= SURE
    return module.double().eval()


def regions_of(index: Tensor, J: Tensor) -> Regions:
    """Return regions with the given numbers, counted for each image."""
    return Regions(index, J, index.flatten(1).amax(dim=1) + 1)


def few_regions() -> Regions:
    """Return the regions of two images of 4 x 5 pixels: of 9, 10 and 1 pixels, and of 20."""
    index = torch.zeros(2, 4, 5, dtype=torch.int64)
    index[0, :2, 1:] = 1
    index[0, 2, :2] = 1
    index[0, 3, 4] = 2
    return regions_of(index, (0.5 + noise(2, 4, 5).sigmoid() / 2).double())


def labels_with_ignored() -> Tensor:
    labels = (torch.arange(2 * 65 * 97).reshape(2, 65, 97) // 700) % 5
    labels[:, 20:24] = 255
    return labels


# The network


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_comes_out(variant: str) -> None:
    output = drawn(RANet(5, VARIANTS[variant]))(image(65, 97).double())
    assert output.scores.shape == (1, 5, 65, 97)
    if variant in WITH_REGIONS:
        assert output.coarse.shape == output.scores.shape
        assert output.boundary.shape == output.coarse_boundary.shape == (1, 2, 65, 97)
    else:
        assert output[1:] == (None, None, None)


@pytest.mark.parametrize("context", ["regions", "non-local", "spp", "identity", "none"])
@pytest.mark.parametrize("supervised", ["regions", "all", "none"])
def test_any_network_can_have_the_losses_of_regions(context: Any, supervised: Any) -> None:
    network = drawn(RANet(5, Architecture(TINY, context=context, supervised=supervised)))
    output = network(image(65, 97).double())
    given = supervised == "all" or (supervised == "regions" and context == "regions")
    assert [value is not None for value in output[1:]] == [given] * 3
    assert (network.construct is not None) == (context == "regions")


def test_the_size_of_regions_is_observed() -> None:
    network = drawn(RANet(5, VARIANTS["paper"])).train()
    regions = network.analyse(noise(2, 3, 65, 97).double()).regions
    sizes = [9 * 13 / number for number in regions.number.tolist()]
    assert float(network.positions_in_a_region) == pytest.approx(sum(sizes) / 2)
    assert sizes[0] != 9 * 13


@torch.no_grad()
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_network_is_its_parts(variant: str) -> None:
    network = drawn(RANet(5, VARIANTS[variant]))
    picture = image(65, 97).double()
    *_, C3, C4 = network.backbone(picture)
    A = network.reduce(C4)
    boundary, semantic = network.heads(C3 if variant == "released" else A)
    regions = network.construct(boundary.float().softmax(1)[:, 1], semantic.float().softmax(1))
    assert regions.number.min() > 3
    features = network.fuse(torch.cat([A, network.gather(A, regions)], dim=1))

    def enlarged(scores: Tensor) -> Tensor:
        return functional.interpolate(scores, (65, 97), mode="bilinear", align_corners=True)

    output = network(picture)
    expected = (network.classify(features), semantic, network.classify_boundary(features), boundary)
    for given, scores in zip(output, expected, strict=True):
        assert torch.equal(given, enlarged(scores))
    assert A.shape[1] == C4.shape[1] // 4


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_is_its_images_one_by_one(variant: str) -> None:
    network = drawn(RANet(5, VARIANTS[variant]))
    batch = noise(3, 3, 65, 97).double()
    for one, both in zip(network(batch), zip(*(network(part) for part in batch.split(1)), strict=True), strict=True):
        if one is not None:
            torch.testing.assert_close(one, torch.cat(both), rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns(variant: str) -> None:
    network = drawn(RANet(5, VARIANTS[variant])).train()
    sum(loss(network(noise(2, 3, 65, 97).double()), labels_with_ignored()).values()).backward()
    silent = {name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()}
    assert silent == ({"construct.bias"} if network.construct is not None and variant != "released" else set())
    assert all(value.requires_grad == (name not in silent) for name, value in network.named_parameters())


@pytest.mark.parametrize(
    ("variant", "reached"),
    [("paper", {"boundary", "semantic"}), ("boundary", {"boundary"}), ("semantic", {"semantic"})],
)
def test_the_scores_train_the_score_maps_that_make_regions(variant: str, reached: set[str]) -> None:
    """Through J alone: grouping and the choice of representatives have no gradient."""
    network = drawn(RANet(5, VARIANTS[variant])).train()
    network(noise(2, 3, 65, 97).double()).scores.square().mean().backward()
    grads = {
        name: None if head[1].weight.grad is None else head[1].weight.grad.any()
        for name, head in network.heads.named_children()
    }
    assert {name for name, grad in grads.items() if grad} == reached


@torch.no_grad()
def test_the_coarse_segmentation_is_that_of_the_score_maps(tmp_path: Path) -> None:
    network = drawn(RANet(5, VARIANTS["paper"])).float()
    network.save_pretrained(tmp_path)
    coarse = CoarseSegmentation.from_pretrained(tmp_path)
    output = coarse(image(65, 97))
    assert torch.equal(output.scores, network(image(65, 97)).coarse)
    assert output[1:] == (None, None, None)
    with pytest.raises(ValueError, match=r"no coarse segmentation"):
        CoarseSegmentation(5, VARIANTS["spp"]).eval()(image(65, 97))


@pytest.mark.slow
def test_the_command_tests_the_coarse_rows_by_the_score_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = [name for name in RECIPES if name.endswith("-coarse-segmentation")]
    assert len(coarse) == 3
    used = {}

    def remember(kind: type, options: Any) -> None:
        used[options.recipe.name] = kind

    monkeypatch.setattr(launch, "evaluate_checkpoint", remember)
    for name in ("ranet-r101-cityscapes", *coarse):
        monkeypatch.setattr("sys.argv", ["evaluate.py", name])
        launch.evaluate(PAPER)
    assert used == {"ranet-r101-cityscapes": RANet, **dict.fromkeys(coarse, CoarseSegmentation)}


@pytest.mark.slow
def test_an_hrnet_has_one_map_at_stride_8() -> None:
    architecture = Architecture(Backbone("hrnet_w48", output_stride=32), context="spp")
    with torch.device("meta"):
        network = RANet(19, architecture).eval()
        maps = network.backbone(torch.empty(1, 3, 769, 520))
        A = network.analyse(torch.empty(1, 3, 769, 520)).A
    assert network.resolutions.channels == 720
    assert network.resolutions(maps).shape == (1, 720, 97, 65)
    assert A.shape == (1, 512, 97, 65)
    with pytest.raises(ValueError, match=r"C3 of a ResNet.*HRNet"):
        RANet(19, Architecture(architecture.backbone, reading="released"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("variant", ["paper", "released", "non-local"])
def test_half_precision_is_finite(variant: str, dtype: torch.dtype) -> None:
    network = drawn(RANet(5, VARIANTS[variant])).float().train()
    with torch.autocast("cpu", dtype=dtype):
        output = network(noise(2, 3, 65, 97))
        terms = loss(output, labels_with_ignored())
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values())
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"context": "region"}, r"context must be one of regions, non-local, spp, identity, none, got 'region'"),
        ({"reading": "text"}, r"reading must be one of paper, released, got 'text'"),
        ({"boundary_map": False, "semantic_map": False}, r"got neither"),
        ({"reading": "released", "inter": False}, r'for reading="paper"'),
        ({"reading": "released", "kernel": 5}, r"kernel must be one of 1, 3, got 5"),
        ({"representatives": 0}, r"at least one representative"),
        ({"other_regions": "each"}, r"must be one of sum, mean, joint, got 'each'"),
        ({"score_maps": "res5"}, r"must be one of A, res4, got 'res5'"),
        ({"supervised": "yes"}, r"must be one of regions, all, none, got 'yes'"),
        ({"reading": "released", "representatives": 0}, r"at least one representative"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RANet(5, Architecture(TINY, **fields))


# Number of regions


def test_the_number_of_regions_is_that_of_the_last_training_batch() -> None:
    network = drawn(RANet(5, VARIANTS["paper"]))
    batch = noise(2, 3, 65, 97).double()
    network(batch)
    assert network.number_of_regions == 0
    number = network.train().analyse(batch).regions.number
    assert number.float().mean() > 1
    assert network.number_of_regions == number.double().mean()
    assert "number_of_regions" not in network.state_dict()


@pytest.mark.slow
def test_runs_record_the_number_of_regions_and_go_on_bit_for_bit(tmp_path: Path) -> None:
    what: Any = dataclasses.replace(
        tiny.recipe(learning_rate=0.02, length=3),
        architecture=VARIANTS["paper"],
        data=Data("scenes", num_classes=10, test="test"),
        augmentation=Augmentation(crop=40),
    )
    train(tiny.begin(tmp_path / "whole", what, loss, build=RANet, threads=1))
    whole = tiny.left(tmp_path / "whole" / tiny.NAME)
    lines = [line for line in whole["metrics"] if "loss" in line]
    assert [list(line["observed"]) for line in lines] == [["number_of_regions", "positions_in_a_region"]] * 3
    assert all(1 <= line["observed"]["number_of_regions"] <= 25 for line in lines)
    assert set(lines[0]["terms"]) == {"scores", "coarse", "boundary", "coarse_boundary"}
    assert set(lines[0]["scalars"]) == {"construct.weight", "construct.bias"}

    steps: list[Tensor] = []

    def until_killed(output: Output, labels: Tensor) -> dict[str, Tensor]:
        steps.append(labels)
        if len(steps) == 3:
            raise tiny.Killed
        return loss(output, labels)

    with pytest.raises(tiny.Killed):
        train(tiny.begin(tmp_path / "killed", what, until_killed, build=RANet, threads=1))
    train(tiny.begin(tmp_path / "killed", what, loss, build=RANet, threads=1))
    assert tiny.differing(whole, tiny.left(tmp_path / "killed" / tiny.NAME)) == []


@torch.no_grad()
def test_boundaries_alone_leave_one_region() -> None:
    """There is nothing between a pixel and its neighbour, so each follows the one before it, whatever B is."""
    network = drawn(RANet(5, VARIANTS["boundary"]))
    analysis = network.analyse(noise(2, 3, 65, 97).double())
    assert analysis.boundary.softmax(1)[:, 1].mean() > 0.9
    assert analysis.regions.number.tolist() == [1, 1]


# W^g


@pytest.mark.parametrize(("given", "kept"), [(-0.4, 0.0), (0.0, 0.0), (0.3, 0.3), (1.0, 1.0), (1.7, 1.0)])
def test_the_regularised_attention_stays_between_0_and_1(given: float, kept: float) -> None:
    B, C = noise(1, 4, 5).sigmoid().double(), noise(1, 3, 4, 5).double().softmax(1)
    construct = RegionConstruction().double()
    identity = construct(B, C)
    assert identity.number < 20  # or J would be 1 whatever W^g
    nn.init.constant_(construct.weight, given)
    J = construct_within_bounds(construct.eval(), B, C).J
    assert construct.weight.item() == pytest.approx(given)  # testing changes nothing
    assert 0 <= J.min() <= J.max() <= 1
    if kept == 1:
        assert torch.equal(J, identity.J)
    if kept == 0:
        assert torch.equal(J, torch.ones_like(J))
    construct.train().zero_grad()
    trained = construct_within_bounds(construct, B, C).J
    assert torch.equal(trained, J)
    assert (construct.weight.item(), construct.bias.item()) == pytest.approx((kept, 1 - kept))
    (trained * noise(1, 4, 5).double()).sum().backward()
    assert construct.weight.grad != 0  # it can leave the bounds' edge again


# The layers of the released code


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_list_layer_sees_each_list_alone(kernel: Any) -> None:
    layer = drawn(ListLayer(6, kernel))
    phi = representatives(few_regions(), 4)
    assert phi.valid.sum(dim=1).tolist() == [9, 4]
    L = noise(2, 6, 9).double() * phi.valid[:, None]
    found = layer(L, phi)
    for number, length in enumerate((9, 4)):
        alone = functional.conv2d(L[number : number + 1, :, :length, None], layer.convolve.weight, padding=kernel // 2)
        expected = functional.leaky_relu(layer.normalise(alone[..., 0]), 0.01)
        torch.testing.assert_close(found[number : number + 1, :, :length], expected, rtol=0, atol=1e-12)
    assert not found[1, :, 4:].any()


@torch.no_grad()
def test_padding_is_not_in_the_statistics_of_a_list_layer() -> None:
    layer = drawn(ListLayer(6, 1)).train()
    phi = representatives(few_regions(), 4)
    L = noise(2, 6, 9).double() * phi.valid[:, None]
    found = layer(L, phi)
    entries = torch.cat([L[0], L[1, :, :4]], dim=1)
    convolved = torch.einsum("oc,cn->on", layer.convolve.weight[:, :, 0, 0], entries)
    centred = (convolved - convolved.mean(1, True)) / (convolved.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = functional.leaky_relu(layer.normalise.weight[:, None] * centred + layer.normalise.bias[:, None], 0.01)
    torch.testing.assert_close(torch.cat([found[0], found[1, :, :4]], dim=1), expected, rtol=0, atol=1e-12)


def released_sums(module: ReleasedInteraction, X: Tensor, J: Tensor, chosen: list[int]) -> Tensor:
    """Return O of one image, 1 c h w, by the sums of the docstring, where `chosen` are its representatives."""
    h, w = X.shape[-2:]
    Q, V = (part(X)[0].flatten(1).T for part in (module.to_query, module.to_value))
    J = J.flatten()

    def attend(query: Tensor, keys: list[tuple[float, Tensor]]) -> Tensor:
        energies = torch.stack([query @ (weight * key) for weight, key in keys]).softmax(0)
        return query + sum(energy * key for energy, (_, key) in zip(energies, keys, strict=True))

    def layer(part: ListLayer, rows: list[Tensor]) -> list[Tensor]:
        convolved = part.convolve(torch.stack(rows, dim=1)[None, :, :, None])[..., 0]
        return list(functional.leaky_relu(part.normalise(convolved), 0.01)[0].T)

    pixels = [(float(J[i]), V[i]) for i in range(h * w)]
    L = layer(module.after_collection, [attend(V[p], pixels) for p in chosen])
    lists = [(float(J[p]), row) for p, row in zip(chosen, L, strict=True)]
    G = layer(module.after_interaction, [attend(row, lists) for row in L])
    lists = [(float(J[p]), row) for p, row in zip(chosen, G, strict=True)]
    rows = torch.stack([attend(Q[i], lists) for i in range(h * w)], dim=1)
    return module.after_distribution(rows.reshape(1, -1, h, w))


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_released_interaction_is_its_sums(kernel: Any) -> None:
    module = drawn(ReleasedInteraction(6, representatives=3, kernel=kernel))
    regions = few_regions()
    X = 0.5 * noise(2, 6, 4, 5).double()
    phi = representatives(regions, 3)
    O = module(X, regions)  # noqa: E741
    for number, length in enumerate((7, 3)):
        chosen = phi.position[number, :length].tolist()
        expected = released_sums(module, X[number : number + 1], regions.J[number], chosen)
        torch.testing.assert_close(O[number : number + 1], expected, rtol=0, atol=1e-11)


# The baselines


@torch.no_grad()
def test_spatial_pyramid_pooling_enlarges_the_means_of_bins() -> None:
    module = drawn(SpatialPyramidPooling(8))
    A = noise(2, 8, 12, 6).double()
    parts = []
    for bins, level in zip((1, 2, 3, 6), module.levels, strict=True):
        means = A.reshape(2, 8, bins, 12 // bins, bins, 6 // bins).mean(dim=(3, 5))
        parts.append(functional.interpolate(level(means), (12, 6), mode="bilinear", align_corners=True))
    torch.testing.assert_close(module(A), torch.cat(parts, dim=1), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"divisible by 4, got 6"):
        SpatialPyramidPooling(6)


@torch.no_grad()
def test_non_local_attention_is_its_sums() -> None:
    A = 0.5 * noise(2, 8, 3, 5).double()
    assert torch.equal(NonLocalAttention(8).double()(A), A)
    module = drawn(NonLocalAttention(8))
    q, k, v = (part(A).flatten(2) for part in (module.to_q, module.to_k, module.to_v))
    P = torch.einsum("bci,bcj->bij", q, k).softmax(dim=2)
    gathered = torch.einsum("bij,bcj->bci", P, v).reshape(2, 4, 3, 5)
    torch.testing.assert_close(module(A), A + module.project(gathered), rtol=0, atol=1e-12)


@torch.no_grad()
def test_atrous_pyramid_and_resolutions_side_by_side() -> None:
    pyramid = drawn(AtrousSpatialPyramidPooling(6, width=10, branch=4))
    features = noise(1, 6, 7, 9).double()
    assert [branch[0].dilation for branch in pyramid.dilated] == [(12, 12), (24, 24), (36, 36)]
    middle = torch.zeros(4, 4, dtype=torch.float64)  # farther than the map, every dilated kernel sees its centre alone
    for branch in pyramid.dilated:
        alone = functional.conv2d(features, branch[0].weight[:, :, 1:2, 1:2])
        torch.testing.assert_close(branch[0](features), alone, rtol=0, atol=1e-12)
        middle += alone.new_zeros(4, 4)
    assert pyramid(features).shape == (1, 10, 7, 9)

    representation = drawn(HighResolutionRepresentation((2, 3, 4, 5)))
    maps = [noise(1, c, 8 * 4 // s, 12 * 4 // s).double() for c, s in zip((2, 3, 4, 5), (4, 8, 16, 32), strict=True)]
    larger = [functional.interpolate(map_, (8, 12), mode="bilinear", align_corners=True) for map_ in maps[1:]]
    mixed = representation.mix(torch.cat([maps[0], *larger], dim=1))
    expected = mixed.unflatten(2, (4, 2)).unflatten(4, (6, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(representation(maps), expected, rtol=0, atol=1e-12)
    odd = [map_[..., :-1] for map_ in maps[:1]] + maps[1:]  # the last column alone, where there are an odd number
    larger = [functional.interpolate(map_, (8, 11), mode="bilinear", align_corners=True) for map_ in maps[1:]]
    last = representation.mix(torch.cat([odd[0], *larger], dim=1))[..., -1].unflatten(2, (4, 2)).mean(dim=3)
    torch.testing.assert_close(representation(odd)[..., -1], last, rtol=0, atol=1e-12)


# The objective


def test_the_objective_has_four_terms_with_regions_and_one_without() -> None:
    labels = labels_with_ignored()
    scores, coarse = noise(2, 5, 65, 97), noise(2, 5, 65, 97, seed=1)
    boundary, coarse_boundary = noise(2, 2, 65, 97, seed=2), noise(2, 2, 65, 97, seed=3)
    boundaries = boundary_labels(labels)
    assert set(boundaries.unique().tolist()) == {0, 1, 255}

    def plain(given: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(given, wanted, ignore_index=255)

    terms = loss(Output(scores, coarse, boundary, coarse_boundary), labels)
    expected = {
        "scores": plain(scores, labels),
        "coarse": 0.4 * plain(coarse, labels),
        "boundary": 0.2 * plain(boundary, boundaries),
        "coarse_boundary": 0.08 * plain(coarse_boundary, boundaries),
    }
    assert list(terms) == list(expected)
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name])
    assert list(loss(Output(scores), labels)) == ["scores"]


# Sizes


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "block", "whole"), [(3, 25.97, 73.33), (1, 21.78, 69.13)])
def test_parameters_of_the_released_reading(kernel: Any, block: float, whole: float) -> None:
    with torch.device("meta"):
        network = RANet(19, dataclasses.replace(RELEASED, kernel=kernel))
    assert round(complexity.overhead(kernel, 188, on_res5=True)[0], 2) == block
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == whole


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(context="none"),
        Architecture(context="spp"),
        Architecture(context="non-local"),
        Architecture(),
        Architecture(reading="released"),
        Architecture(reading="released", kernel=1),
    ],
    ids=str,
)
def test_the_readme_says_what_is_counted(architecture: Architecture) -> None:
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in RANet(19, architecture).parameters())
    text = (Path(papers.ranet.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert f"| {counted / 1e6:.3f} M |\n" in text


def test_the_paper_reading_adds_no_layer_of_its_own() -> None:
    with torch.device("meta"):
        network = RANet(19, RECIPES["ranet-r101-cityscapes"].architecture)
    assert not list(network.gather.parameters())
    assert sorted(name for name, _ in network.construct.named_parameters()) == ["bias", "weight"]


def test_the_formula_of_the_products_is_what_is_computed() -> None:
    module = ReleasedInteraction(8, representatives=3)
    regions = regions_of(few_regions().index, few_regions().J.float())
    with FlopCounterMode(display=False) as counter:
        module.eval()(noise(2, 8, 4, 5)[:1], Regions(*(part[:1] for part in regions)))
    r, n, c = 7, 20, 8
    convolutions = 3 * 9 * c * c * n + 2 * 9 * c * c * r
    assert counter.get_total_flops() == 2 * (convolutions + 2 * r * c * (2 * n + r))


# Stored answers


@torch.no_grad()
def answers() -> dict[str, list[float]]:
    """Return for each variant the sum of its scores, that of their magnitudes, and 12 single ones."""
    found = {}
    for name, architecture in VARIANTS.items():
        scores = drawn(RANet(5, architecture))(image(65, 97).double()).scores
        singles = scores.flatten()[:: scores.numel() // 12][:12].tolist()
        found[name] = [float(scores.sum()), float(scores.abs().sum()), *singles]
    return found


@pytest.mark.slow
def test_answers_are_those_stored() -> None:
    stored = json.loads(STORED.read_text())
    given = answers()
    assert list(given) == list(stored) == list(VARIANTS)
    for name, values in given.items():
        assert len(values) == 14
        assert values == pytest.approx(stored[name], rel=1e-6)


if __name__ == "__main__":
    STORED.write_text(json.dumps(answers(), indent=1) + "\n")
