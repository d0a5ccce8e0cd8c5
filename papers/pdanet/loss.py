"""The objective of PDANet: a cross-entropy, and a second one under deep supervision.

Unlike the text, which names no objective and whose code has one term, `deep_supervision` adds a classifier on C3 with
the weight 0.4 that it has in the code PDANet is built on.
"""

from jaxtyping import Float, Int64
from torch import Tensor

from core.losses import cross_entropy
from papers.pdanet.model import Output

DEEP_SUPERVISION = 0.4


def loss(output: Output, labels: Int64[Tensor, "b h w"]) -> dict[str, Float[Tensor, ""]]:
    """Return the terms of the objective, weighted; their sum is minimised."""
    terms = {"scores": cross_entropy(output.scores, labels)}
    if output.deep is not None:
        terms["deep"] = DEEP_SUPERVISION * cross_entropy(output.deep, labels)
    return terms
