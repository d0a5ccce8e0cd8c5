"""The objective of DANet: a cross-entropy for each classifier.

Unlike the text of the first arXiv version, which implies one loss, both modules together are trained by three terms
of equal weight: of the fused scores, of the position branch and of the channel branch, as in the authors' code.
`deep_supervision` adds one of a classifier on C3, with the weight 0.4 that it has in mmsegmentation.
"""

from jaxtyping import Float, Int64
from torch import Tensor

from core.networks.losses import cross_entropy
from papers.danet.model import Output

DEEP_SUPERVISION = 0.4


def loss(
    output: Output, labels: Int64[Tensor, "b h w"], class_weights: Float[Tensor, " k"] | None = None
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms of the objective, weighted; their sum is minimised."""
    terms = {"fused": cross_entropy(output.scores, labels, class_weights)}
    if output.position is not None and output.channel is not None:
        terms["position"] = cross_entropy(output.position, labels, class_weights)
        terms["channel"] = cross_entropy(output.channel, labels, class_weights)
    if output.deep is not None:
        terms["deep"] = DEEP_SUPERVISION * cross_entropy(output.deep, labels, class_weights)
    return terms
