"""From a pair of image and labels to tensors: one pipeline for training, one for testing.

Every random number of a training sample comes from a generator that is a pure function of (seed, epoch, index), or of
(seed, epoch, step) where the images of a step share it, so a resumed run, another number of workers and another number
of processes all see the same samples.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from core.datasets.cache import Pixels
from core.datasets.samples import Pairs
from core.images.bands import shown
from core.images.classes import IGNORE
from core.images.pixels import Normalisation, round_up, scaled_size
from core.recipe import Augmentation

Sample = tuple[UInt8[Tensor, "c h w"], UInt8[Tensor, "h w"]]
AnySize = tuple[UInt8[Tensor, "c _ _"], UInt8[Tensor, "_ _"]]


def _tensors(pixels: Pixels, index: int) -> tuple[UInt8[Tensor, "c h w"], UInt8[Tensor, "h w"]]:
    """A pair as views of its pixels, which stay in the order of the file, where torch resizes them fastest."""
    image, labels = (torch.from_numpy(part) for part in pixels.pair(index))
    return rearrange(image, "h w c -> c h w"), labels


def augment(
    image: UInt8[Tensor, "c h w"],
    labels: UInt8[Tensor, "h w"],
    augmentation: Augmentation,
    generator: np.random.Generator,
    fill: tuple[int, ...] = (0, 0, 0),
    factor: float | None = None,
) -> tuple[UInt8[Tensor, "c tall wide"], UInt8[Tensor, "tall wide"]]:
    """Scale, pad, crop, flip and brighten a pair; a pure function of its arguments.

    Images are enlarged bilinearly and reduced with antialiasing; labels keep the nearest value and are padded with
    255; `fill` is the colour that pads the image. `factor` is the one of scaling, where it is not drawn here.
    """
    crop = augmentation.crop
    factor = draw_factor(augmentation, generator) if factor is None else factor
    height, width = labels.shape
    tall, wide = scaled_size(height, width, augmentation.edge, augmentation.base, factor, augmentation.limit)
    window = Window(0, 0, tall, wide)
    if crop is not None:
        top, left = (int(generator.integers(max(0, length - crop) + 1)) for length in (tall, wide))
        window = Window(top, left, min(top + crop, tall), min(left + crop, wide))
    image, labels = _scaled_image(image, (tall, wide), window), _scaled_labels(labels, (tall, wide), window)
    if crop is not None and labels.shape != (crop, crop):
        missing = [0, 0, crop - labels.shape[1], crop - labels.shape[0]]  # left, top, right, bottom
        image = functional.pad(image, missing, fill=list(fill))
        labels = functional.pad(tv_tensors.Mask(labels), missing, fill=IGNORE)

    if augmentation.flip and generator.random() < 0.5:
        image, labels = image.flip(-1), labels.flip(-1)
    if augmentation.brightness:
        strength = generator.uniform(1 - augmentation.brightness, 1 + augmentation.brightness)
        image = image.mul(strength).clamp_(0, 255).to(torch.uint8)
    return image.as_subclass(Tensor), labels.as_subclass(Tensor)


class Window(NamedTuple):
    """The part of a scaled image that is wanted, in its pixels: rows top to bottom - 1, columns left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int


def _scaled_image(image: UInt8[Tensor, "c h w"], size: tuple[int, int], window: Window) -> UInt8[Tensor, "c tall wide"]:
    """The window of an image scaled to `size`, the same to the last bit as if all of it were scaled.

    Torch brings an image to its width, in 8 bits, and then to its height. So the first is done for the rows alone that
    the window depends on, and the second for its columns alone.
    """
    (channels, height, width), tall = image.shape, size[0]
    rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
    if size == (height, width) or window.right - window.left == 1:  # torch 2.15 scales one column alone wrongly
        return _scaled(image, size)[:, rows, columns]
    reach = max(1.0, height / tall)  # how far from its centre a scaled pixel takes from, in rows of the image
    first = max(0, math.floor((window.top + 0.5) * height / tall - reach))
    last = min(height, math.ceil((window.bottom - 0.5) * height / tall + reach) + 1)
    strip = rearrange(image.new_empty(height, window.right - window.left, channels), "h w c -> c h w")
    strip[:, first:last] = _scaled(image[:, first:last], (last - first, size[1]))[..., columns]
    return _scaled(strip, (tall, strip.shape[2]))[:, rows]


def _scaled(image: UInt8[Tensor, "c _ _"], size: tuple[int, int]) -> UInt8[Tensor, "c _ _"]:
    if size == tuple(image.shape[-2:]):
        return image
    batch = rearrange(image, "c h w -> 1 c h w")
    return nn.functional.interpolate(batch, size=size, mode="bilinear", antialias=True)[0]


def _scaled_labels(labels: UInt8[Tensor, "h w"], size: tuple[int, int], window: Window) -> UInt8[Tensor, "tall wide"]:
    """The window of labels scaled to `size`, each the nearest value as torch chooses it."""

    def nearest(own: int, scaled: int) -> np.ndarray:
        numbers = rearrange(torch.arange(own, dtype=torch.float32), "own -> 1 1 own")
        return nn.functional.interpolate(numbers, size=scaled).flatten().long().numpy()

    rows, columns = (nearest(own, scaled) for own, scaled in zip(labels.shape, size, strict=True))
    chosen = labels.numpy()[rows[window.top : window.bottom]]  # numpy gathers bytes four times as fast as torch
    return torch.from_numpy(chosen.take(columns[window.left : window.right], axis=1))


def draw_factor(augmentation: Augmentation, generator: np.random.Generator) -> float:
    """Draw the factor by which an image is scaled; 1 if it is always that."""
    if augmentation.scale is None:
        return 1.0
    if augmentation.listed:
        return float(generator.choice(augmentation.scale))
    return float(generator.uniform(augmentation.scale[0], augmentation.scale[-1]))


class Batch(NamedTuple):
    """Images and labels as they travel: in 8 bits, an eighth of what the network takes.

    `sizes` are the height and width of each image where some were padded at the right and at the bottom, else None.
    """

    images: UInt8[Tensor, "b c h w"]
    labels: UInt8[Tensor, "b h w"]
    sizes: Int64[Tensor, "b 2"] | None = None

    def on(
        self, device: torch.device, normalisation: Normalisation, channels_last: bool = False
    ) -> tuple[Float[Tensor, "b c h w"], Int64[Tensor, "b h w"]]:
        """Normalise on the device, without waiting for it; padding becomes 0, the mean colour."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = normalisation(self.images.to(device, non_blocking=True).contiguous(memory_format=layout))
        if self.sizes is not None:
            for image, (height, width) in zip(images, self.sizes.tolist(), strict=True):
                image[:, height:] = 0
                image[:, :, width:] = 0
        return images, self.labels.to(device, non_blocking=True).long()


@dataclass(frozen=True)
class Collate:
    """Makes a batch of samples of different sizes: padded to the largest sides, rounded up to a `multiple`.

    They are padded at the right and at the bottom, labels with 255; see `Batch`.
    """

    multiple: int = 1

    def __call__(self, samples: list[AnySize]) -> Batch:
        """Stack samples; those of one size that is a multiple are not padded."""
        sizes = [tuple(labels.shape) for _, labels in samples]
        tall, wide = (round_up(max(size[side] for size in sizes), self.multiple) for side in (0, 1))
        if set(sizes) == {(tall, wide)}:
            return Batch(torch.stack([image for image, _ in samples]), torch.stack([labels for _, labels in samples]))
        images = torch.zeros(len(samples), samples[0][0].shape[0], tall, wide, dtype=torch.uint8)
        labels = torch.full((len(samples), tall, wide), IGNORE, dtype=torch.uint8)
        for number, (height, width) in enumerate(sizes):
            images[number, :, :height, :width], labels[number, :height, :width] = samples[number]
        return Batch(images, labels, torch.tensor(sizes))


class TrainingSamples(Dataset[Sample]):
    """Augmented samples, addressed by (epoch, index, step): the step decides what all images of it share."""

    def __init__(
        self,
        pairs: Pairs,
        augmentation: Augmentation,
        normalisation: Normalisation,
        seed: int,
        cache: Path | None = None,
    ) -> None:
        self.pixels = Pixels(pairs, cache, len(normalisation.mean))
        self.augmentation, self.seed = augmentation, seed
        self.fill = tuple(round(255 * mean) for mean in normalisation.mean)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        epoch, index, step = key
        image, labels = _tensors(self.pixels, index)
        generator = np.random.default_rng((self.seed, epoch, index, 1))
        factor = None
        if self.augmentation.shared:
            factor = draw_factor(self.augmentation, np.random.default_rng((self.seed, epoch, step, 3)))
        return augment(image, labels, self.augmentation, generator, self.fill, factor)


class TestSamples(Dataset[tuple[Float[Tensor, "c h w"], UInt8[Tensor, "h w"]]]):
    """Images at their own size, normalised, for testing."""

    __test__ = False  # not a class of tests

    def __init__(self, pairs: Pairs, normalisation: Normalisation) -> None:
        self.pixels, self.normalisation = Pixels(pairs, channels=len(normalisation.mean)), normalisation

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "c h w"], UInt8[Tensor, "h w"]]:
        image, labels = _tensors(self.pixels, index)
        return self.normalisation(image.contiguous()), labels

    def picture(self, index: int) -> np.ndarray:
        """The image as it is shown, 8 bits, h w 3."""
        return shown(self.pixels.image(index))


class Order(Sampler[list[tuple[int, int, int]]]):
    """Which samples a process sees: for each step its share of the batch, in `accumulate` parts.

    The batch of a step is the same whatever the number of processes, and a pure function of (seed, step): resuming
    means starting at another step. Each epoch is a new permutation; a last batch that is not full is left out.

    Args:
        images: how many images there are.
        batch: the total batch, a multiple of `processes * accumulate`.
        steps: the steps to give, e.g. `range(resumed, total)`.
    """

    def __init__(
        self,
        images: int,
        batch: int,
        steps: range,
        seed: int,
        process: int = 0,
        processes: int = 1,
        accumulate: int = 1,
    ) -> None:
        self.images, self.batch, self.steps, self.seed = images, batch, steps, seed
        self.process, self.processes, self.accumulate = process, processes, accumulate

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        part = self.batch // (self.processes * self.accumulate)
        shuffled, permutation = -1, np.empty(0, dtype=np.int64)
        for step in self.steps:
            epoch, place = divmod(step, self.images // self.batch)
            if epoch != shuffled:
                shuffled, permutation = epoch, np.random.default_rng((self.seed, epoch, 0, 2)).permutation(self.images)
            whole = permutation[place * self.batch : (place + 1) * self.batch]
            for number in range(self.accumulate):
                start = (number * self.processes + self.process) * part
                yield [(epoch, int(index), step) for index in whole[start : start + part]]
