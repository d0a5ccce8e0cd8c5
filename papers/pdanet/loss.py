"""The objective of PDANet: a cross-entropy, and a second one under deep supervision.

    scores   b k h w    at input size, or an eighth of it with `loss_size="features"`
    labels   b h w      brought to the size of the scores by taking the nearest pixel

Unlike the text, which names no objective and whose code has one term, `deep_supervision` adds a classifier on C3 with
the weight 0.4 that it has in the code PDANet is built on.
"""

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from core.networks.losses import cross_entropy
from papers.pdanet.model import Output

DEEP_SUPERVISION = 0.4


def loss(
    output: Output, labels: Int64[Tensor, "b h w"], class_weights: Float[Tensor, " k"] | None = None
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms of the objective, weighted; their sum is minimised."""
    scores = output.scores if output.coarse is None else output.coarse
    terms = {"scores": cross_entropy(scores, _nearest(labels, scores), class_weights)}
    if output.deep is not None:
        terms["deep"] = DEEP_SUPERVISION * cross_entropy(output.deep, _nearest(labels, output.deep), class_weights)
    return terms


def _nearest(labels: Int64[Tensor, "b _ _"], scores: Float[Tensor, "b k h w"]) -> Int64[Tensor, "b h w"]:
    """Labels at the size of the scores: each is that of the pixel in the middle, as PIL's nearest resizing takes it."""
    if labels.shape[1:] == scores.shape[2:]:
        return labels
    maps = rearrange(labels, "b h w -> b 1 h w").float()  # classes and 255 are exact in float32
    return rearrange(functional.interpolate(maps, scores.shape[2:], mode="nearest-exact"), "b 1 h w -> b h w").long()
