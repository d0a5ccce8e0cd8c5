"""Decoded pixels in a folder: the same as decoded at each look, and never those of another file."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import begin, differing, left, recipe

from core.datasets import cache, read
from core.datasets.cache import Pixels
from core.datasets.samples import Pairs, from_files
from core.images.classes import IGNORE, Classes
from core.training.loop import train

CLASSES = Classes.coloured(["a", "b"])
MAPPING = {3: 0, 300: 1, 0: IGNORE}
LABELS = np.array([[0, 3, 300], [300, 3, 0]], dtype=np.uint16)


def write(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    """Two images, one of them grey, with labels of 16 bits."""
    rng = np.random.default_rng(0)
    images = [
        write(tmp_path / f"{size}.png", rng.integers(0, 256, (2, 3, 3)[:size], dtype=np.uint8)) for size in (3, 2)
    ]
    labels = [write(tmp_path / f"labels_{index}.png", LABELS) for index in range(2)]
    return Pairs(from_files(images, labels), CLASSES, MAPPING)


def files(cache: Path) -> set[Path]:
    return {path for path in cache.rglob("*") if path.is_file()}


def test_cached_pixels_are_the_decoded_ones(pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, cached = Pixels(pairs), Pixels(pairs, tmp_path / "cache")
    expected = [(plain.image(index), plain.labels(index)) for index in range(2)]
    assert expected[0][1].tolist() == [[IGNORE, 0, 1], [1, 0, IGNORE]]
    assert cached.fill(quiet=True) == sum(image.nbytes + labels.nbytes for image, labels in expected)
    monkeypatch.delattr(Image, "open")  # nothing is decoded again
    monkeypatch.delattr(np, "load")  # and no header is read again
    for index, (image, labels) in enumerate(expected):
        assert image.dtype == labels.dtype == cached.image(index).dtype == cached.labels(index).dtype == np.uint8
        assert np.array_equal(cached.image(index), image)
        assert np.array_equal(cached.labels(index), labels)
    assert len(files(tmp_path / "cache")) == 4


def test_a_changed_file_and_another_mapping_are_decoded_again(pairs: Pairs, tmp_path: Path) -> None:
    cached = Pixels(pairs, tmp_path / "cache")
    cached.fill(quiet=True)
    path = tmp_path / "3.png"
    before = path.stat()
    write(path, np.full((2, 3, 3), 9, np.uint8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (cached.image(0) == 9).all()
    other = Pixels(replace(pairs, mapping={**MAPPING, 3: 1}), tmp_path / "cache")
    assert other.labels(0).tolist() == [[IGNORE, 1, 1], [1, 1, IGNORE]]
    assert cached.labels(0).tolist() == [[IGNORE, 0, 1], [1, 0, IGNORE]]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 0), lambda path: os.truncate(path, 130)])
def test_what_is_removed_or_cut_while_it_is_used_is_made_again(
    pairs: Pairs, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    cached = Pixels(pairs, tmp_path / "cache")
    cached.fill(quiet=True)
    for path in files(tmp_path / "cache"):
        harm(path)
    assert np.array_equal(cached.image(0), Pixels(pairs).image(0))
    assert cached.labels(0).tolist() == [[IGNORE, 0, 1], [1, 0, IGNORE]]


def test_embedded_images_are_known_by_their_bytes(tmp_path: Path) -> None:
    scenes = read("scenes", None, "val")
    few = replace(scenes, rows=scenes.rows[4:6])
    cached = Pixels(few, tmp_path / "cache")
    cached.fill(quiet=True)
    turned = Pixels(replace(few, rows=scenes.rows[5:3:-1]), tmp_path / "cache")
    assert np.array_equal(turned.image(0), cached.image(1))
    assert not np.array_equal(turned.image(0), cached.image(0))
    assert len(files(tmp_path / "cache")) == 4


def test_what_is_done_to_pixels_stays_out_of_the_cache(pairs: Pairs, tmp_path: Path) -> None:
    cached = Pixels(pairs, tmp_path / "cache")
    image = cached.image(0)
    kept = image.copy()
    image[:] = 0
    assert kept.any()
    assert np.array_equal(cached.image(0), kept)


@pytest.mark.parametrize("turn", [np.ascontiguousarray, np.asfortranarray])
def test_pixels_in_any_order_are_found_again(turn: Callable[[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    path, pixels = tmp_path / "ab.npy", np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    cache._write(path, turn(pixels), "ab")
    assert np.array_equal(cache._mapped(path, cache._layout(path)), pixels)


def test_labels_that_are_not_public_are_ignored_ones(pairs: Pairs) -> None:
    assert (Pixels(replace(pairs, labelled=False)).labels(0) == np.full((2, 3), IGNORE)).all()


def test_a_cache_that_can_not_be_is_refused(pairs: Pairs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the cache .*3\.png is a file; pass a folder"):
        Pixels(pairs, tmp_path / "3.png")
    with pytest.raises(ValueError, match="there is no cache to fill"):
        Pixels(pairs).fill()


@pytest.mark.slow
def test_a_run_with_a_cache_is_bit_for_bit_the_run_without(tmp_path: Path) -> None:
    train(begin(tmp_path / "without", recipe(length=4)))
    train(begin(tmp_path / "with", recipe(length=4), cache=tmp_path / "cache"))
    assert len(files(tmp_path / "cache")) == 2 * 13
    assert not differing(left(tmp_path / "without" / "tiny"), left(tmp_path / "with" / "tiny"))
