"""From pairs to samples: labels stay labels, and everything random is a function of (seed, epoch, index)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from core.classes import IGNORE
from core.datasets import read
from core.recipe import Augmentation
from core.sizes import scaled_size
from core.transforms import Normalisation, Order, TestSamples, TrainingSamples, augment

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


def test_normalisation_is_mean_zero_deviation_one() -> None:
    normalisation = Normalisation((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    image = torch.tensor([255, 0, 255], dtype=torch.uint8).reshape(3, 1, 1)
    assert normalisation(image).flatten().tolist() == [1.0, -1.0, 1.0]


def test_samples_depend_on_seed_epoch_and_index_only() -> None:
    pairs = read("scenes", None, "val")
    samples = TrainingSamples(pairs, AUGMENTATION, Normalisation(), seed=5)
    image, labels = samples[3, 7]
    torch.manual_seed(99)
    np.random.default_rng(1).random()
    again, _ = samples[3, 7]
    assert torch.equal(image, again)
    others = [samples[3, 8], samples[4, 7], TrainingSamples(pairs, AUGMENTATION, Normalisation(), 6)[3, 7]]
    assert not any(torch.equal(image, other) for other, _ in others)
    assert labels.dtype == torch.int64


def test_test_samples_keep_their_size() -> None:
    pairs = read("scenes", None, "val")
    samples = TestSamples(pairs, Normalisation())
    image, labels = samples[0]
    assert image.shape == (3, 128, 128)
    assert np.array_equal(labels.numpy(), np.asarray(pairs.rows[0]["labels"]))
    assert np.array_equal(samples.picture(0), np.asarray(pairs.rows[0]["image"]))


def test_order_gives_every_image_once_in_an_epoch() -> None:
    batches = list(Order(images=23, batch=4, steps=range(10), seed=1))
    assert len(batches) == 10
    for epoch in (0, 1):
        seen = [index for batch in batches[5 * epoch : 5 * epoch + 5] for _, index in batch]
        assert len(set(seen)) == len(seen) == 20
        assert {e for batch in batches[5 * epoch : 5 * epoch + 5] for e, _ in batch} == {epoch}
    assert batches[:5] != batches[5:]


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
