"""Testing one image as a `Protocol` says: at several scales, in windows, mirrored; many answers become one.

image     c h w            normalised, so that 0 is the mean colour
windows   b c h w          what the network sees at once
answers   b k h w          probabilities, scores or exp(scores) of each window, mirrored images merged in
returned  k h w            probabilities at the image's own size; argmax over k is the labels

Everything is float32. Answers that are exp(scores) go beside their `top`, b h w, so that they never overflow: what is
meant is values * exp(top), and the largest value of a pixel is about 1. Otherwise `top` is None.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from core.images.pixels import Normalisation
from core.networks.workload import positions, seen_size, windows_at_once
from core.recipe import Protocol

STRIP = 2**22
"""The numbers of a strip, some rows of all classes: maps are merged strip by strip, so that no third copy is made."""

SMALL = 2**20
"""Up to so many pixels, the last windows of a scale wait for those of the next one, or of the next image."""


class Map(NamedTuple):
    """Answers and, where they are exponentials, what they are to be multiplied by: exp(top)."""

    values: Float[Tensor, "*b k h w"]
    top: Float[Tensor, "*b h w"] | None = None

    def add(self, other: "Map", rows: slice = slice(None), columns: slice = slice(None)) -> None:
        """Add another map to a part of this one, in place."""
        values = self.values[..., rows, columns]
        if self.top is None or other.top is None:
            values += other.values
            return
        top = self.top[..., rows, columns]
        largest = torch.maximum(top, other.top)
        values.mul_((top - largest).exp_()).add_(other.values * (other.top - largest).exp_())
        top.copy_(largest)


@dataclass
class Scale:
    """An image at one scale, where windows lie on it, and what was answered so far."""

    image: Float[Tensor, "c h w"]
    own: tuple[int, int]  # the size of the unscaled image
    size: tuple[int, int]  # without the padding of an image that is smaller than a window
    window: tuple[int, int]
    corners: list[tuple[int, int]]
    left: int  # windows without an answer
    last: bool  # of its image
    answers: Map | None = None

    def take(self, y: int, x: int, answer: Map) -> None:
        """Add the answer of the window at a corner."""
        self.left -= 1
        if len(self.corners) == 1:
            self.answers = answer
            return
        if self.answers is None:
            self.answers = _nothing(answer, (self.image.shape[-2], self.image.shape[-1]))
        self.answers.add(answer, slice(y, y + self.window[0]), slice(x, x + self.window[1]))

    def mean(self) -> Map:
        """The mean answer of all windows that contain a pixel."""
        assert self.answers is not None  # all windows are answered
        values, top = self.answers
        if len(self.corners) > 1:
            seen = values.new_zeros(values.shape[-2:])  # h w: how many windows contain each pixel
            for y, x in self.corners:
                seen[y : y + self.window[0], x : x + self.window[1]] += 1
            values.div_(seen)
        height, width = self.size
        return Map(values[:, :height, :width], None if top is None else top[:height, :width])


def infer(
    network: nn.Module, image: Float[Tensor, "c h w"], protocol: Protocol, at_once: int | None = None
) -> Float[Tensor, "k h w"]:
    """Merge what the network says about an image under the protocol, at the image's own size.

    `network` is in evaluation mode on the image's device. Its `align_corners` decides how images and scores are
    resized (bilinear). `at_once` windows go through it together, a mirrored one beside its original, those of several
    scales too where they have one size; None: as `windows_at_once` says. Images smaller than a window are padded with 0
    at the right and at the bottom, and the scores cut back. Where windows overlap, their mean counts.

    With merge "softmax" the result is the mean of the probabilities over mirrored images, windows and scales. With
    merge "scores" the scores are averaged over mirrored images and windows, and the probabilities that follow, at the
    image's own size, over scales. With merge "exp" it is the mean over windows and scales of exp(scores + mirrored
    scores), or exp(scores) without flip, divided by its sum over the classes. Always float32, and the classes of a
    pixel add up to 1. A large map is held at most twice, at the image's own size and at that of a scale.

    The last window of a row or column is shifted inside, so that it sees the image only. With border "padded" it is
    cut off at the border instead, and padded with black, as images smaller than a window then are too: what the
    released code of DANet does. The network's `normalisation` says what black is.

    Raises:
        ValueError: if the image is not c h w, `at_once` is not positive, or scores come at another size.
    """
    (scores,) = infer_each(network, [image], protocol, at_once)
    return scores


def infer_each(
    network: nn.Module, images: Iterable[Float[Tensor, "c _ _"]], protocol: Protocol, at_once: int | None = None
) -> Iterator[Float[Tensor, "k _ _"]]:
    """Do what `infer` does for one image after another, small windows of several of them together.

    Raises:
        ValueError: as `infer`.
    """
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once must be at least 1, got {at_once}")
    merged = _merge_each(network, images, protocol, at_once)
    while True:
        with torch.inference_mode():  # for each image: the caller is not in that mode between them
            scores = next(merged, None)
        if scores is None:
            return
        yield scores


def _merge_each(
    network: nn.Module, images: Iterable[Float[Tensor, "c _ _"]], protocol: Protocol, at_once: int | None
) -> Iterator[Float[Tensor, "k h w"]]:
    total: Map | None = None
    for scale, answers in _scales(network, images, protocol, at_once):
        total = _merged(total, answers, scale.own, protocol, bool(network.align_corners))
        scale.answers = None
        if scale.last:
            yield _probabilities(total.values, protocol)
            total = None


def _probabilities(values: Float[Tensor, "k h w"], protocol: Protocol) -> Float[Tensor, "k h w"]:
    """What all scales of an image say together, in place."""
    for rows in _strips(values):
        part = values[:, rows]
        if protocol.merge == "exp":
            part.div_(part.sum(dim=0))
        elif len(protocol.scales) > 1:
            part.div_(len(protocol.scales))
    return values


def _scales(
    network: nn.Module, images: Iterable[Float[Tensor, "c _ _"]], protocol: Protocol, at_once: int | None
) -> Iterator[tuple[Scale, Map]]:
    """Answer scale by scale; a batch may hold the last windows of one and the first of the next.

    Small scales wait for the next one. What waits is answered when a window of another size comes.
    """
    begun: list[Scale] = []
    batch: list[tuple[Scale, int, int]] = []

    def answer() -> Iterator[tuple[Scale, Map]]:
        if batch:
            _answer(network, batch, protocol, together=windows > 1)
            batch.clear()
        while begun and not begun[0].left:
            yield (done := begun.pop(0)), done.mean()

    windows = 0
    for image in images:
        if image.ndim != 3 or not image.numel():
            raise ValueError(f"infer takes one image of size c h w, got {tuple(image.shape)}")
        for number, factor in enumerate(protocol.scales):
            scale = _scale(network, image, protocol, factor, last=number == len(protocol.scales) - 1)
            if batch and batch[0][0].window != scale.window:
                yield from answer()
            begun.append(scale)
            windows = at_once or windows_at_once(image.device, *scale.window)
            for y, x in scale.corners:
                batch.append((scale, y, x))
                if len(batch) >= (max(1, windows // 2) if protocol.flip else windows):
                    yield from answer()
            if scale.size[0] * scale.size[1] > SMALL:
                yield from answer()
    yield from answer()


def _scale(network: nn.Module, image: Float[Tensor, "c h w"], protocol: Protocol, factor: float, last: bool) -> Scale:
    own = (image.shape[-2], image.shape[-1])
    height, width = size = seen_size(*own, protocol, factor)
    if size != own:
        batch = rearrange(image, "c h w -> 1 c h w")
        resized = functional.interpolate(batch, size=size, mode="bilinear", align_corners=bool(network.align_corners))
        image = rearrange(resized, "1 c h w -> c h w")
    tall, wide = protocol.crop or height, protocol.crop or width
    shifted = protocol.border == "shifted"
    rows = positions(height, tall, protocol.stride or tall, shifted)
    columns = positions(width, wide, protocol.stride or wide, shifted)
    if rows[-1] + tall > height or columns[-1] + wide > width:
        colour = image.new_zeros(len(image), 1, 1)  # the mean
        if not shifted:
            colour = cast(Normalisation, network.normalisation)(colour.to(torch.uint8)).to(image)  # black
        canvas = colour.repeat(1, max(rows[-1] + tall, height), max(columns[-1] + wide, width))
        canvas[:, :height, :width] = image
        image = canvas
    corners = [(y, x) for y in rows for x in columns]
    return Scale(image, own, size, (tall, wide), corners, len(corners), last)


def _answer(network: nn.Module, batch: list[tuple[Scale, int, int]], protocol: Protocol, together: bool = True) -> None:
    """Answer a batch of windows of one size; `together`: with their mirrored images in the same batch."""
    tall, wide = batch[0][0].window
    windows = torch.stack([scale.image[:, y : y + tall, x : x + wide] for scale, y, x in batch])
    if not protocol.flip:
        scores = [_scores(network, windows)]
    elif together:
        scores = list(_scores(network, torch.cat([windows, windows.flip(-1)])).chunk(2))
    else:
        scores = [_scores(network, windows), _scores(network, windows.flip(-1))]
    if protocol.flip:
        scores[1] = scores[1].flip(-1)
    tops: list[Tensor | None] = [None] * len(batch)
    if protocol.merge == "exp":
        values = scores[0] + scores[1] if protocol.flip else scores[0]
        top = values.amax(dim=1)
        values, tops = (values - rearrange(top, "b h w -> b 1 h w")).exp_(), list(top)
    else:
        answers = scores if protocol.merge == "scores" else [each.softmax(dim=1) for each in scores]
        values = (answers[0] + answers[1]).div_(2) if protocol.flip else answers[0]
    for (scale, y, x), value, top_ in zip(batch, values, tops, strict=True):
        scale.take(y, x, Map(value, top_))


def _scores(network: nn.Module, windows: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
    scores = network(windows).scores.float()
    if scores.shape[-2:] != windows.shape[-2:]:
        raise ValueError(
            f"{type(network).__name__} must return scores at the size of its input, {tuple(windows.shape[-2:])}, "
            f"got {tuple(scores.shape[-2:])}"
        )
    return scores


def _nothing(like: Map, size: tuple[int, int]) -> Map:
    """A map of another size to which answers can be added."""
    values = like.values.new_zeros(like.values.shape[0], *size)
    return Map(values, None if like.top is None else like.top.new_full(size, -torch.inf))


def _merged(total: Map | None, answers: Map, own: tuple[int, int], protocol: Protocol, align_corners: bool) -> Map:
    """Add the answers of a scale, brought to the image's own size, to those before, strip by strip."""
    same = tuple(answers.values.shape[-2:]) == own
    begins = total is None
    if total is None:
        total = answers if same else _nothing(answers, own)
    for rows in _strips(total.values):
        part = _resized(answers, own, rows, align_corners)
        if protocol.merge == "scores":
            part = Map(part.values.softmax(dim=0))
        if not (begins and same):
            total.add(part, rows)
        elif protocol.merge == "scores":
            total.values[:, rows] = part.values
    return total


def _strips(values: Float[Tensor, "k h w"]) -> Iterator[slice]:
    classes, height, width = values.shape
    rows = max(1, STRIP // (classes * width))
    return (slice(first, min(first + rows, height)) for first in range(0, height, rows))


def _resized(answers: Map, size: tuple[int, int], rows: slice, align_corners: bool) -> Map:
    """Some rows of a map that is brought to a size as the network enlarges its scores: bilinearly."""
    height, width = answers.values.shape[-2:]
    part = answers
    if height != size[0]:
        part = _mixed(part, -2, *_sources(height, size[0], rows, align_corners, answers.values))
    elif rows.stop - rows.start != height:
        part = Map(part.values[:, rows], None if part.top is None else part.top[rows])
    if width == size[1]:
        return part
    if part.top is None:  # rows are as they should be already: this resizes columns alone, and faster
        batch, goal = rearrange(part.values, "c h w -> 1 c h w"), (part.values.shape[-2], size[1])
        resized = functional.interpolate(batch, size=goal, mode="bilinear", align_corners=align_corners)
        return Map(rearrange(resized, "1 c h w -> c h w"))
    return _mixed(part, -1, *_sources(width, size[1], slice(0, size[1]), align_corners, answers.values))


def _sources(length: int, goal: int, part: slice, align_corners: bool, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Between which two of `length` places each of the `goal` places lies, and how near to the second, as PyTorch."""
    places = torch.arange(part.start, part.stop, dtype=torch.float32, device=like.device)
    if align_corners:
        places = places * ((length - 1) / (goal - 1) if goal > 1 else 0.0)
    else:
        places = ((places + 0.5) * (length / goal) - 0.5).clamp_(min=0)
    first = places.long().clamp_(max=length - 1)
    return first, (first + 1).clamp_(max=length - 1), places - first


def _mixed(answers: Map, axis: int, first: Tensor, second: Tensor, weight: Tensor) -> Map:
    """Mix two places along an axis, each by its weight."""
    one, other = (answers.values.index_select(axis, places) for places in (first, second))
    weight = rearrange(weight, "n -> n 1") if axis == -2 else weight
    if answers.top is None:
        return Map(one.lerp_(other, weight))
    tops = [answers.top.index_select(axis, places) for places in (first, second)]
    tops[1] = tops[1].masked_fill(weight == 0, -torch.inf)  # what has no weight must not outweigh the other
    top = torch.maximum(*tops)
    one.mul_((1 - weight) * (tops[0] - top).exp_()).add_(other.mul_(weight * (tops[1] - top).exp_()))
    return Map(one, top)
