"""Less memory for the same training: blocks of a backbone are computed again when the backward pass needs them.

Only the input of a block is kept. The numbers stay the same: dropout is drawn as before, and BatchNorm counts a batch
once, not twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from jaxtyping import Float
from timm.models._features import FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from core.errors import require


def refuse_others(body: nn.Module) -> None:
    """Refuse a backbone whose blocks can't be computed again.

    Raises:
        ValueError: saying what else saves memory.
    """
    require(
        isinstance(body, FeatureListNet | EfficientNetFeatures),
        "run.recompute is for ResNets and EfficientNets, whose blocks follow one another; leave it out, and use "
        "--run.precision bf16 or more GPUs",
    )


def recomputed(body: nn.Module, image: Float[Tensor, "b _ h w"]) -> list[Float[Tensor, "b _ _ _"]]:
    """Return what the body returns, and keep the inputs of its blocks alone."""
    found, x = [], image
    for stage, returned in _stages(body):
        for block in stage if isinstance(stage, nn.Sequential) else (stage,):
            x = _again(block, x)
        if returned:
            found.append(x)
    return found


def _stages(body: nn.Module) -> Iterator[tuple[nn.Module, bool]]:
    """The parts of a backbone in their order, and whether what they return is one of its maps."""
    if isinstance(body, EfficientNetFeatures):
        yield from ((body.conv_stem, False), (body.bn1, False))
        yield from ((stage, number in body._stage_out_idx) for number, stage in enumerate(body.blocks, start=1))
    elif isinstance(body, FeatureListNet):
        yield from ((stage, name in body.return_layers) for name, stage in body.items())


def _again(block: nn.Module, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled() or not any(True for _ in block.parameters()):
        return block(x)
    answer: Tensor = checkpoint(
        block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _without_counting(block))
    )
    return answer


@contextmanager
def _without_counting(block: nn.Module) -> Iterator[None]:
    """Let what BatchNorm adds to its running means go to copies."""
    kept = [(part, dict(part._buffers)) for part in block.modules() if isinstance(part, _BatchNorm)]
    for part, buffers in kept:
        part._buffers.update({name: None if value is None else value.clone() for name, value in buffers.items()})
    try:
        yield
    finally:
        for part, buffers in kept:
            part._buffers.update(buffers)
