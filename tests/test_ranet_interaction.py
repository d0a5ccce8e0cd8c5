"""RANet's region interaction against Eq. (6), (7) and (8) written out in loops over regions and pixels, in float64."""

import ast
import inspect
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from papers.ranet import interaction as module
from papers.ranet.interaction import Others, RegionInteraction, Scope, at, representatives
from papers.ranet.regions.construction import Regions, number_regions
from papers.ranet.released import ReleasedInteraction

# Regions of 5 x 6 pixels: some large, one of three pixels, one of a single pixel; those of image 2 are fewer.
MANY = [
    [0, 0, 1, 1, 1, 1],
    [0, 0, 0, 1, 1, 1],
    [2, 0, 0, 1, 3, 1],
    [2, 2, 4, 4, 4, 1],
    [4, 4, 4, 4, 4, 4],
]
FEW = [[0, 0, 0, 1, 1, 1]] * 3 + [[0, 0, 1, 1, 2, 2]] * 2


def regions(*index: list[list[int]], seed: int = 0) -> Regions:
    """Regions with scores J that ask for gradients."""
    generator = torch.Generator().manual_seed(seed)
    given = torch.tensor(index)
    J = (0.3 + 0.7 * torch.rand(given.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    return Regions(given, J, given.flatten(1).amax(dim=1) + 1)


def features(of: Regions, c: int = 3, seed: int = 1) -> Tensor:
    """Features A of the images, asking for gradients."""
    (b, h, w), generator = of.index.shape, torch.Generator().manual_seed(seed)
    return torch.randn(b, c, h, w, generator=generator, dtype=torch.float64).requires_grad_()


def each_pixel() -> Regions:
    return regions(torch.arange(12).view(3, 4).tolist())


# The definitions, region by region


def average(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """sum_i softmax_i(query . key_i) value_i; 0 of nothing."""
    if not keys:
        return torch.zeros_like(query)
    weights = torch.stack([(query * key).sum() for key in keys]).softmax(dim=0)
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def chosen(region: list[int], J: Tensor, K: int) -> dict[int, list[int]]:
    """phi(R_q): for each region its K pixels of the highest J, all in raster order."""
    members: dict[int, list[int]] = {}
    for i, q in enumerate(region):
        members.setdefault(q, []).append(i)
    return {q: sorted(sorted(pixels, key=lambda i: -float(J[i].detach()))[:K]) for q, pixels in members.items()}


def in_regions(
    A: Tensor, J: Tensor, region: list[int], K: int, intra: bool, inter: bool, reading: str = "sum"
) -> Tensor:
    """O (n c) of one image's A (n c) and J (n), Eq. (6) to (8) as printed, or with another sum in Eq. (7)."""
    phi = chosen(region, J, K)
    JA = {i: J[i] * A[i] for i in range(len(A))}
    L = {}
    for q, pixels in phi.items():
        others = [i for i in range(len(A)) if region[i] == q and i not in pixels] if intra else []
        for p in pixels:
            L[p] = JA[p] + average(A[p], [JA[i] for i in others], [JA[i] for i in others])  # Eq. (6)
    V = {p: J[p] * L[p] for p in L}
    G = {}
    for q, pixels in phi.items():
        for p in pixels:
            others = [phi[s] for s in phi if s != q] if inter else []
            if reading == "joint":
                others = [[i for of in others for i in of]]
            weight = 1 / max(1, len(phi) - 1) if reading == "mean" else 1
            received = (average(L[p], [V[i] for i in of], [V[i] for i in of]) for of in others)
            G[p] = V[p] + weight * sum(received)  # Eq. (7)
    if not intra:
        return torch.stack([G.get(i, JA[i]) for i in range(len(A))])
    O = []  # noqa: E741
    for i in range(len(A)):
        own = [J[p] * G[p] for p in phi[region[i]]]
        O.append(JA[i] + average(A[i], own, own))  # Eq. (8)
    return torch.stack(O)


def everywhere(A: Tensor, J: Tensor, region: list[int], K: int, intra: bool, inter: bool) -> Tensor:
    """O (n c) as the authors' code has it without its layers: the regions only choose the representatives."""
    assert intra
    assert inter
    all_chosen = sorted(p for pixels in chosen(region, J, K).values() for p in pixels)
    keys = [J[i] * A[i] for i in range(len(A))]
    L = {p: A[p] + average(A[p], keys, list(A)) for p in all_chosen}
    keys = [J[p] * L[p] for p in all_chosen]
    G = {p: L[p] + average(L[p], keys, list(L.values())) for p in all_chosen}
    keys = [J[p] * G[p] for p in all_chosen]
    return torch.stack([A[i] + average(A[i], keys, list(G.values())) for i in range(len(A))])


def interaction(A: Tensor, of: Regions, K: int, scope: Scope) -> Tensor:
    """O by the module, or by the three steps of the authors' code with nothing between them."""
    if scope == "region":
        return RegionInteraction(K)(A, of)
    phi = representatives(of, K)
    G = module.interact(module.collect(A, of, phi, scope), of, phi, scope)
    return module.distribute(A, G, of, phi, scope)


def definition(A: Tensor, of: Regions, K: int, scope: Scope, intra: bool, inter: bool) -> Tensor:
    """O of a batch, image by image."""
    form = in_regions if scope == "region" else everywhere
    images = [
        form(a.flatten(1).T, J.flatten(), index.flatten().tolist(), K, intra, inter)
        for a, J, index in zip(A, of.J, of.index, strict=True)
    ]
    return torch.stack([image.T for image in images]).view_as(A)


def assert_close(ours: Tensor, theirs: Tensor, leaves: list[Tensor], tolerance: float = 1e-12) -> None:
    """Outputs and the gradients of a sum that weighs all their entries differently agree."""
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)
    amounts = torch.linspace(-1, 2, ours.numel(), dtype=ours.dtype).view_as(ours)
    given, expected = (
        torch.autograd.grad(x, leaves, amounts, allow_unused=True, materialize_grads=True) for x in (ours, theirs)
    )
    for x, y in zip(given, expected, strict=True):
        torch.testing.assert_close(x, y, atol=10 * tolerance, rtol=0)


@pytest.fixture(params=[module.TABLE_ENTRIES, 100], ids=["whole", "blocks"])
def table_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Energies in one table, and in blocks of a few rows that are computed again for the backward pass."""
    monkeypatch.setattr(module, "TABLE_ENTRIES", request.param)


# Equal to the definitions


@pytest.mark.parametrize(("intra", "inter"), [(True, True), (False, True), (True, False), (False, False)])
def test_outputs_and_gradients_equal_the_definition(table_sizes: None, intra: bool, inter: bool) -> None:
    of = regions(MANY, FEW)
    A = features(of)
    ours = RegionInteraction(2, intra, inter)(A, of)
    assert_close(ours, definition(A, of, 2, "region", intra, inter), [A, of.J])


@pytest.mark.parametrize("others", ["sum", "mean", "joint"])
def test_the_readings_of_equation_7_equal_their_definitions(table_sizes: None, others: Others) -> None:
    of = regions(MANY, FEW)
    A = features(of)
    theirs = [
        in_regions(a.flatten(1).T, J.flatten(), index.flatten().tolist(), 2, True, True, others).T
        for a, J, index in zip(A, of.J, of.index, strict=True)
    ]
    ours = RegionInteraction(2, others=others)(A, of)
    assert_close(ours, torch.stack(theirs).view_as(A), [A, of.J])


def test_the_steps_of_the_authors_code_equal_their_definition(table_sizes: None) -> None:
    of = regions(MANY, FEW)
    A = features(of)
    assert_close(interaction(A, of, 2, "global"), definition(A, of, 2, "global", True, True), [A, of.J])


@pytest.mark.parametrize("K", [1, 3, 8, 40])
def test_any_number_of_representatives_equals_the_definition(K: int) -> None:
    of = regions(MANY)
    A = features(of)
    assert_close(RegionInteraction(K)(A, of), definition(A, of, K, "region", True, True), [A, of.J])


@pytest.mark.parametrize(
    "build", [lambda: regions([[0] * 4] * 3), each_pixel, lambda: regions([[0]])], ids=["Q = 1", "Q = N", "one pixel"]
)
@pytest.mark.parametrize("K", [1, 8, 12])
@pytest.mark.parametrize("scope", ["region", "global"])
def test_degenerate_regions_equal_the_definition(
    table_sizes: None, build: Callable[[], Regions], K: int, scope: Scope
) -> None:
    of = build()
    A = features(of)
    assert_close(interaction(A, of, K, scope), definition(A, of, K, scope, True, True), [A, of.J])


@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_large_energies_give_finite_numbers(scale: float) -> None:
    of = regions(MANY, FEW)
    of = of._replace(J=of.J.detach().float().requires_grad_())
    A = (scale * features(of).detach().float()).requires_grad_()
    O = RegionInteraction(2, inter=False)(A, of)  # noqa: E741
    gradients = torch.autograd.grad(O.sum(), (A, of.J))
    assert all(x.isfinite().all() for x in (O, *gradients))
    expected = definition(A.detach().double(), of._replace(J=of.J.detach().double()), 2, "region", True, False)
    torch.testing.assert_close(O.double(), expected, rtol=1e-4, atol=1e-4 * scale)


# Symmetries


@pytest.mark.parametrize("scope", ["region", "global"])
def test_names_of_regions_do_not_matter(scope: Scope) -> None:
    of = regions(MANY, FEW)
    A = features(of)
    renamed = of._replace(index=torch.stack([torch.tensor([3, 0, 4, 2, 1])[of.index[0]], 2 - of.index[1]]))
    assert_close(interaction(A, renamed, 2, scope), interaction(A, of, 2, scope), [A, of.J], 1e-13)


@pytest.mark.parametrize("scope", ["region", "global"])
def test_a_batch_equals_its_images(scope: Scope) -> None:
    of = regions(MANY, FEW, [[0] * 6] * 5)
    A = features(of)
    alone = [interaction(A[n : n + 1], Regions(*(x[n : n + 1] for x in of)), 4, scope) for n in range(3)]
    assert_close(interaction(A, of, 4, scope), torch.cat(alone), [A, of.J], 1e-13)


def test_only_representatives_are_updated_without_collection_and_distribution() -> None:
    of = regions(MANY)
    A = features(of)
    phi = representatives(of, 2)
    changed = (RegionInteraction(2, intra=False)(A, of) - of.J[:, None] * A).abs().amax(dim=1).flatten() > 0
    assert changed.nonzero().flatten().tolist() == phi.position[0].tolist()


def test_regions_do_not_meet_without_interaction() -> None:
    of = regions(FEW)
    A = features(of)
    inside = RegionInteraction(2, inter=False)(A, of)[0, :, of.index[0] == 0]
    (dA,) = torch.autograd.grad(inside.sum(), A)
    assert (dA[0, :, of.index[0] == 0] != 0).all()
    assert (dA[0, :, of.index[0] != 0] == 0).all()


# The representatives


def test_representatives_are_the_pixels_of_the_highest_scores_in_raster_order() -> None:
    of = regions(MANY, FEW)
    phi = representatives(of, 2)
    for n in range(2):
        expected = chosen(of.index[n].flatten().tolist(), of.J[n].flatten(), 2)
        pixels = sorted(p for of_one in expected.values() for p in of_one)
        assert phi.position[n][phi.valid[n]].tolist() == pixels
        assert phi.region[n][phi.valid[n]].tolist() == of.index[n].flatten()[pixels].tolist()
    assert phi.valid.sum(dim=1).tolist() == [9, 6]  # 2 + 2 + 2 + 1 + 2, and 2 + 2 + 2
    assert phi.valid.shape == (2, 9)
    assert (phi.position[~phi.valid] == 0).all()
    assert (phi.region[~phi.valid] == -1).all()


def test_the_first_of_equal_scores_represents() -> None:
    of = Regions(torch.zeros(1, 3, 4, dtype=torch.int64), torch.ones(1, 3, 4), torch.tensor([1]))
    assert representatives(of, 3).position.tolist() == [[0, 1, 2]]


def test_padding_is_zero_after_each_step() -> None:
    of = regions(MANY, FEW)
    A, phi = features(of), representatives(of, 2)
    padding = ~phi.valid[:, None].expand(-1, 3, -1)
    assert padding.any()
    for scope in get_args(Scope):
        L = module.collect(A, of, phi, scope)
        G = module.interact(L, of, phi, scope)
        for x in (at(A, phi), L, G):
            assert (x[padding] == 0).all()
            assert (x[~padding] != 0).all()


# Cost


@pytest.mark.slow
def test_blocks_hold_no_table_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 20 * 20
    monkeypatch.setattr(module, "TABLE_ENTRIES", n * 16)
    of = regions(torch.arange(n).view(20, 20).tolist())  # every pixel represents itself
    A = features(of, c=2)
    with LargestTensor() as mode:
        RegionInteraction(8)(A, of).sum().backward()
    assert mode.entries == n * 16, "the mode must see inside: the largest tensor is one block"


def test_nothing_loops_over_images_or_regions() -> None:
    loops = {
        function.name
        for function in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.For | ast.While | ast.comprehension)
    }
    assert loops == {"representatives", "_attend"}  # over two maps, and over blocks of rows


def test_operators_do_not_grow_with_regions_or_images() -> None:
    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.calls += 1
            return func(*args, **(kwargs or {}))

    counts = []
    for of in (regions(FEW), regions(MANY), regions(MANY, FEW, MANY), each_pixel()):
        A = features(of)
        with Count() as mode:
            RegionInteraction(2)(A, of)
        counts.append(mode.calls)
    assert len(set(counts)) == 1


class Waits(TorchDispatchMode):
    """Counts what would make a CPU wait for a GPU: operators whose results have sizes or values that it must know."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "repeat_interleave", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        indices = args[1] if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put_) else []
        by_mask = any(x is not None and x.dtype == torch.bool for x in indices)
        self.count += by_mask or any(name in func.name() for name in self.NAMES)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["paper", "released"])
def test_a_step_waits_for_the_device_once(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    of = regions(MANY, FEW)
    A = features(of).detach().requires_grad_()
    network = RegionInteraction(3) if kind == "paper" else ReleasedInteraction(3, 3).double()
    lists = []
    tolist = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda x: lists.append(x) or tolist(x))
    with Waits() as waits:
        number_regions(of.index)
        network(A, of).square().sum().backward()
    assert len(lists) + waits.count == 1
    with Waits() as waits:
        int(A.sum())
        A[A > 0].sum()
    assert waits.count == 2, "the mode must see what waits"


def test_everything_is_float32_under_autocast() -> None:
    of = regions(MANY)
    of = of._replace(J=of.J.detach().float())
    A = features(of, c=32).detach().bfloat16()
    network = RegionInteraction(2)
    expected = network(A.float(), of)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = network(A, of)
    assert given.dtype == torch.float32
    assert torch.equal(given, expected)


# Errors


def test_impossible_arguments_are_refused(no_type_checks: None) -> None:
    with pytest.raises(ValueError, match="at least one representative per region, got 0"):
        RegionInteraction(0)
    of = regions(MANY)
    with pytest.raises(ValueError, match="K = 0"):
        representatives(of, 0)
