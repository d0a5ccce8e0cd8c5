"""A recipe: everything that decides a reported number, as one frozen value.

The science is in `Recipe`, the machine is in `core.run.Run`. Both are plain data: `to_json` and `from_json` carry them
through `config.json`, and `differences` says what somebody changed.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

import tyro

from core.errors import require
from core.values import Rare

AnyArchitecture = TypeVar("AnyArchitecture")

Edge = Literal["short", "long"]
Precision = Literal["fp32", "bf16", "fp16"]

FP16 = "fp16 needs a GPU; on a CPU choose bf16 or fp32"
"""What is said of half precision where there is none."""
WeightsSource = Literal["hub", "gluon", "csail", "none"]
"""Whose ImageNet weights: see `core.networks.imagenet`."""


@dataclass(frozen=True)
class Tolerance:
    """By how many points of 100 a trained row may stay below the reported number, and why."""

    points: float
    reason: str


ONE_RUN = Tolerance(0.5, "a paper prints one run and not its spread; ours of one recipe lie that far apart and more")
SAME_WEIGHTS = Tolerance(
    0.1, "these are the very weights of the reported number, so only reading, resizing and merging can differ"
)


@dataclass(frozen=True)
class Reported:
    """A number as a paper prints it, with the place where it stands.

    `value` and `per_class` are in percent. `per_class` follows the order of the data set's classes, if printed.
    `tolerance` is widened only with evidence, and never to make a check pass. `caveat` says what keeps the number from
    being reached or judged from what is public; the row is kept whatever it says.
    """

    paper: str
    table: str
    row: str
    split: str
    value: float
    metric: Literal["mIoU", "pixel accuracy"] = "mIoU"
    per_class: tuple[float, ...] = ()
    tolerance: Tolerance = ONE_RUN
    caveat: str | None = None


@dataclass(frozen=True)
class Data:
    """Which images: the name of a data set and its splits for training, for choosing, and for the reported number.

    `name` is one of `core.datasets.DATASETS`, or `hub:org/name` for a data set on the Hugging Face Hub.
    """

    name: Annotated[str, tyro.conf.arg(aliases=["--dataset"], help="scenes, camvid, folder, hub:org/name, ...")]
    num_classes: Rare[int]
    """What the recipe expects; with another data set (`--dataset`), its own number replaces it."""
    train: str = "train"
    """The split that is trained on."""
    validation: str = "val"
    """The split that chooses, and shows how the training goes."""
    test: str = "val"
    """The split of the reported number."""

    def __post_init__(self) -> None:
        require(1 <= self.num_classes <= 255, f"num_classes must be 1 to 255, got {self.num_classes}")


@dataclass(frozen=True)
class Augmentation:
    """How a training sample is made: scale, pad, crop, flip, brightness; in this order.

    Padding has the mean colour, and labels that are ignored.
    """

    crop: int | None
    """Side of the square window that is drawn at random, in pixels; None: whole images, padded to a batch's largest."""
    base: int | None = None
    """Resize the edge to this many pixels before scaling; None: keep it."""
    edge: Rare[Edge] = "short"
    """The edge that `base` refers to."""
    scale: tuple[float, ...] | None = None
    """The lowest and the highest factor, drawn uniformly, or with `listed` the factors themselves; None: always 1."""
    listed: Rare[bool] = False
    """Draw one of the factors instead of any between two."""
    flip: Rare[bool] = True
    """Mirror half of the images."""
    brightness: Rare[float] = 0.0
    """Multiply the brightness by a factor from 1 - this to 1 + this."""
    shared: Rare[bool] = False
    """Draw one factor for all images of a step."""
    limit: Rare[int | None] = None
    """The longest side that an image may have after scaling, in pixels; a longer one is reduced to it."""
    multiple: Rare[int] = 1
    """Without a crop: both sides of a batch are rounded up to a multiple of this."""

    def __post_init__(self) -> None:
        require(self.crop is None or self.crop >= 1, f"augmentation.crop must be at least 1 pixel, got {self.crop}")
        require(
            self.multiple == 1 or (self.multiple > 1 and self.crop is None),
            "augmentation.multiple must be at least 1, and is for whole images (augmentation.crop None), got "
            f"{self.multiple} and a crop of {self.crop}",
        )
        require(self.limit is None or self.limit >= 1, f"augmentation.limit must be at least 1 pixel, got {self.limit}")
        require(self.base is None or self.base >= 1, f"augmentation.base must be at least 1 pixel, got {self.base}")
        factors = self.scale or (1.0, 1.0)
        require(min(factors) > 0, f"augmentation.scale must hold positive factors, got {factors}")
        require(
            self.listed or (len(factors) == 2 and factors[0] <= factors[1]),
            f"augmentation.scale must be two factors low <= high, got {factors}; to draw from a list, set listed",
        )
        require(0 <= self.brightness < 1, f"augmentation.brightness must be in [0, 1), got {self.brightness}")


@dataclass(frozen=True)
class Optimisation:
    """Stochastic gradient descent with momentum, as all five papers use it, and what your own data may need."""

    learning_rate: float
    """Learning rate of the backbone, right after warm-up."""
    batch: int
    """Images of a step, over all processes and accumulated parts together."""
    length: int
    """Length of the training, in `unit`."""
    unit: Rare[Literal["epochs", "steps"]] = "epochs"
    """Unit of the length."""
    schedule: Rare[Literal["poly", "linear"]] = "poly"
    """How the rate falls to 0: by (1 - step / steps) to the `power`, or linearly."""
    power: Rare[float] = 0.9
    """Exponent of the poly schedule."""
    head_multiplier: float = 1.0
    """Everything outside the backbone learns at this times the rate."""
    momentum: Rare[float] = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Applied to every parameter."""
    ema: Rare[float] = 0.0
    """Decay of a moving average of the weights, which is then validated and saved; 0: none."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """For own data: AdamW instead of SGD with momentum; its rates are about a hundred times smaller."""
    warmup: int = 0
    """Steps in which the learning rate rises to its schedule."""
    clip: float | None = None
    """The largest norm of all gradients together; None does not clip."""
    class_weights: Literal["none", "median"] = "none"
    """How much a class counts in the loss: all the same, or by SegNet's median frequency, rare ones more."""
    freeze: Literal["none", "backbone", "batchnorm"] = "none"
    """What stays as it began: nothing, the backbone, or the running means of its BatchNorm."""

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"optimisation.learning_rate must be a positive number, got {self.learning_rate}",
        )
        for name in ("batch", "length"):
            value = getattr(self, name)
            require(value >= 1, f"optimisation.{name} must be at least 1, got {value}")
        require(self.power > 0, f"optimisation.power must be positive, got {self.power}")
        require(self.head_multiplier > 0, f"optimisation.head_multiplier must be positive, got {self.head_multiplier}")
        require(0 <= self.momentum < 1, f"optimisation.momentum must be in [0, 1), got {self.momentum}")
        require(self.weight_decay >= 0, f"optimisation.weight_decay must not be negative, got {self.weight_decay}")
        require(0 <= self.ema < 1, f"optimisation.ema must be in [0, 1), got {self.ema}")
        require(self.warmup >= 0, f"optimisation.warmup must not be negative, got {self.warmup}")
        require(self.clip is None or self.clip > 0, f"optimisation.clip must be positive, got {self.clip}")

    def steps(self, images: int) -> int:
        """How many steps a training set of `images` gives; a last batch that is not full is dropped each epoch.

        Raises:
            ValueError: if one batch needs more images than there are.
        """
        require(
            images >= self.batch,
            f"a batch of {self.batch} needs at least as many training images, got {images}; "
            f"pass --recipe.optimisation.batch {max(images, 1)} or less",
        )
        return self.length if self.unit == "steps" else self.length * (images // self.batch)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1: a pure function, so that a resumed run cannot drift."""
        left = 1 - step / steps
        rate = self.learning_rate * (left**self.power if self.schedule == "poly" else left)
        return rate * (step + 1) / self.warmup if step < self.warmup else rate


@dataclass(frozen=True)
class Protocol:
    """How an image is tested. The same value serves validation, testing and the gates."""

    crop: int | None = None
    """Side of the window that slides over the image, in pixels; None: the whole image is one window."""
    stride: int | None = None
    """Pixels from a window to the next, at most the crop."""
    border: Rare[Literal["shifted", "padded"]] = "shifted"
    """What becomes of the last window: shifted inside, or cut off and padded with black, as released for DANet."""
    base: int | None = None
    """Resize the edge to this many pixels before scaling; None: keep it."""
    edge: Rare[Edge] = "long"
    """The edge that `base` refers to."""
    scales: tuple[float, ...] = (1.0,)
    """Each is tested, and the answers are merged."""
    flip: bool = False
    """Test the mirrored image too."""
    merge: Rare[Literal["softmax", "scores", "exp"]] = "softmax"
    """What is averaged: probabilities; the scores of windows, as in mmsegmentation; or exp(scores + mirrored scores),
    which weighs confident windows more, as in the released code of DANet and its relatives."""
    limit: Rare[int | None] = None
    """The longest side that an image may have, in pixels; a longer one is reduced to it."""
    multiple: Rare[int] = 1
    """Both sides are rounded up to a multiple of this, which changes the proportions by less."""

    def __post_init__(self) -> None:
        require(
            (self.crop is None) == (self.stride is None),
            f"a sliding window needs both protocol.crop and protocol.stride, got {self.crop} and {self.stride}",
        )
        if self.crop is not None and self.stride is not None:
            require(
                1 <= self.stride <= self.crop,
                f"protocol.stride must be 1 to protocol.crop = {self.crop}, got {self.stride}: pixels would be missed",
            )
        require(self.base is None or self.base >= 1, f"protocol.base must be at least 1 pixel, got {self.base}")
        require(self.limit is None or self.limit >= 1, f"protocol.limit must be at least 1 pixel, got {self.limit}")
        require(self.multiple >= 1, f"protocol.multiple must be at least 1, got {self.multiple}")
        require(
            len(self.scales) > 0 and all(0 < scale < math.inf for scale in self.scales),
            f"protocol.scales must be one or more positive factors, got {self.scales}",
        )

    def in_words(self) -> str:
        """Return it as it stands in a table: all that differs from a whole image at its own size."""
        words = ["whole image" if self.crop is None else f"windows of {self.crop} every {self.stride}"]
        if self.base is not None:
            words.append(f"{self.edge} edge {self.base}")
        if self.limit is not None:
            words.append(f"longest side at most {self.limit}")
        if self.multiple > 1:
            words.append(f"sides rounded up to multiples of {self.multiple}")
        if self.scales != (1.0,):
            several = "scales" if len(self.scales) > 1 else "scale"
            words.append(f"{several} {' '.join(f'{scale:g}' for scale in self.scales)}")
        if self.flip:
            words.append("mirrored")
        if self.border == "padded":
            words.append("last windows padded")
        if self.merge != "softmax":
            words.append(f"merged by {self.merge}")
        return ", ".join(words)


@dataclass(frozen=True)
class Recipe(Generic[AnyArchitecture]):
    """One row of a paper: what is trained, on what, how, how it is tested, and the number it must reach.

    `same_weights_as` names the recipe that trains the weights of a row that only tests them harder. `starts_from` names
    the recipe whose trained weights this one begins with, instead of the backbone's: the second of two stages.
    `backbone_weights` says whose ImageNet weights the backbone begins with, `also_weights` whose it may begin with and
    be the published recipe too.
    """

    name: tyro.conf.Fixed[str]
    summary: tyro.conf.Fixed[str]
    architecture: AnyArchitecture
    data: Data
    augmentation: Augmentation
    optimisation: Optimisation
    protocol: Protocol
    reported: tyro.conf.Fixed[tuple[Reported, ...]] = ()
    backbone_weights: tyro.conf.Fixed[WeightsSource] = "hub"
    also_weights: tyro.conf.Fixed[tuple[WeightsSource, ...]] = ()
    same_weights_as: tyro.conf.Fixed[str | None] = None
    starts_from: tyro.conf.Fixed[str | None] = None
