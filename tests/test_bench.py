"""The benchmark of the loader: what it measures, and that no worker gathers memory."""

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ci.bench import data as bench
from core.datasets import read
from core.datasets.samples import labels_of
from core.datasets.sets import scenes
from core.datasets.transforms import TrainingSamples
from core.images.pixels import Normalisation
from core.recipe import Augmentation

SAMPLE = torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.int64)


class Busy(Dataset[tuple[Tensor, Tensor]]):
    """Each sample takes 20 ms of processor time."""

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        return SAMPLE


class Leaky(Dataset[tuple[Tensor, Tensor]]):
    """Each time over the images leaves 40 MB behind, more than what is taken from memory that was freed before."""

    def __init__(self) -> None:
        self.left: list[np.ndarray] = []

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        if key[1] == 0:
            self.left.append(np.ones(40_000_000, np.uint8))
        return SAMPLE


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_each_pipeline_is_held_against_the_plain_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main("scenes", images=8, rounds=1, epochs=2, to=tmp_path / "data.json") == 0
    assert "8 images of 128 x 128 pixels; short side 128 x 0.75 to 2.0, crop 96" in capsys.readouterr().out
    lines = {line["name"]: line for line in json.loads((tmp_path / "data.json").read_text())["lines"]}
    for name in (f"{title}: {part}" for title in ("here", "cached") for part in ("decode", "transform", "loader")):
        assert min(lines[name]["ours"], lines[name]["usual"]) > 0
    assert lines["ceiling: loader"]["usual"] == lines["here: loader"]["usual"] == lines["cached: loader"]["usual"]
    assert lines["the cache, for each pair"]["ours"] == 4 * 128 * 128 / 1e6


def test_generated_images_are_scenes_in_files(tmp_path: Path) -> None:
    pairs = bench.generate(tmp_path, 2, (32, 64))
    image, labels = scenes.draw(0, 1, 32, 64)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "0001_image.png")), image)
    assert np.array_equal(labels_of(pairs.rows[1]), labels)


@pytest.mark.slow
def test_the_plain_pipeline_makes_the_same_kind_of_sample() -> None:
    pairs = read("scenes", None, "val")
    augmentation, normalisation = Augmentation(crop=96, base=128, scale=bench.SCALE), Normalisation()
    image, labels = bench.Plain(pairs, 96, 128, normalisation)[0, 0, 0]
    ours, its = TrainingSamples(pairs, augmentation, normalisation, 0)[0, 0, 0]
    assert (image.shape, labels.shape, image.dtype, ours.dtype) == (ours.shape, its.shape, torch.float32, torch.uint8)
    assert abs(float(image.mean() - normalisation(ours).mean())) < 0.5
    assert set(labels.unique().tolist()) <= {*range(10), 255}


def test_the_processor_time_of_the_worker_counts() -> None:
    milliseconds, _ = bench.loader_cost(Busy(), images=8)
    assert milliseconds >= 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is a process's own")
def test_workers_do_not_gather_memory_over_epochs(tmp_path: Path) -> None:
    # What earlier tests freed and malloc kept would otherwise be taken first, and no growth be seen.
    ctypes.CDLL(None).malloc_trim(0)
    _, leaky = bench.loader_cost(Leaky(), images=8, epochs=5)
    assert leaky.last - leaky.first > 150
    samples = TrainingSamples(read("scenes", None, "val"), Augmentation(crop=96), Normalisation(), 0)
    _, plain = bench.loader_cost(samples, images=16, epochs=12)
    cached = TrainingSamples(read("scenes", None, "val"), Augmentation(crop=96), Normalisation(), 0, tmp_path / "cache")
    _, mapped = bench.loader_cost(cached, images=16, epochs=12)
    for memory in (plain, mapped):
        assert memory.first > 0
        assert abs(memory.last - memory.first) < 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"images": 4}, "needed are images >= 8"),
        ({"images": 97, "split": "val"}, "has 96 images in val, but images is 97"),
        ({"rounds": 0}, "needed are rounds >= 1"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_impossible_measurements_are_refused(arguments: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        bench.main("scenes", **arguments)  # type: ignore[arg-type]
