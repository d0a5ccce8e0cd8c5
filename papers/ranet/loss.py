"""The objective of RANet: a cross-entropy for the labels and one for the boundaries, each at two places.

    scores            b k h w    of the network                              weight 1
    coarse            b k h w    the semantic score maps of RCB              weight 0.4
    boundary          b 2 h w    of the features that are classified         weight 0.2
    coarse_boundary   b 2 h w    the boundary score map of RCB               weight 0.08

The text has three of them ("the cross-entropy loss to penalize all of the training error") and no weights. Unlike the
text, which supervises the boundary in RCB alone, the features that are classified get a boundary classifier too, as in
the authors' code, whose weights these are. Boundary and non-boundary pixels count alike, as there. A network without
regions has the first term alone.
"""

from jaxtyping import Float, Int64
from torch import Tensor

from core.networks.losses import cross_entropy
from papers.ranet.boundaries import boundary_labels
from papers.ranet.model import Output

COARSE = 0.4
BOUNDARY = 0.2
COARSE_BOUNDARY = 0.08


def loss(
    output: Output, labels: Int64[Tensor, "b h w"], class_weights: Float[Tensor, " k"] | None = None
) -> dict[str, Float[Tensor, ""]]:
    """Return the terms of the objective, weighted; their sum is minimised."""
    terms = {"scores": cross_entropy(output.scores, labels, class_weights)}
    if output.coarse is not None:
        terms["coarse"] = COARSE * cross_entropy(output.coarse, labels, class_weights)
    if output.boundary is None and output.coarse_boundary is None:
        return terms
    boundaries = boundary_labels(labels)
    if output.boundary is not None:
        terms["boundary"] = BOUNDARY * cross_entropy(output.boundary, boundaries)
    if output.coarse_boundary is not None:
        terms["coarse_boundary"] = COARSE_BOUNDARY * cross_entropy(output.coarse_boundary, boundaries)
    return terms
