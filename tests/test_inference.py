"""Testing one image: windows, scales, mirrored images, and how they are merged."""

import gc
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.images.pixels import Normalisation, scaled_size
from core.networks import inference, workload
from core.networks.inference import infer
from core.networks.workload import positions, windows_at_once
from core.recipe import Protocol

Merge = Literal["softmax", "scores", "exp"]

SIZES = [(40, 64), (41, 63), (17, 90), (24, 24), (10, 13), (24, 70), (1, 1)]


class Output(NamedTuple):
    scores: Tensor


class Convolution(nn.Module):
    """A network of one convolution, with zeros around; it remembers the sizes that it was given."""

    def __init__(self, kernel: int, symmetric: bool = False, scale: float = 1.0, align_corners: bool = True) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.convolution = nn.Conv2d(3, 5, kernel, padding=kernel // 2)
        self.seen: list[tuple[int, ...]] = []
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            if symmetric:
                weight = self.convolution.weight
                weight.copy_((weight + weight.flip(-1)) / 2)

    def forward(self, images: Tensor) -> Output:
        self.seen.append(tuple(images.shape))
        return Output(self.convolution(images))


class Constant(nn.Module):
    """The same scores at every pixel of an image, from the colour of its middle."""

    align_corners = False

    def forward(self, images: Tensor) -> Output:
        colour = images.mean(dim=(-2, -1), keepdim=True)
        scores = torch.cat([colour, -colour], dim=1)
        return Output(scores.expand(-1, -1, *images.shape[-2:]))


def photograph(height: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))


def test_positions_cover_everything_once_and_stay_inside() -> None:
    for crop in (1, 2, 7, 24, 64):
        for stride in {1, crop // 2, crop * 2 // 3, crop} - {0}:
            for length in range(1, 200, 3):
                starts = positions(length, crop, stride)
                covered = {pixel for start in starts for pixel in range(start, start + crop)}
                assert covered >= set(range(length))
                assert starts[0] == 0
                assert all(0 < b - a <= stride for a, b in itertools.pairwise(starts))
                assert starts[-1] + crop == length or (length <= crop and starts == (0,))


def test_positions_of_the_papers() -> None:
    assert positions(2048, 768, 512) == (0, 512, 1024, 1280)
    assert positions(1024, 768, 512) == (0, 256)
    assert positions(2048, 1024, 512) == (0, 512, 1024)


def test_scaled_size_keeps_the_proportion() -> None:
    assert scaled_size(1024, 2048, "long", None, 1.0) == (1024, 2048)
    assert scaled_size(1024, 2048, "long", None, 2.2) == (2253, 4506)
    assert scaled_size(375, 500, "long", 520, 1.0) == (390, 520)
    assert scaled_size(375, 500, "short", 520, 1.0) == (520, 693)
    assert scaled_size(375, 500, "long", None, 0.5) == (188, 250)  # 187.5, halves up
    assert scaled_size(1, 90, "long", None, 0.1) == (1, 9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("merge", ["softmax", "scores", "exp"])
@pytest.mark.parametrize("flip", [False, True])
def test_windows_of_a_pointwise_network_equal_the_whole_image(size: tuple[int, int], merge: Merge, flip: bool) -> None:
    network, image = Convolution(1), photograph(*size)
    whole = infer(network, image, Protocol(flip=flip, merge=merge))
    slid = infer(network, image, Protocol(crop=24, stride=16, flip=flip, merge=merge))
    assert slid.shape == (5, *size)
    assert network.seen[-1][-2:] == (24, 24)
    # exp turns the absolute rounding of float32 scores into a relative one, about as many times larger as they are
    torch.testing.assert_close(slid, whole, atol=1e-6, rtol=1e-5 if merge == "exp" else 1e-6)
    if merge != "exp":
        torch.testing.assert_close(whole.sum(dim=0), torch.ones(size))


@pytest.mark.parametrize(
    ("protocol", "seen"),
    [
        (Protocol(base=30, edge="short", limit=50, multiple=8), (24, 56)),  # 30 x 75 is over 50: 20 x 50, rounded up
        (Protocol(base=30, edge="short", limit=100, multiple=8), (32, 80)),
        (Protocol(multiple=8), (24, 56)),
        (Protocol(limit=25), (10, 25)),
    ],
)
def test_sides_are_limited_and_rounded_up(protocol: Protocol, seen: tuple[int, int]) -> None:
    network, image = Convolution(3), photograph(20, 50)
    scores = infer(network, image, protocol)
    assert network.seen[-1][-2:] == seen
    assert scores.shape == (5, 20, 50)


@pytest.mark.parametrize("merge", ["softmax", "scores"])
def test_overlapping_windows_are_averaged_by_count(merge: Merge) -> None:
    network, image = Convolution(3), photograph(8, 20)
    slid = infer(network, image, Protocol(crop=8, stride=5, merge=merge))
    total, count = torch.zeros(5, 8, 20), torch.zeros(20)
    for x in (0, 5, 10, 12):
        scores = network(image[None, :, :, x : x + 8]).scores[0]
        total[:, :, x : x + 8] += scores.softmax(dim=0) if merge == "softmax" else scores
        count[x : x + 8] += 1
    expected = total / count if merge == "softmax" else (total / count).softmax(dim=0)
    torch.testing.assert_close(slid, expected)


def test_small_images_are_padded_at_the_right_and_bottom_with_zeros() -> None:
    network, image = Convolution(3), photograph(10, 13)
    padded = torch.zeros(1, 3, 24, 24)
    padded[0, :, :10, :13] = image
    expected = network(padded).scores[0, :, :10, :13].softmax(dim=0)
    torch.testing.assert_close(infer(network, image, Protocol(crop=24, stride=16)), expected)


@pytest.mark.parametrize("merge", ["softmax", "scores", "exp"])
def test_how_many_windows_at_once_changes_nothing(merge: Merge) -> None:
    network, image = Convolution(3), photograph(61, 83)
    protocol = Protocol(crop=24, stride=16, scales=(0.75, 1.0), flip=True, merge=merge)
    results = [infer(network, image, protocol, at_once=number) for number in (1, 3, 4, 100)]
    assert {shape[0] for shape in network.seen} == {1, 2, 4, 64}  # 64: 12 and 20 windows of two scales, and mirrored
    batches = [shape[0] for shape in network.seen]
    assert [batches[:64], batches[64:96]] == [[1] * 64, [2] * 32]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("merge", ["softmax", "scores", "exp"])
def test_flip_changes_nothing_for_an_equivariant_network_only(merge: Merge) -> None:
    image = photograph(31, 44)
    for symmetric in (True, False):
        network = Convolution(3, symmetric=symmetric)
        plain = infer(network, image, Protocol(merge=merge))
        flipped = infer(network, image, Protocol(flip=True, merge=merge))
        if merge == "exp":  # exp(s + s) = exp(s) squared
            plain = plain**2 / (plain**2).sum(dim=0)
        assert torch.allclose(plain, flipped, rtol=1e-4, atol=1e-5) == symmetric


def test_flip_averages_probabilities() -> None:
    network, image = Convolution(3), photograph(31, 44)
    one = network(image[None]).scores.softmax(dim=1)
    other = network(image[None].flip(-1)).scores.softmax(dim=1).flip(-1)
    torch.testing.assert_close(infer(network, image, Protocol(flip=True)), ((one + other) / 2)[0])


@pytest.mark.parametrize("merge", ["softmax", "exp"])
@pytest.mark.parametrize("crop", [None, 24])
def test_several_scales_are_exact_for_constant_scores(merge: Merge, crop: int | None) -> None:
    image = torch.tensor([0.3, -1.2, 0.7])[:, None, None].expand(3, 37, 50).contiguous()
    one = Protocol(merge=merge, flip=True)
    many = replace(one, base=41, edge="short", scales=(0.6, 0.75, 1.0, 1.5))
    if crop:  # every scale is larger than the crop, so that no window contains padding
        many = replace(many, crop=crop, stride=16)
    result = infer(Constant(), image, many)
    torch.testing.assert_close(result, infer(Constant(), image, one), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("merge", ["softmax", "exp"])
def test_scales_are_resized_as_the_network_resizes_and_then_averaged(align_corners: bool, merge: Merge) -> None:
    network, image = Convolution(3, align_corners=align_corners), photograph(20, 30)[None]

    def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.interpolate(maps, size=size, mode="bilinear", align_corners=align_corners)

    expected = []
    for size in ((10, 15), (20, 30), (35, 53)):
        scores = network(resize(image, size)).scores
        answer = scores.double().softmax(dim=1) if merge == "softmax" else scores.double().exp()
        expected.append(resize(answer, (20, 30)))
    mean = torch.cat(expected).mean(dim=0)
    result = infer(network, image[0], Protocol(scales=(0.5, 1.0, 1.75), merge=merge))
    torch.testing.assert_close(result, (mean / mean.sum(dim=0)).float(), rtol=1e-5, atol=1e-6)


def test_exp_merging_is_the_formula() -> None:
    """Windows of 16, one row of three, mirrored: sum of exp(scores + mirrored scores) / count, divided by its sum."""
    network, image = Convolution(3), photograph(16, 30)
    total, count = torch.zeros(5, 16, 30, dtype=torch.float64), torch.zeros(30, dtype=torch.float64)
    for x in (0, 10, 14):
        window = image[None, :, :, x : x + 16]
        scores = network(window).scores + network(window.flip(-1)).scores.flip(-1)
        total[:, :, x : x + 16] += scores[0].double().exp()
        count[x : x + 16] += 1
    result = infer(network, image, Protocol(crop=16, stride=10, flip=True, merge="exp"))
    expected = total / count
    torch.testing.assert_close(result, (expected / expected.sum(dim=0)).float(), rtol=1e-5, atol=0.0)


class Steep(nn.Module):
    """Scores of up to 600 that differ by hundreds between neighbouring pixels."""

    align_corners = False

    def forward(self, images: Tensor) -> Output:
        scores = torch.cat([images, -images, images.roll(3, -1)], dim=1)
        return Output(200 * scores)


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(flip=True, merge="exp"),
        Protocol(crop=8, stride=4, scales=(0.5, 1.0, 1.3), flip=True, merge="exp"),
        Protocol(scales=(0.7, 2.0), merge="exp"),
    ],
)
def test_exp_of_large_scores_is_exact_in_float32(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    """As logarithms in float64 say it, where exp itself would overflow even there."""
    image = photograph(20, 30)
    result = infer(Steep(), image, protocol)
    assert result.isfinite().all()
    torch.testing.assert_close(result.sum(dim=0), torch.ones(20, 30))
    monkeypatch.setattr(inference, "STRIP", 100)
    torch.testing.assert_close(infer(Steep(), image, protocol), result)

    def resize(logs: Tensor, size: tuple[int, int]) -> Tensor:
        """The logarithm of what is bilinear between exponentials."""
        for axis, (old, new) in ((-2, (logs.shape[-2], size[0])), (-1, (logs.shape[-1], size[1]))):
            weights = functional.interpolate(torch.eye(old).double()[None], size=new, mode="linear")[0].log()
            logs = torch.logsumexp(logs.transpose(axis, -1)[..., :, None] + weights, dim=-2).transpose(axis, -1)
        return logs

    totals = []
    for scale in protocol.scales:
        size = scaled_size(20, 30, "long", None, scale)
        seen = image if scale == 1 else functional.interpolate(image[None], size=size, mode="bilinear")[0]
        logs = torch.full((9, *size), -torch.inf, dtype=torch.float64)
        count = torch.zeros(size, dtype=torch.float64)
        tall, wide = (protocol.crop or size[0]), (protocol.crop or size[1])
        for y in positions(size[0], tall, protocol.stride or tall):
            for x in positions(size[1], wide, protocol.stride or wide):
                window = seen[None, :, y : y + tall, x : x + wide]
                answer = Steep()(window).scores[0]
                if protocol.flip:
                    answer = answer + Steep()(window.flip(-1)).scores[0].flip(-1)
                part = logs[:, y : y + tall, x : x + wide]
                logs[:, y : y + tall, x : x + wide] = torch.logaddexp(part, answer.double())
                count[y : y + tall, x : x + wide] += 1
        totals.append(resize(logs - count.log(), (20, 30)))
    expected = torch.logsumexp(torch.stack(totals), dim=0).softmax(dim=0)
    torch.testing.assert_close(result.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("merge", ["softmax", "scores", "exp"])
def test_strips_change_nothing(merge: Merge, monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = Convolution(3), photograph(61, 83)
    protocol = Protocol(crop=24, stride=16, scales=(0.75, 1.0, 1.5), flip=True, merge=merge)
    whole = infer(network, image, protocol)
    monkeypatch.setattr(inference, "STRIP", 5 * 83 * 7)
    torch.testing.assert_close(infer(network, image, protocol), whole)


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """Let `gc` list what the test makes, and not the million objects that were there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.usefixtures("only_new_objects")
def test_large_images_take_their_scores_twice_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is allocated while two scales are merged: two maps, strips of them, and no third."""
    monkeypatch.setattr(inference, "STRIP", 2**16)
    monkeypatch.setattr(inference, "SMALL", 0)
    network, image = Convolution(1), photograph(600, 800)
    for merge in ("softmax", "scores", "exp"):
        protocol = Protocol(crop=100, stride=100, scales=(1.0, 0.9), merge=merge)
        held: list[int] = []
        network.convolution.register_forward_hook(lambda *_, held=held: held.append(_bytes_alive()))
        gc.collect()
        before = _bytes_alive()
        infer(network, image, protocol)
        assert max(held) - before <= 1.2 * workload.scores_bytes(600, 800, 5, protocol) + 4 * 3 * 600 * 800
        network.convolution._forward_hooks.clear()


def _bytes_alive() -> int:
    storages = {
        each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
        for each in gc.get_objects()
        if type(each) in (Tensor, nn.Parameter)
    }
    return sum(storages.values())


def test_a_photo_of_12_megapixels_takes_less_than_6_gb_by_windows() -> None:
    cpu = torch.device("cpu")
    windows = Protocol(crop=768, stride=512, flip=True, merge="exp")
    assert workload.scores_bytes(3000, 4000, 19, windows) == 4 * 19 * 3000 * 4000
    assert 3.5e9 < workload.memory(3000, 4000, 19, windows, cpu) < 5e9
    assert workload.memory(3000, 4000, 19, Protocol(), cpu) > 15e9
    several = replace(windows, scales=(0.5, 1.0, 2.0))
    assert workload.scores_bytes(3000, 4000, 19, several) == 4 * 19 * 5 * 3000 * 4000


def test_windows_at_once_follow_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    sizes = ((80, 80), (768, 768), (1024, 1024), (3000, 4000))
    assert [windows_at_once(cpu, *size) for size in sizes] == [4, 4, 2, 1]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 140 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 6 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 2 * 2**30)  # 14 GiB are free
    gpu = torch.device("cuda")
    assert [windows_at_once(gpu, *size) for size in sizes] == [16, 6, 3, 1]


@pytest.mark.parametrize("merge", ["softmax", "exp"])
def test_scores_are_float32_under_autocast(merge: Merge) -> None:
    network, image = Convolution(3, scale=0.1), photograph(20, 30)
    protocol = Protocol(scales=(0.5, 1.0), flip=True, merge=merge)
    exact = infer(network, image, protocol)
    kinds = []
    network.convolution.register_forward_hook(lambda _, __, scores: kinds.append(scores.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        result = infer(network, image, protocol)
    assert set(kinds) == {torch.bfloat16}
    assert result.dtype == exact.dtype == torch.float32
    torch.testing.assert_close(result, exact, rtol=0.05, atol=0.02)


def test_one_whole_image_is_not_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = Convolution(3), photograph(20, 30)
    expected = network(image[None]).scores[0].softmax(dim=0)
    monkeypatch.setattr(functional, "interpolate", None)
    for protocol in (Protocol(), Protocol(base=30), Protocol(base=20, edge="short")):
        assert torch.equal(infer(network, image, protocol), expected)
    assert network.seen == [(1, 3, 20, 30)] * 4


def test_impossible_requests_are_refused() -> None:
    class Coarse(Convolution):
        def forward(self, images: Tensor) -> Output:
            return Output(self.convolution(images)[..., ::8, ::8])

    with pytest.raises(ValueError, match="at_once must be at least 1, got 0"):
        infer(Convolution(1), photograph(4, 5), Protocol(), at_once=0)
    with pytest.raises(ValueError, match=r"Coarse must return scores at the size of its input, \(16, 24\)"):
        infer(Coarse(1), photograph(16, 24), Protocol())
    with pytest.raises((ValueError, TypeError)):  # TypeError: from the shape checker of the tests, where it runs
        infer(Convolution(1), photograph(4, 5)[None], Protocol())


class Normalised(Convolution):
    """A network that says what black is."""

    normalisation = Normalisation((0.5, 0.25, 0.125), (0.5, 0.5, 0.25))


@pytest.mark.parametrize("size", [(40, 64), (41, 63), (17, 90), (10, 13), (24, 24)])
def test_windows_as_released_are_cut_off_and_padded_with_black(size: tuple[int, int]) -> None:
    """Written from the description of the authors' test: windows of 24 every 16, exp of both scores, counts."""
    network, image = Normalised(5, scale=0.1), photograph(*size)
    black = torch.tensor([-1.0, -0.5, -0.5]).view(3, 1, 1)
    height, width = size
    sums, counts = torch.zeros(5, height, width), torch.zeros(height, width)
    rows, columns = (range(math.ceil(max(length - 24, 0) / 16) + 1) for length in size)
    for row in rows:
        for column in columns:
            y, x = 16 * row, 16 * column
            seen = image[:, y : y + 24, x : x + 24]
            tall, wide = seen.shape[-2:]
            window = black.expand(3, 24, 24).clone()
            window[:, :tall, :wide] = seen
            both = network(window[None]).scores[0] + network(window.flip(-1)[None]).scores[0].flip(-1)
            sums[:, y : y + 24, x : x + 24] += both.exp()[:, :tall, :wide].detach()
            counts[y : y + 24, x : x + 24] += 1
    expected = sums / counts
    result = infer(network, image, Protocol(crop=24, stride=16, border="padded", flip=True, merge="exp"))
    torch.testing.assert_close(result, expected / expected.sum(dim=0))


def test_positions_as_released() -> None:
    assert positions(2048, 768, 512, shifted=False) == (0, 512, 1024, 1536)
    assert positions(1024, 768, 512, shifted=False) == (0, 512)
    assert positions(2048, 1024, 512, shifted=False) == (0, 512, 1024)
    assert positions(500, 768, 512, shifted=False) == (0,)
