"""Testing one image as a `Protocol` says: at several scales, in windows, mirrored; many answers become one.

image     3 h w            normalised, so that 0 is the mean colour
windows   b 3 h w          what the network sees at once
answers   b k h w          probabilities, scores or exp(scores) of each window, mirrored images merged in
returned  k h w            merged over windows and scales, at the image's own size; argmax over k is the labels
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from core.images.pixels import round_up, scaled_size
from core.recipe import Protocol


def positions(length: int, crop: int, stride: int) -> tuple[int, ...]:
    """Where windows of `crop` pixels begin so that they cover `length` pixels, the last one shifted inside.

    The first begins at 0. One window is enough where `length` is at most `crop`; it may then end outside.
    """
    last = max(length - crop, 0)
    return (*range(0, last, stride), last)


@torch.inference_mode()
def infer(
    network: nn.Module, image: Float[Tensor, "3 h w"], protocol: Protocol, windows_at_once: int = 4
) -> Float[Tensor, "k h w"]:
    """Merge what the network says about an image under the protocol, at the image's own size.

    `network` is in evaluation mode on the image's device. Its `align_corners` decides how images and scores are
    resized (bilinear). Windows go through it `windows_at_once` at a time, then their mirrored images. Images smaller
    than a window are padded with 0 at the right and at the bottom, and the scores cut back. Where windows overlap,
    their mean counts.

    With merge "softmax" the result is the mean of the probabilities over mirrored images, windows and scales, in
    float32. With merge "scores" the scores are averaged over mirrored images and windows, and the probabilities that
    follow, at the image's own size, over scales. With merge "exp" it is the mean over windows and scales of
    exp(scores + mirrored scores), or exp(scores) without flip, which is not normalised; it is float64, finite for sums
    of up to 700.

    Unlike the released code of DANet, which truncates the last window of a row or column at the border and pads it
    with the mean colour, the last window is shifted inside, so that it sees the image only.

    Raises:
        ValueError: if the image is not 3 h w, `windows_at_once` is not positive, or scores come at another size.
    """
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise ValueError(f"infer takes one image of size 3 h w, got {tuple(image.shape)}")
    if windows_at_once < 1:
        raise ValueError(f"windows_at_once must be at least 1, got {windows_at_once}")
    own = (image.shape[-2], image.shape[-1])
    total: Tensor | None = None
    for scale in protocol.scales:
        size = scaled_size(*own, protocol.edge, protocol.base, scale, protocol.limit)
        seen = _resize(image, (round_up(size[0], protocol.multiple), round_up(size[1], protocol.multiple)), network)
        answer = _resize(_slide(network, seen, protocol, windows_at_once), own, network)
        if protocol.merge == "scores":
            answer = answer.softmax(dim=0)
        total = answer if total is None else total + answer
    assert total is not None  # a protocol has at least one scale
    return total / len(protocol.scales)


def _resize(maps: Float[Tensor, "c _ _"], size: tuple[int, int], network: nn.Module) -> Float[Tensor, "c h w"]:
    """Bring maps to a size as the network enlarges its scores; maps of that size are returned as they are."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    batch = rearrange(maps, "c h w -> 1 c h w")
    resized = functional.interpolate(batch, size=size, mode="bilinear", align_corners=bool(network.align_corners))
    return rearrange(resized, "1 c h w -> c h w")


def _slide(
    network: nn.Module, image: Float[Tensor, "3 h w"], protocol: Protocol, windows_at_once: int
) -> Float[Tensor, "k h w"]:
    """Answer one scale: the mean answer of all windows that contain a pixel, at the size of the given image."""
    height, width = image.shape[-2:]
    tall, wide = protocol.crop or height, protocol.crop or width
    padded = functional.pad(image, (0, max(wide - width, 0), 0, max(tall - height, 0)))
    corners = [
        (y, x)
        for y in positions(height, tall, protocol.stride or tall)
        for x in positions(width, wide, protocol.stride or wide)
    ]
    if len(corners) == 1:
        return _answers(network, rearrange(padded, "c h w -> 1 c h w"), protocol)[0, :, :height, :width]

    total: Tensor | None = None
    seen = padded.new_zeros(padded.shape[-2:])  # h w: how many windows contain each pixel
    for first in range(0, len(corners), windows_at_once):
        batch = corners[first : first + windows_at_once]
        windows = torch.stack([padded[:, y : y + tall, x : x + wide] for y, x in batch])
        answers = _answers(network, windows, protocol)
        if total is None:
            total = answers.new_zeros(answers.shape[1], *padded.shape[-2:])
        for (y, x), answer in zip(batch, answers, strict=True):
            total[:, y : y + tall, x : x + wide] += answer
            seen[y : y + tall, x : x + wide] += 1
    assert total is not None  # there is at least one window
    return (total / seen)[:, :height, :width]


def _answers(network: nn.Module, windows: Float[Tensor, "b 3 h w"], protocol: Protocol) -> Float[Tensor, "b k h w"]:
    """Answer a batch of windows: probabilities or scores in float32, exp(scores) in float64, mirrored ones merged."""
    scores = [_scores(network, windows)]
    if protocol.flip:
        scores.append(_scores(network, windows.flip(-1)).flip(-1))
    if protocol.merge == "exp":
        return sum(scores[1:], scores[0]).double().exp()
    answers = scores if protocol.merge == "scores" else [each.softmax(dim=1) for each in scores]
    return sum(answers[1:], answers[0]) / len(answers)


def _scores(network: nn.Module, windows: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
    scores = network(windows).scores.float()
    if scores.shape[-2:] != windows.shape[-2:]:
        raise ValueError(
            f"{type(network).__name__} must return scores at the size of its input, {tuple(windows.shape[-2:])}, "
            f"got {tuple(scores.shape[-2:])}"
        )
    return scores
