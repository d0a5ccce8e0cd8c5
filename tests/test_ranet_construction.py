"""RANet's region construction against Eq. (1) to (5) written out in loops over all pairs of pixels, in float64."""

from typing import NamedTuple

import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode

from papers.ranet.regions import equations, pairs, tiles
from papers.ranet.regions.construction import Reading, RegionConstruction, Regions, number_regions
from papers.ranet.regions.divergence import JensenShannon
from papers.ranet.regions.lines import Lines
from papers.ranet.regions.tiles import Tile


class Form(NamedTuple):
    """What D and E are."""

    reading: Reading = "paper"
    boundary: bool = True
    semantic: bool = True


Maps = tuple[Tensor, Tensor]


def maps(images: int = 1, k: int = 4, h: int = 4, w: int = 7, seed: int = 0, spread: float = 2.0) -> Maps:
    """Boundary and class probabilities that ask for gradients."""
    generator = torch.Generator().manual_seed(seed)
    B = 0.6 * torch.rand(images, h, w, generator=generator, dtype=torch.float64)
    C = (spread * torch.randn(images, k, h, w, generator=generator, dtype=torch.float64)).softmax(dim=1)
    return B.requires_grad_(), C.requires_grad_()


def scene(h: int, w: int, k: int, seed: int = 0) -> Maps:
    """Rectangles of classes with edges between them, neither of them certain, in float64."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(k, (1, -(-h // 6), -(-w // 5)), generator=generator)
    labels = blocks.repeat_interleave(6, dim=1)[:, :h].repeat_interleave(5, dim=2)[..., :w]
    C = 5.0 * torch.nn.functional.one_hot(labels, k).movedim(3, 1) + torch.randn(1, k, h, w, generator=generator)
    across = torch.nn.functional.pad((labels[:, :, 1:] != labels[:, :, :-1]).double(), (0, 1))
    noise = torch.rand(1, h, w, generator=generator, dtype=torch.float64)
    return (0.7 * across + 0.2 * noise).requires_grad_(), C.double().softmax(dim=1).requires_grad_()


# The definitions, pair by pair


def line_maximum(B: Tensor, i: tuple[int, int], j: tuple[int, int]) -> Tensor:
    """D_ij, Eq. (1): the largest sample at unit steps of the longer axis, strictly between i and j."""
    (y, x), dy, dx = i, j[0] - i[0], j[1] - i[1]
    length = max(abs(dy), abs(dx))
    samples = []
    for t in range(1, length):
        if abs(dy) >= abs(dx):
            column, part = divmod(x * length + t * dx, length)
            ends = [B[y + t * dy // length, c] for c in (column, min(column + 1, B.shape[1] - 1))]
        else:
            row, part = divmod(y * length + t * dy, length)
            ends = [B[r, x + t * dx // length] for r in (row, min(row + 1, B.shape[0] - 1))]
        samples.append((1 - part / length) * ends[0] + part / length * ends[1])
    return torch.stack(samples).max(dim=0).values if samples else B.new_zeros(())


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """E_ij of the paper, Eq. (2), in bits."""
    U = (p + q) / 2
    return (p * (p / U).log2() + q * (q / U).log2()).sum() / 2


def top_class(p: Tensor, q: Tensor) -> Tensor:
    """E_ij as released: of the most probable class of i alone, in nats."""
    c = int(p.argmax())
    P, Q = (torch.stack([inside, 1 - inside]) for inside in (p[c].clamp(0.001, 0.99), q[c].clamp(0.001, 0.99)))
    M = (P + Q) / 2
    return (P * (P / M).log() + Q * (Q / M).log()).sum() / 2


def tables(B: Tensor, C: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """D and E of all pairs of one image, pair by pair."""
    h, w = B.shape[1:]
    pixels = [(y, x) for y in range(h) for x in range(w)]
    difference = jensen_shannon if form.reading == "paper" else top_class
    zero = B.new_zeros(())
    D = [line_maximum(B[0], i, j) if form.boundary else zero for i in pixels for j in pixels]
    E = [
        difference(C[0, :, i[0], i[1]], C[0, :, j[0], j[1]]) if form.semantic else zero for i in pixels for j in pixels
    ]
    return torch.stack(D).view(h * w, h * w), torch.stack(E).view(h * w, h * w)


def definition(B: Tensor, C: Tensor, form: Form, threshold: float, w: Tensor, b: Tensor) -> tuple[list[int], Tensor]:
    """The region of each pixel and J of one image: Eq. (3), (4), (5)."""
    D, E = tables(B, C, form)
    F = w * (1 - D) * (1 - E) + b
    pixels = range(len(F))
    grouped = (threshold < (F + F.T) / 2).tolist()
    root = []
    for i in pixels:
        followed = next((j for j in range(i) if grouped[i][j]), i)
        root.append(i if followed == i else root[followed])
    names = sorted(set(root))
    region = [names.index(r) for r in root]
    J = []
    for i in pixels:
        own = [j for j in pixels if region[j] == region[i]]
        J.append(F[i, own].sum() / len(own))
    return region, torch.stack(J)


def fast_tables(B: Tensor, C: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """D and E of all pairs of one image, written down tile by tile; the diagonal, and pairs left out, are NaN."""
    number = torch.arange(B[0].numel()).view_as(B)
    D, E = torch.full((2, B[0].numel(), B[0].numel()), torch.nan, dtype=B.dtype)
    for half in pairs.halves(B, C, form):
        numbers = half.turn(number)
        for of_length, all_tiles in half.lengths():
            for tile in all_tiles:
                kept = half.pairs(tile)[None].expand(tile.size(1))
                i, j = (side(numbers).expand(kept.shape)[kept] for side in (tile.start, tile.end))
                assert D[i, j].isnan().all(), "a pair is taken twice"
                D[i, j] = D[j, i] = of_length.maxima(tile).expand(kept.shape)[kept]
                E[i, j], E[j, i] = (x.expand(kept.shape)[kept] for x in half.divergence.tile(tile))
    return D, E


@pytest.fixture(params=[tiles.CPU_ENTRIES, 50], ids=["whole", "cut"])
def tile_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of the real size, which hold everything here, and small ones."""
    monkeypatch.setattr(tiles, "CPU_ENTRIES", request.param)


# D and E


@pytest.mark.parametrize("reading", ["paper", "released"])
@pytest.mark.parametrize(("h", "w"), [(4, 7), (7, 4), (1, 6), (6, 1)])
def test_d_and_e_equal_the_definitions(tile_sizes: None, reading: Reading, h: int, w: int) -> None:
    B, C = (x.detach() for x in maps(h=h, w=w))
    form = Form(reading, True, True)
    D, E = tables(B, C, form)
    fast = fast_tables(B, C, form)
    off_diagonal = ~torch.eye(h * w, dtype=torch.bool)
    torch.testing.assert_close(fast[0][off_diagonal], D[off_diagonal], atol=1e-14, rtol=0)
    torch.testing.assert_close(fast[1][off_diagonal], E[off_diagonal], atol=1e-14, rtol=0)
    torch.testing.assert_close(D, D.T, atol=1e-14, rtol=0)  # the definition is symmetric, so each pair is taken once


def test_d_reaches_the_last_row_and_column() -> None:
    B, C = torch.ones(1, 5, 5), torch.full((1, 2, 5, 5), 0.5)
    D, _ = fast_tables(B, C, Form())
    number = torch.arange(25).view(5, 5)
    for edge in (number[0], number[-1], number[:, 0], number[:, -1]):
        ends = D[edge[0], edge[2:]]
        assert ends.tolist() == [1.0, 1.0, 1.0]


def test_d_of_the_eight_neighbours_is_zero() -> None:
    B, C = torch.ones(1, 3, 3), torch.full((1, 2, 3, 3), 0.5)
    D, _ = fast_tables(B, C, Form())
    assert D[4, torch.arange(9) != 4].tolist() == [0.0] * 8
    assert D[0, 8] == 1  # across the middle


def test_the_divergence_of_the_paper_lies_between_0_and_1_and_is_symmetric() -> None:
    C = torch.rand(1, 19, 5, 6).mul(20).softmax(dim=1)
    C[0, :, 0, 0] = torch.eye(19)[3]
    C[0, :, 4, 5] = torch.eye(19)[7]
    C[0, :, 2, 2] = C[0, :, 3, 1]
    _, E = fast_tables(torch.zeros(1, 5, 6), C, Form())
    E.fill_diagonal_(0)
    assert 0 <= E.min() <= E.max() <= 1
    assert torch.equal(E, E.T)
    assert E[0, 29] == pytest.approx(1, abs=1e-6)  # certain of different classes
    assert E[14, 19] == pytest.approx(0, abs=1e-6)  # the same distribution


def test_the_released_divergence_is_not_symmetric_and_bounded() -> None:
    C = torch.rand(1, 6, 5, 6, dtype=torch.float64).mul(20).softmax(dim=1)
    _, E = fast_tables(torch.zeros(1, 5, 6, dtype=torch.float64), C, Form("released", True, True))
    E.fill_diagonal_(0)
    assert E.min() >= -1e-15
    assert 0.6 < E.max() < 0.662
    assert (E - E.T).abs().max() > 0.1


@pytest.mark.parametrize(("k", "error"), [(2, 1e-6), (19, 1e-6), (171, 2e-6)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0, 12.0])
def test_e_in_float32_is_as_right_as_is_said(k: int, error: float, spread: float) -> None:
    C = maps(k=k, h=9, w=11, spread=spread)[1].detach()
    tile = next(tiles.tiles(1, 9, 11, 3, 10**6))
    exact, given = (JensenShannon(x).tile(tile)[0] for x in (C, C.float()))
    assert given.dtype == torch.float32
    assert (given - exact).abs().max() < error


def test_a_probability_of_zero_has_a_finite_gradient() -> None:
    C = torch.eye(3)[torch.tensor([[0, 0, 1], [0, 0, 2]])].movedim(2, 0)[None].requires_grad_()
    regions = RegionConstruction(threshold=-1.0)(torch.zeros(1, 2, 3), C)
    (dC,) = torch.autograd.grad(regions.J.sum(), C)
    assert dC.isfinite().all()
    assert (dC != 0).any()


# The gradient of D


def test_the_gradient_goes_to_the_first_of_equal_samples() -> None:
    B = torch.zeros(1, 3, 6)  # x, y: major axis last
    B[0, 1, [2, 4]] = 0.5
    of_length = Lines(B, 5)
    tile = Tile(5, slice(1, 2), slice(1, 2), slice(0, 1))
    D, place = of_length.maxima_and_places(tile)
    assert D.item() == 0.5
    of_length.pull(place, torch.ones_like(D))
    expected = torch.zeros(1, 3, 6)
    expected[0, 1, 2] = 1
    assert torch.equal(of_length.gradient(), expected)


def test_the_gradient_of_an_interpolated_sample_goes_to_both_pixels() -> None:
    B = torch.zeros(1, 2, 5)
    B[0, 1, 3] = 0.8
    of_length = Lines(B, 4)
    tile = Tile(4, slice(0, 1), slice(1, 2), slice(0, 1))  # from (0, 0) to (1, 4): at y = 3 the line is at x = 0.75
    D, place = of_length.maxima_and_places(tile)
    assert D.item() == pytest.approx(0.75 * 0.8)
    of_length.pull(place, torch.ones_like(D))
    assert of_length.gradient()[0, :, 3].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_place_is_that_of_the_maximum(dtype: torch.dtype) -> None:
    B = torch.rand(2, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    for length in (2, 5, 10):
        of_length = Lines(B, length)
        for tile in tiles.tiles(2, 9, 11, length, 300):
            D, place = of_length.maxima_and_places(tile)
            exact = of_length.maxima(tile)
            torch.testing.assert_close(D, exact, atol=0 if dtype == torch.float32 else 1e-14, rtol=0)
            torch.testing.assert_close(of_length.fine.take(place), exact, atol=1e-14, rtol=0)


# Regions and J


FORMS = [
    Form(),
    Form("released", True, True),
    Form("paper", True, False),
    Form("paper", False, True),
    Form("released", False, True),
    Form("paper", False, False),
]


def assert_close(ours: Regions, B: Tensor, C: Tensor, form: Form, network: RegionConstruction) -> None:
    """Regions are identical to the definition's, J and all gradients equal."""
    learned = [x for x in (network.weight, network.bias) if x is not None]
    w, b = learned or (B.new_ones(()), B.new_zeros(()))
    region, J = definition(B, C, form, network.threshold, w, b)
    assert ours.index.flatten().tolist() == region
    assert ours.number.tolist() == [max(region) + 1]
    torch.testing.assert_close(ours.J.flatten(), J, atol=1e-12, rtol=0)

    amounts = torch.linspace(-1, 2, J.numel(), dtype=J.dtype)
    leaves = [B, C, *learned]
    given = torch.autograd.grad(ours.J.flatten(), leaves, amounts, allow_unused=True, materialize_grads=True)
    expected = torch.autograd.grad(J, leaves, amounts, allow_unused=True, materialize_grads=True)
    for x, y in zip(given, expected, strict=True):
        torch.testing.assert_close(x, y, atol=1e-11, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_regions_scores_and_gradients_equal_the_definition(tile_sizes: None, form: Form) -> None:
    B, C = maps()
    network = RegionConstruction(form.reading, 0.8, *form[1:]).double()
    assert_close(network(B, C), B, C, form, network)


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "regions"), [(0.3, 1), (0.6, 2), (0.9, 10)])
def test_thresholds_equal_the_definition(threshold: float, regions: int) -> None:
    B, C = maps(h=5, w=4)
    network = RegionConstruction("paper", threshold).double()
    ours = network(B, C)
    assert_close(ours, B, C, Form(), network)


@pytest.mark.slow
def test_the_kernel_w_g_takes_part() -> None:
    B, C = maps(h=5, w=4)
    network = RegionConstruction().double()
    assert network.weight is not None
    assert network.bias is not None
    before = network(B, C)
    network.weight.data.fill_(0.8)
    network.bias.data.fill_(0.3)
    ours = network(B, C)
    assert not torch.equal(before.index, ours.index)
    assert_close(ours, B, C, Form(), network)


def test_the_kernel_starts_at_the_identity_and_is_not_released() -> None:
    assert {name: x.item() for name, x in RegionConstruction().named_parameters()} == {"weight": 1.0, "bias": 0.0}
    assert list(RegionConstruction("released").parameters()) == []


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_gradients_equal_finite_differences(reading: Reading) -> None:
    B, C = maps(k=2, h=3, w=4)
    network = RegionConstruction(reading, 0.5).double()

    def scores(B: Tensor, C: Tensor, *_: Tensor) -> Tensor:
        return network(B, C).J

    assert torch.autograd.gradcheck(scores, (B, C, *network.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_float32_gives_the_same_regions_and_scores(reading: Reading) -> None:
    B, C = scene(17, 23, 19)
    network = RegionConstruction(reading)
    D, E = fast_tables(B.detach(), C.detach(), Form(reading, True, True))
    F = (1 - D) * (1 - (E + E.T) / 2)
    margin = (F - network.threshold).abs().nan_to_num(1).min()
    assert margin > 1e-6, "no pair may be so close to the threshold that rounding decides"

    exact = network.double()(B, C)
    given = network.float()(
        single := B.detach().float().requires_grad_(), classes := C.detach().float().requires_grad_()
    )
    assert 3 < int(exact.number) < 150
    assert torch.equal(given.index, exact.index)
    assert given.J.dtype == torch.float32
    torch.testing.assert_close(given.J.double(), exact.J, atol=1e-6, rtol=0)
    for x, y in zip(
        torch.autograd.grad(given.J.sum(), (single, classes)),
        torch.autograd.grad(exact.J.sum(), (B, C)),
        strict=True,
    ):
        torch.testing.assert_close(x.double(), y, atol=1e-5 * float(y.abs().max()), rtol=0)


# Ties, degenerate maps, batches


def test_a_pair_at_the_threshold_is_not_grouped() -> None:
    B, C = torch.zeros(1, 1, 3), torch.ones(1, 1, 1, 3)
    B[0, 0, 1] = 0.5  # F of the two outer pixels is 0.5 exactly, of neighbours it is 1
    at, below = (RegionConstruction("paper", threshold, semantic=False) for threshold in (0.5, 0.4999999))
    network = RegionConstruction("paper", 1.0, semantic=False)
    assert network(B, C).number.item() == 3  # F = 1 is not above 1
    assert _followed(B, C, at.threshold) == [0, 0, 1]
    assert _followed(B, C, below.threshold) == [0, 0, 0]


def _followed(B: Tensor, C: Tensor, threshold: float) -> list[int]:
    """The first pixel that each pixel is grouped with, without E."""
    one, zero = torch.ones(()), torch.zeros(())
    return torch.ops.ranet.first_matches(B, C, one, zero, threshold, "paper", True, False).flatten().tolist()


@pytest.mark.parametrize("reading", ["paper", "released"])
def test_decisions_depend_on_rounding_only_within_a_millionth_of_the_threshold(reading: Reading) -> None:
    B, C = (x.detach() for x in scene(12, 13, 19, seed=1))
    single, exact = (fast_tables(x, y, Form(reading, True, True)) for x, y in ((B.float(), C.float()), (B, C)))
    F, G = ((1 - D) * (1 - (E + E.T) / 2) for D, E in (exact, single))
    assert (F - G).nan_to_num().abs().max() < 1e-6
    close = float(F.nan_to_num(9).flatten()[1])  # a threshold that a pair meets to the last bit
    flipped = (close < F) != (close < G)
    assert ((F - close).abs()[flipped] < 1e-6).all()


def test_one_region() -> None:
    B, C = torch.zeros(2, 5, 4, requires_grad=True), torch.full((2, 3, 5, 4), 1 / 3, requires_grad=True)
    regions = RegionConstruction()(B, C)
    assert regions.number.tolist() == [1, 1]
    assert (regions.index == 0).all()
    torch.testing.assert_close(regions.J, torch.ones(2, 5, 4), atol=1e-6, rtol=0)
    regions.J.sum().backward()
    assert B.grad is not None
    assert C.grad is not None
    assert B.grad.isfinite().all()
    assert (B.grad < 0).any(), "the first of equal samples has a gradient even where D is 0"
    assert C.grad.abs().max() < 1e-5  # all are equal


def test_every_pixel_a_region() -> None:
    C = torch.eye(12).view(1, 12, 3, 4).requires_grad_()  # each certain of another class
    regions = RegionConstruction()(torch.zeros(1, 3, 4), C)
    assert regions.number.tolist() == [12]
    assert regions.index.flatten().tolist() == list(range(12))
    assert (regions.J == 1).all()
    (dC,) = torch.autograd.grad(regions.J.sum(), C)
    assert (dC == 0).all()


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 2), (2, 1)])
def test_smallest_maps(h: int, w: int) -> None:
    regions = RegionConstruction()(torch.ones(1, h, w), torch.full((1, 2, h, w), 0.5))
    assert regions.number.tolist() == [1]
    assert regions.J.tolist() == torch.ones(1, h, w).tolist()


def test_paths_of_any_length_are_followed_to_their_root() -> None:
    follow = torch.arange(-1, 99).clamp(min=0).view(1, 4, 25).repeat(2, 1, 1)  # each pixel follows the one before it
    follow[1, 2, 0] = 50
    index, number = number_regions(follow)
    assert number.tolist() == [1, 2]
    assert index[1].flatten().tolist() == [0] * 50 + [1] * 50


@pytest.mark.slow
def test_one_program_numbers_the_regions_of_many_sizes(no_type_checks: None) -> None:
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(number_regions, backend=counter, fullgraph=True)
    for h, w in ((8, 9), (9, 11), (10, 12), (8, 13), (11, 11)):
        follow = torch.minimum(torch.randint(h * w, (2, h * w)), torch.arange(h * w)).view(2, h, w)
        for found, expected in zip(compiled(follow), number_regions(follow), strict=True):
            assert torch.equal(found, expected)
    assert counter.frame_count == 2, "one for the first size, and one for all others"


@pytest.mark.parametrize("reading", ["paper", "released"])
def test_a_batch_equals_its_images(tile_sizes: None, reading: Reading) -> None:
    B, C = maps(images=3, h=6, w=5)
    network = RegionConstruction(reading).double()
    together = network(B, C)
    assert len(set(together.number.tolist())) > 1
    (dB, dC) = torch.autograd.grad((together.J**2).sum(), (B, C))
    for n in range(3):
        b, c = B[n : n + 1], C[n : n + 1]
        alone = network(b, c)
        assert torch.equal(alone.index[0], together.index[n])
        assert alone.number[0] == together.number[n]
        torch.testing.assert_close(alone.J[0], together.J[n], atol=1e-14, rtol=0)
        expected = torch.autograd.grad((alone.J**2).sum(), (b, c))
        torch.testing.assert_close(dB[n], expected[0][0], atol=1e-13, rtol=0)
        torch.testing.assert_close(dC[n], expected[1][0], atol=1e-13, rtol=0)


# Cost


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["paper", "released"])
def test_no_tensor_holds_all_pairs(monkeypatch: pytest.MonkeyPatch, reading: Reading) -> None:
    monkeypatch.setattr(tiles, "CPU_ENTRIES", 2**13)
    h, w = 19, 21
    B, C = (x.detach().float() for x in scene(h, w, 3))
    form, one, zero = (reading, True, True), torch.ones(()), torch.zeros(())
    with LargestTensor() as first:
        index = number_regions(equations.first_matches(B, C, one, zero, 0.8, *form))[0]
    with LargestTensor() as second:
        means = equations.region_means(B, C, index, *form)
    with LargestTensor() as backward:
        equations.region_means_backward(means, B, C, index, *form)
    for mode in (first, second, backward):
        assert 2**12 < mode.entries < (h * w) ** 2 / 10, "the mode must see inside, and no tensor may hold all pairs"


def test_tiles_without_pairs_of_one_region_are_left_out() -> None:
    h, w = 12, 6
    index = torch.arange(2).repeat_interleave(h * w // 2).view(1, h, w)  # an upper and a lower half
    half = pairs.Half(torch.zeros(1, h, w), torch.ones(1, 1, h, w), slice(0, 1), True, Form())
    regions = half.turn(index)
    kept = {
        tile.length: (tile.rows.start, tile.rows.stop)
        for _, all_tiles in half.lengths()
        for tile, _ in half.within_regions(regions, all_tiles)
    }
    assert kept == {length: (0, 12 - length) for length in range(1, 6)}


def test_tiles_are_cut_to_what_is_wanted() -> None:
    half = pairs.Half(torch.zeros(1, 9, 8), torch.ones(1, 1, 9, 8), slice(0, 1), True, Form())
    index = torch.arange(72).view(1, 9, 8)
    index[:, 3:6, 2:6] = 99  # the only region of more than one pixel
    (tile, same), *others = half.within_regions(half.turn(index), tiles.tiles(1, 8, 9, 2, 10**6))
    assert tile == Tile(2, slice(2, 6), slice(2, 6), slice(3, 4))
    assert same.sum() == 14  # of 4 x 4 columns, those at most 2 apart
    assert others == []
    assert tiles.box(torch.zeros(2, 3, 4, 5, dtype=torch.bool)) is None


def test_matched_pixels_are_left_out_of_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = []
    maxima = Lines.maxima
    monkeypatch.setattr(
        Lines, "maxima", lambda of, tile: entries.append(len(maxima(of, tile).flatten())) or maxima(of, tile)
    )
    B, C = torch.zeros(1, 9, 9), torch.full((1, 2, 9, 9), 0.5)
    one, zero = torch.ones(()), torch.zeros(())
    follow = torch.ops.ranet.first_matches(B, C, one, zero, 0.8, "paper", True, True)
    assert (follow == 0).all()
    assert sum(entries) < 81 * 80 / 2 / 4  # of all pairs; only those with pixels of the first row or column matter


@pytest.mark.parametrize("reading", ["paper", "released"])
def test_whole_tiles_give_the_same_as_tiles_cut_to_what_matters(
    monkeypatch: pytest.MonkeyPatch, reading: Reading
) -> None:
    B, C = scene(9, 11, 5)
    network = RegionConstruction(reading).double()
    cut = network(B, C)
    of_cut = torch.autograd.grad((cut.J**2).sum(), (B, C))
    for module in (equations, pairs):  # as on CUDA
        monkeypatch.setattr(module, "box", lambda wanted: tuple(slice(0, size) for size in wanted.shape))
    whole = network(B, C)
    of_whole = torch.autograd.grad((whole.J**2).sum(), (B, C))
    assert torch.equal(cut.index, whole.index)
    for x, y in zip((cut.J, *of_cut), (whole.J, *of_whole), strict=True):
        torch.testing.assert_close(x, y, atol=1e-13, rtol=0)


def test_everything_is_float32_under_autocast() -> None:
    B, C = (x.detach().float() for x in scene(8, 9, 5))
    network = RegionConstruction()
    expected = network(B.bfloat16(), C.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = network(B.bfloat16(), C.bfloat16())
    assert given.J.dtype == expected.J.dtype == torch.float32
    assert torch.equal(given.index, expected.index)
    assert torch.equal(given.J, expected.J)


def test_operators_can_be_traced() -> None:
    with FakeTensorMode():
        B, C = torch.rand(2, 5, 6), torch.rand(2, 3, 5, 6)
        one = torch.ones(())
        follow = torch.ops.ranet.first_matches(B, C, one, one, 0.8, "paper", True, True)
        means = torch.ops.ranet.region_means(B, C, follow, "paper", True, True)
        gradients = torch.ops.ranet.region_means_backward(means, B, C, follow, "paper", True, True)
    assert (follow.shape, follow.dtype) == (B.shape, torch.int64)
    assert (means.shape, means.dtype) == (B.shape, torch.float32)
    assert [x.shape for x in gradients] == [B.shape, C.shape]


# Errors


def test_unknown_readings_are_refused(no_type_checks: None) -> None:
    with pytest.raises(ValueError, match="paper, released"):
        RegionConstruction("printed")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("B", "C", "message"),
    [
        (torch.rand(1, 4, 5), torch.rand(1, 3, 5, 4), r"\(1, 4, 5\) and \(1, 3, 5, 4\)"),
        (torch.rand(1, 1, 4, 5), torch.rand(1, 3, 4, 5), "boundary scores"),
        (torch.rand(1, 4, 5), torch.rand(1, 0, 4, 5), "same size"),
        (torch.ones(1, 4, 5, dtype=torch.int64), torch.rand(1, 3, 4, 5), "floating"),
    ],
)
def test_wrong_maps_are_refused(no_type_checks: None, B: Tensor, C: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegionConstruction()(B, C)
