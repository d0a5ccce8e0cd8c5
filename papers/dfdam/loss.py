"""The objective of DF-DAM: a softmax loss for the prediction and one for each of its two sources.

    L(y; w) = SoftmaxLoss(y; w)                                                           Eq. (11)
    loss    = L_p(y_p; w) + lambda_c * L_c(y_c; w) + lambda_s * L_s(y_s; w)               Eq. (12)

y_p is the prediction, y_c the output of the context information, y_s that of the spatial information.
"""

from jaxtyping import Float, Int64
from torch import Tensor

from core.networks.losses import cross_entropy
from papers.dfdam.model import Output

LAMBDA_C = 0.4
LAMBDA_S = 0.1


def loss(
    output: Output, labels: Int64[Tensor, "b h w"], class_weights: Float[Tensor, " k"] | None = None
) -> dict[str, Float[Tensor, ""]]:
    """Return the three terms of the objective, weighted; their sum is minimised."""
    principal, context, spatial = (cross_entropy(scores, labels, class_weights) for scores in output)  # Eq. (11)
    return {"principal": principal, "context": LAMBDA_C * context, "spatial": LAMBDA_S * spatial}  # terms of Eq. (12)
