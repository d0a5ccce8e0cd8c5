"""The objective of SANet: the masks, which classes there are, and the dense prediction.

    L     = L_mask + alpha * L_cat + beta * L_den                                     Eq. (6)
    L_mask: cross-entropy of Y_mask                                                   Eq. (7)
    L_cat:  binary cross-entropy of y_cat, summed over the classes, mean over images  Eq. (8)
    L_den:  cross-entropy of the dense prediction                                     Eq. (9)

As everywhere, the cross-entropies are means over the pixels that are not ignored; the signs missing in print are here.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from core.images.classes import IGNORE
from core.networks.losses import cross_entropy
from papers.sanet.model import Output

ALPHA = 0.2
BETA = 0.8
"""The weights that Section 4.2 finds best."""


def loss(
    output: Output,
    labels: Int64[Tensor, "b h w"],
    alpha: float = ALPHA,
    beta: float = BETA,
    class_weights: Float[Tensor, " k"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms of the objective, weighted; their sum is minimised. A baseline has one term.

    A SANet without a categorical or a dense loss, whose output has no `presence` or no `dense`, does without the term.
    """
    if output.mask is None:
        return {"scores": cross_entropy(output.scores, labels, class_weights)}
    terms = {"mask": cross_entropy(output.mask, labels, class_weights)}  # Eq. (7)
    if output.presence is not None:
        terms["categorical"] = alpha * categorical(output.presence, labels)
    if output.dense is not None:
        terms["dense"] = beta * cross_entropy(output.dense, labels, class_weights)  # Eq. (9)
    return terms  # Eq. (6), term by term


def categorical(y_cat: Float[Tensor, "b k"], labels: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Return L_cat in float32: a mean over the images that have a labelled pixel; 0 if there is none."""
    y = presence(labels, y_cat.shape[1])
    known = (labels != IGNORE).flatten(1).any(dim=1)
    terms = functional.binary_cross_entropy_with_logits(y_cat.float(), y, reduction="none")
    return terms.sum(dim=1)[known].sum() / known.sum().clamp(min=1)  # Eq. (8)


def presence(labels: Int64[Tensor, "b h w"], num_classes: int) -> Float[Tensor, "b k"]:
    """Return y of Eq. (8): 1 for each class that an image has, else 0; ignored pixels count for nothing."""
    places = torch.where(labels == IGNORE, num_classes, labels).flatten(1)
    found = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    return found.scatter_(1, places, 1.0)[:, :num_classes]
