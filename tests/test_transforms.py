"""From pairs to samples: labels stay labels, and everything random is a function of (seed, epoch, index)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from core.datasets import read
from core.datasets.samples import labels_of
from core.datasets.transforms import (
    Collate,
    Order,
    TestSamples,
    TrainingSamples,
    Window,
    _scaled_image,
    augment,
    draw_factor,
)
from core.images.classes import IGNORE
from core.images.pixels import Normalisation, round_up, scaled_size
from core.images.reading import read_image
from core.recipe import Augmentation

AUGMENTATION = Augmentation(crop=48, scale=(0.5, 2.0), brightness=0.3)


def pair(height: int = 40, width: int = 60) -> tuple[Tensor, Tensor]:
    """An image whose red channel is ten times its labels, so that both can be seen to move together."""
    labels = torch.arange(height * width).reshape(height, width).remainder(7).repeat_interleave(1, 0).to(torch.uint8)
    labels = torch.kron(labels[: height // 10, : width // 10], torch.ones(10, 10, dtype=torch.uint8))
    return torch.stack([labels * 10, labels, labels]), labels


def drawn(augmentation: Augmentation, seed: int = 0, height: int = 40, width: int = 60) -> tuple[Tensor, Tensor]:
    return augment(*pair(height, width), augmentation, np.random.default_rng(seed), fill=(123, 0, 0))


@pytest.mark.parametrize("seed", range(20))
def test_samples_are_crops_and_labels_keep_their_values(seed: int) -> None:
    image, labels = drawn(AUGMENTATION, seed)
    assert image.shape == (3, 48, 48)
    assert labels.shape == (48, 48)
    assert image.dtype == labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) <= {*range(7), IGNORE}


@pytest.mark.parametrize("seed", range(20))
def test_image_and_labels_move_together(seed: int) -> None:
    image, labels = drawn(Augmentation(crop=30, scale=None), seed)
    assert torch.equal(image[0], labels * 10)


def test_small_images_are_padded_at_the_right_and_at_the_bottom() -> None:
    image, labels = drawn(Augmentation(crop=80, flip=False))
    assert (labels[40:] == IGNORE).all()
    assert (labels[:, 60:] == IGNORE).all()
    assert not (labels[:40, :60] == IGNORE).any()
    assert (image[0, 40:] == 123).all()


def plainly(
    image: Tensor, labels: Tensor, augmentation: Augmentation, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Scale, pad, crop and flip all of an image with torchvision, drawing the same numbers in the same order."""
    image, labels = tv_tensors.Image(image), tv_tensors.Mask(labels)
    factor = draw_factor(augmentation, generator)
    size = scaled_size(*labels.shape, augmentation.edge, augmentation.base, factor, augmentation.limit)
    image, labels = functional.resize(image, list(size), antialias=True), functional.resize(labels, list(size))
    crop = augmentation.crop
    if crop is not None:
        missing = [0, 0, max(0, crop - size[1]), max(0, crop - size[0])]
        image = functional.pad(image, missing, fill=[123, 0, 0])
        labels = functional.pad(labels, missing, fill=IGNORE)
        corner = [int(generator.integers(length - crop + 1)) for length in labels.shape]
        image, labels = (functional.crop(part, *corner, crop, crop) for part in (image, labels))
    if augmentation.flip and generator.random() < 0.5:
        image, labels = functional.horizontal_flip(image), functional.horizontal_flip(labels)
    return image.as_subclass(Tensor), labels.as_subclass(Tensor)


@pytest.mark.slow
@pytest.mark.parametrize("planar", [False, True])
def test_samples_are_what_torchvision_makes(planar: bool) -> None:
    for seed in range(70):
        rng = np.random.default_rng(seed)
        height, width, crop, base = rng.integers((5, 5, 1, 5), 130).tolist()
        image = torch.from_numpy(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).permute(2, 0, 1)
        image = image.contiguous() if planar else image
        labels = torch.from_numpy(rng.integers(0, 256, (height, width), dtype=np.uint8))
        augmentation = Augmentation(
            crop=None if seed % 5 == 0 else crop,
            base=base if seed % 2 else None,
            scale=(0.3, 2.5),
            edge="long" if seed % 3 else "short",
            limit=90 if seed % 7 == 0 else None,
        )
        scaled, its = augment(image, labels, augmentation, np.random.default_rng(seed), (123, 0, 0))
        expected, theirs = plainly(image, labels, augmentation, np.random.default_rng(seed))
        assert torch.equal(its, theirs)
        assert scaled.shape == expected.shape
        assert torch.equal(scaled, expected)


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("planar", [False, True])
def test_a_window_is_scaled_as_in_the_whole_image(channels: int, planar: bool) -> None:
    """To the last bit, whatever rows and columns are left out."""
    rng = np.random.default_rng(channels)
    for _ in range(60):
        height, width, tall, wide = rng.integers(1, 70, 4).tolist()
        image = torch.from_numpy(rng.integers(0, 256, (height, width, channels), dtype=np.uint8)).permute(2, 0, 1)
        image = image.contiguous() if planar else image
        top, left = int(rng.integers(tall)), int(rng.integers(wide))
        window = Window(top, left, int(rng.integers(top, tall)) + 1, int(rng.integers(left, wide)) + 1)
        whole = functional.resize(image, [tall, wide], antialias=True)
        expected = whole[:, window.top : window.bottom, window.left : window.right]
        assert torch.equal(_scaled_image(image, (tall, wide), window), expected)


def test_only_what_the_window_depends_on_is_scaled() -> None:
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    with LargestTensor() as ours:
        _scaled_image(image, (800, 800), Window(700, 10, 720, 30))
    with LargestTensor() as whole:
        functional.resize(image, [800, 800], antialias=True)
    assert whole.entries == 3 * 800 * 800
    assert ours.entries <= 3 * 800 * 20


def test_flip_happens_half_of_the_time() -> None:
    plain = pair()[1][:, :40]
    flips = [torch.equal(drawn(Augmentation(crop=40), seed)[1], plain) for seed in range(50)]
    mirrored = replace(Augmentation(crop=40), flip=False)
    assert any(flips) != all(flips)
    assert len({drawn(mirrored, seed, 40, 40)[1].numpy().tobytes() for seed in range(10)}) == 1


@pytest.mark.parametrize(("edge", "low", "high"), [("short", 20, 80), ("long", 30, 120)])
def test_the_factor_is_uniform_on_the_named_edge(edge: str, low: int, high: int) -> None:
    sizes = [scaled_size(40, 60, edge, None, factor) for factor in (0.5, 1.0, 2.0)]  # type: ignore[arg-type]
    pick = min if edge == "short" else max
    assert [pick(size) for size in sizes] == [low, (low + high) // 5 * 2, high]


def test_factors_are_drawn_over_the_whole_range_alike() -> None:
    generator = np.random.default_rng(0)
    factors = [draw_factor(AUGMENTATION, generator) for _ in range(1000)]
    assert 0.5 <= min(factors) < 0.52
    assert 1.98 < max(factors) <= 2.0
    assert np.mean(factors) == pytest.approx(1.25, abs=0.05)  # the mean of 1,000 is within 0.014 by chance
    assert np.mean(np.array(factors) < 1) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.slow
def test_listed_factors_are_drawn_from_the_list() -> None:
    scales = Augmentation(crop=120, scale=(0.5, 1.0, 2.0), listed=True, flip=False)
    heights = [int((drawn(scales, seed)[1][:, 0] != IGNORE).sum()) for seed in range(60)]
    assert {height: heights.count(height) > 8 for height in (20, 40, 80)} == dict.fromkeys((20, 40, 80), True)
    assert set(heights) == {20, 40, 80}


def test_base_brings_the_edge_to_a_length() -> None:
    _, labels = drawn(Augmentation(crop=100, base=20, flip=False))
    assert int((labels[:, 0] != IGNORE).sum()) == 20
    assert int((labels[0] != IGNORE).sum()) == 30


def test_brightness_changes_the_image_only() -> None:
    image, labels = drawn(Augmentation(crop=40, flip=False, brightness=0.5), 3)
    assert not torch.equal(image[0], labels * 10)
    assert torch.equal(labels, drawn(Augmentation(crop=40, flip=False), 3)[1])


def test_brightness_goes_up_and_down_alike() -> None:
    grey, labels = torch.full((3, 1, 1), 100, dtype=torch.uint8), torch.zeros(1, 1, dtype=torch.uint8)
    brighter = Augmentation(crop=None, scale=None, flip=False, brightness=0.5)
    greys = [augment(grey, labels, brighter, np.random.default_rng(seed))[0].unique().item() for seed in range(1000)]
    assert 50 <= min(greys) < 52
    assert 147 < max(greys) <= 150
    assert np.mean(greys) == pytest.approx(99.5, abs=3)  # in 8 bits half a grey is lost; by chance within 0.9


def test_normalisation_is_mean_zero_deviation_one() -> None:
    normalisation = Normalisation((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    image = torch.tensor([255, 0, 255], dtype=torch.uint8).reshape(3, 1, 1)
    assert normalisation(image).flatten().tolist() == [1.0, -1.0, 1.0]


def test_samples_depend_on_seed_epoch_and_index_only() -> None:
    pairs = read("scenes", None, "val")
    samples = TrainingSamples(pairs, AUGMENTATION, Normalisation(), seed=5)
    assert len(samples) == len(pairs)
    image, labels = samples[3, 7, 40]
    torch.manual_seed(99)
    np.random.default_rng(1).random()
    again, _ = samples[3, 7, 41]
    assert torch.equal(image, again)
    other_seed = TrainingSamples(pairs, AUGMENTATION, Normalisation(), 6)
    others = [samples[3, 8, 40], samples[4, 7, 40], other_seed[3, 7, 40]]
    assert not any(torch.equal(image, other) for other, _ in others)
    assert image.dtype == labels.dtype == torch.uint8


def test_test_samples_keep_their_size() -> None:
    pairs = read("scenes", None, "val")
    samples = TestSamples(pairs, Normalisation())
    image, labels = samples[0]
    assert image.shape == (3, 128, 128)
    assert np.array_equal(labels.numpy(), labels_of(pairs.rows[0]))
    assert np.array_equal(samples.picture(0), read_image(pairs.rows[0].image))


def test_the_longest_side_is_limited() -> None:
    assert scaled_size(300, 900, "short", 450, 1.0, 1000) == (333, 1000)
    assert scaled_size(300, 400, "short", 450, 1.0, 600) == (450, 600)
    assert scaled_size(300, 400, "short", 450, 1.0) == (450, 600)
    image, labels = drawn(Augmentation(crop=None, base=40, limit=50))
    assert image.shape[1:] == labels.shape == (33, 50)


@pytest.mark.parametrize(
    ("length", "multiple", "expected"), [(1, 8, 8), (8, 8, 8), (9, 8, 16), (450, 8, 456), (7, 1, 7)]
)
def test_lengths_are_rounded_up(length: int, multiple: int, expected: int) -> None:
    assert round_up(length, multiple) == expected


def test_without_a_crop_the_whole_image_is_taken() -> None:
    image, labels = drawn(Augmentation(crop=None, flip=False))
    plain, its = pair()
    assert torch.equal(image, plain)
    assert torch.equal(labels, its)


@pytest.mark.slow
def test_images_of_a_step_share_a_factor_and_steps_do_not() -> None:
    pairs = read("scenes", None, "val")
    shared = Augmentation(crop=None, scale=(0.25, 0.5, 0.75, 1.0), listed=True, shared=True)
    samples = TrainingSamples(pairs, shared, Normalisation(), seed=5)
    sizes = [{samples[0, index, step][1].shape for index in range(4)} for step in range(8)]
    assert all(len(size) == 1 for size in sizes)
    assert len(set.union(*sizes)) > 1
    alone = TrainingSamples(pairs, replace(shared, shared=False), Normalisation(), seed=5)
    assert len({alone[0, index, 0][1].shape for index in range(8)}) > 1


def test_a_batch_is_padded_to_its_largest_sides() -> None:
    wide = torch.full((3, 9, 17), 7, dtype=torch.uint8), torch.ones(9, 17, dtype=torch.uint8)
    tall = torch.full((3, 15, 8), 7, dtype=torch.uint8), torch.ones(15, 8, dtype=torch.uint8)
    batch = Collate(8)([wide, tall])
    assert batch.images.dtype == batch.labels.dtype == torch.uint8
    normalisation = Normalisation()
    for channels_last in (False, True):
        images, labels = batch.on(torch.device("cpu"), normalisation, channels_last)
        assert images.shape == (2, 3, 16, 24)
        assert images.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        for image, its, (height, width) in zip(images, labels, [(9, 17), (15, 8)], strict=True):
            alone = normalisation(torch.full((3, height, width), 7, dtype=torch.uint8))
            assert torch.equal(image[:, :height, :width], alone)
            assert (image[:, height:] == 0).all()
            assert (image[:, :, width:] == 0).all()
            assert (its[:height, :width] == 1).all()
            assert (its == IGNORE).sum() == 16 * 24 - height * width
    assert Collate()([wide, tall]).images.shape == (2, 3, 15, 17)


def test_a_batch_of_one_size_is_each_image_normalised_to_the_last_bit() -> None:
    pairs = read("scenes", None, "val")
    samples = TrainingSamples(pairs, AUGMENTATION, Normalisation(), seed=5)
    drawn_ = [samples[0, index, 0] for index in range(3)]
    batch = Collate()(drawn_)
    assert batch.sizes is None
    images, labels = batch.on(torch.device("cpu"), Normalisation())
    assert torch.equal(images, torch.stack([Normalisation()(image) for image, _ in drawn_]))
    assert torch.equal(labels, torch.stack([its.long() for _, its in drawn_]))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"crop": 32, "multiple": 8}, "is for whole images"),
        ({"crop": None, "multiple": 0}, "augmentation.multiple must be at least 1"),
        ({"crop": None, "limit": 0}, "augmentation.limit must be at least 1 pixel, got 0"),
    ],
)
def test_impossible_augmentations_are_refused(fields: dict[str, int | None], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Augmentation(**fields)  # type: ignore[arg-type]


def test_order_gives_every_image_once_in_an_epoch() -> None:
    batches = list(Order(images=23, batch=4, steps=range(10), seed=1))
    assert len(batches) == 10
    for epoch in (0, 1):
        seen = [index for batch in batches[5 * epoch : 5 * epoch + 5] for _, index, _ in batch]
        assert len(set(seen)) == len(seen) == 20
        assert {e for batch in batches[5 * epoch : 5 * epoch + 5] for e, _, _ in batch} == {epoch}
    first, second = ([index for batch in batches[part] for _, index, _ in batch] for part in (slice(5), slice(5, 10)))
    assert first != second  # the next epoch has an order of its own
    assert [{step for _, _, step in batch} for batch in batches] == [{step} for step in range(10)]


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_order_shares_the_same_batch(processes: int, accumulate: int) -> None:
    whole = list(Order(23, 8, range(6), 1))
    parts = [list(Order(23, 8, range(6), 1, process, processes, accumulate)) for process in range(processes)]
    for step, batch in enumerate(whole):
        shared = [key for part in parts for piece in part[step * accumulate : (step + 1) * accumulate] for key in piece]
        assert sorted(shared) == sorted(batch)


def test_order_resumes_anywhere() -> None:
    whole = list(Order(23, 4, range(17), 1))
    assert list(Order(23, 4, range(7, 17), 1)) == whole[7:]
