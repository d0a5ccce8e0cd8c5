"""How many images per second a core can make ready for training, and where the time goes.

Three pipelines make the same kind of sample, in turns, so that whatever else the computer does meets all of them:

    plain       PIL opens the files, the transforms of torchvision.v2 do the rest: what one would write first
    here        `core.datasets.transforms.TrainingSamples`, which decodes at each look, and gives 8 bits
    cached      the same with decoded pixels in a folder (`--run.cache`), which was filled before

and a fourth, the ceiling, hands out one ready sample again and again: what a loader can do at most. The usual form is
plain. All figures are of processor time, of every process involved and with one thread each, not of the clock: others
on the same computer change them little. A decoded pixel of the cache is read when the transform wants it, so that its
decoding is near 0.
"""

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
import tyro
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from ci.bench.harness import Line, report, say
from core.datasets import read
from core.datasets.cache import Pixels
from core.datasets.samples import Pairs, from_files, plain_mapping
from core.datasets.sets import scenes
from core.datasets.transforms import Collate, Sample, TrainingSamples, augment
from core.errors import require
from core.images.classes import IGNORE
from core.images.pixels import Normalisation
from core.recipe import Augmentation

GENERATED = "generated"
"""Scenes of the embedded data set, drawn as large as those of Cityscapes; their PNGs take 2.2 to 2.5 MB, as theirs."""

SIZE = (1024, 2048)
BATCH = 4
SCALE = (0.75, 2.0)


class Memory(NamedTuple):
    """Megabytes that a worker keeps to itself after its first and after its last epoch."""

    first: float
    last: float


class Plain(Dataset[tuple[Tensor, Tensor]]):
    """What one would write first: files opened by PIL, transforms of torchvision.v2."""

    def __init__(self, pairs: Pairs, crop: int, base: int, normalisation: Normalisation) -> None:
        self.rows = pairs.rows
        self.lookup = pairs.lookup()
        low, high = (round(base * factor) for factor in SCALE)
        fill = {tv_tensors.Image: [round(255 * value) for value in normalisation.mean], tv_tensors.Mask: IGNORE}
        self.transform = v2.Compose(
            [
                v2.RandomShortestSize(list(range(low, high + 1))),
                v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
                v2.RandomHorizontalFlip(),
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64}, scale=True),
                v2.Normalize(normalisation.mean, normalisation.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def decoded(self, index: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
        """The pair in memory."""
        row = self.rows[index]
        assert row.labels is not None
        with row.image.open("rb") as image, row.labels.open("rb") as labels:
            decoded = v2.functional.to_image(Image.open(image).convert("RGB"))
            return decoded, tv_tensors.Mask(self.lookup[np.asarray(Image.open(labels))])

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        image, labels = self.transform(*self.decoded(key[1]))
        return image.as_subclass(Tensor), labels.as_subclass(Tensor)


class Ready(Dataset[Sample]):
    """The ceiling: one sample, made before."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        return self.sample


@dataclass(frozen=True)
class Pipeline:
    """A way to make samples: its parts, by the number of a row, and the whole, by (epoch, index, step)."""

    decode: Callable[[int], Any]
    transform: Callable[[Any, int], Sample]
    samples: Dataset[Sample]


def _plain(samples: Plain) -> Pipeline:
    return Pipeline(samples.decoded, lambda decoded, _: samples.transform(*decoded), samples)


def _here(samples: TrainingSamples, pixels: Pixels) -> Pipeline:
    def transform(decoded: tuple[np.ndarray, np.ndarray], index: int) -> Sample:
        image, labels = (torch.from_numpy(part) for part in decoded)
        generator = np.random.default_rng(index)
        return augment(image.permute(2, 0, 1), labels, samples.augmentation, generator, samples.fill)

    return Pipeline(pixels.pair, transform, samples)


class Clocked:
    """A collate function that adds what its process has used: seconds of processor, bytes of memory of its own."""

    def __call__(self, samples: list[tuple[Tensor, Tensor]]) -> tuple[Any, float, int]:
        in_8_bits = samples[0][0].dtype == torch.uint8
        batch = Collate()(samples) if in_8_bits else default_collate(samples)
        return batch, time.process_time(), own_memory()


def own_memory() -> int:
    """Bytes of memory of this process that no file lies behind; 0 where the system does not say (only Linux does)."""
    statement = Path("/proc/self/statm")
    if not statement.is_file():
        return 0
    resident, shared = (int(word) for word in statement.read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def loader_cost(samples: Dataset[Sample], images: int, epochs: int = 1) -> tuple[float, Memory]:
    """Milliseconds for each image of a loader with one worker, both processes together, and the worker's memory.

    The first batch is not counted: it pays for the start of the worker.

    Raises:
        ValueError: if there are fewer than two batches.
    """
    per_epoch = images // BATCH
    require(per_epoch * epochs >= 2, f"a loader is measured over two batches of {BATCH} images or more, got {images}")
    order = [
        [(epoch, batch * BATCH + number, 0) for number in range(BATCH)]
        for epoch in range(epochs)
        for batch in range(per_epoch)
    ]
    loader = DataLoader(samples, batch_sampler=order, collate_fn=Clocked(), num_workers=1)
    own, worker, memory = [], [], []
    for _, seconds, kept in loader:
        own.append(time.process_time())
        worker.append(seconds)
        memory.append(kept / 1e6)
    spent = own[-1] - own[0] + worker[-1] - worker[0]
    return 1000 * spent / (BATCH * (len(own) - 1)), Memory(memory[per_epoch - 1], memory[-1])


def _costs(pipeline: Pipeline, images: int) -> dict[str, float]:
    """One round over the images: the parts, one image after the other, then the loader; milliseconds for each image."""
    spent = [0.0, 0.0]
    for index in range(images):
        started = time.process_time()
        decoded = pipeline.decode(index)
        between = time.process_time()
        pipeline.transform(decoded, index)
        spent[0] += between - started
        spent[1] += time.process_time() - between
    decode, transform = (1000 * seconds / images for seconds in spent)
    return {"decode": decode, "transform": transform, "loader": loader_cost(pipeline.samples, images)[0]}


def generate(folder: Path, images: int, size: tuple[int, int] = SIZE) -> Pairs:
    """Write scenes with their labels as PNGs, and return them as a data set."""
    files: dict[str, list[Path]] = {"image": [], "labels": []}
    for index in range(images):
        for name, pixels in zip(files, scenes.draw(0, index, *size), strict=True):
            files[name].append(folder / f"{index:04d}_{name}.png")
            Image.fromarray(pixels).save(files[name][-1])
    return Pairs(from_files(files["image"], files["labels"]), scenes.CLASSES, plain_mapping(scenes.CLASSES))


def main(
    name: tyro.conf.Positional[str],
    data: tyro.conf.Positional[Path | None] = None,
    split: str = "train",
    images: int = 16,
    rounds: int = 3,
    crop: int | None = None,
    epochs: int = 5,
    to: Path | None = None,
) -> int:
    """Measure how fast the first images of a data set become ready for training.

    Args:
        name: a data set as `core.datasets.read` knows it, or "generated".
        data: its folder; not for "generated".
        split: which images.
        images: how many of them.
        rounds: how often all pipelines take their turn; the median counts.
        crop: side of the training crop in pixels; None: three quarters of the short side of the first image, which is
            Cityscapes' 768 of 1024.
        epochs: how often the worker goes over the images while its memory is watched.
        to: a file for the figures, as JSON.

    Raises:
        ValueError: if the data set can't be read, its labels are not public, or there are too few images.
    """
    require(rounds >= 1 and epochs >= 2, f"needed are rounds >= 1 and epochs >= 2, got {rounds} and {epochs}")
    require(images >= 2 * BATCH, f"needed are images >= {2 * BATCH}, two batches, got {images}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        pairs = generate(Path(place), images) if name == GENERATED else read(name, data, split)
        require(pairs.labelled, f"the labels of {name!r}, {split}, are not public; bench another")
        require(len(pairs) >= images, f"{name!r} has {len(pairs)} images in {split}, but images is {images}")
        pairs = replace(pairs, rows=pairs.rows[:images])
        height, width = Pixels(pairs).labels(0).shape
        base = min(height, width)
        crop = crop or base * 3 // 4
        say(
            f"{images} images of {width} x {height} pixels; short side {base} x {SCALE[0]} to {SCALE[1]}, crop {crop}, "
            f"mirrored, normalised; batches of {BATCH}, {rounds} rounds; Pillow {PIL.__version__}"
        )
        return report(list(measured(pairs, crop, base, Path(place) / "cache", rounds, epochs)), "cpu", to)


def measured(pairs: Pairs, crop: int, base: int, cache: Path, rounds: int, epochs: int) -> Iterator[Line]:
    """All rounds of all pipelines, the disk that the cache takes, and the memory of a worker that uses it."""
    augmentation, normalisation = Augmentation(crop, base=base, scale=SCALE), Normalisation()
    cached = Pixels(pairs, cache)
    disk = cached.fill(quiet=True)
    here = TrainingSamples(pairs, augmentation, normalisation, 0)
    with_cache = TrainingSamples(pairs, augmentation, normalisation, 0, cache)
    pipelines = {
        "plain": _plain(Plain(pairs, crop, base, normalisation)),
        "here": _here(here, Pixels(pairs)),
        "cached": _here(with_cache, cached),
    }
    ready = Ready(with_cache[0, 0, 0])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for title, pipeline in pipelines.items():
            for part, spent in _costs(pipeline, len(pairs)).items():
                found[title, part].append(spent)
        found["ceiling", "loader"].append(loader_cost(ready, len(pairs))[0])
    _, memory = loader_cost(with_cache, len(pairs), epochs)
    speeds = {key: 1000 / statistics.median(values) for key, values in found.items()}
    for (title, part), speed in speeds.items():
        if title != "plain":
            yield Line(f"{title}: {part}", speed, "images/s", speeds["plain", part])
    yield Line("the cache, for each pair", disk / len(pairs) / 1e6, "MB")
    yield Line("memory of a worker after epoch 1", memory.first, "MB")
    yield Line(f"memory of a worker after epoch {epochs}", memory.last, "MB")
