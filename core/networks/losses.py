"""Loss terms that papers share."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from core.images.classes import IGNORE


@runtime_checkable
class Loss(Protocol):
    """An objective: named, already weighted terms whose sum is minimised."""

    def __call__(self, output: Any, labels: Int64[Tensor, "b h w"], /) -> dict[str, Float[Tensor, ""]]: ...


def cross_entropy(
    scores: Float[Tensor, "b k h w"], labels: Int64[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the pixels that are not ignored, in float32; 0 where every pixel is ignored.

    With `weights`, a pixel counts as much as its class. Each process averages over its own pixels, as everywhere in
    this field: with ignored pixels, the mean over processes is not exactly the mean over the whole batch.
    """
    if torch.are_deterministic_algorithms_enabled():  # on a GPU the sum below adds in any order
        total = functional.cross_entropy(scores.float(), labels, weights, ignore_index=IGNORE, reduction="none").sum()
    else:
        total = functional.cross_entropy(scores.float(), labels, weights, ignore_index=IGNORE, reduction="sum")
    if weights is None:
        return total / (labels != IGNORE).sum().clamp(min=1)
    weight = weights[labels[labels != IGNORE]].sum()
    return total / torch.where(weight > 0, weight, 1.0)
