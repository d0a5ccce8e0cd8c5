"""What a pixel attends to at each level of the pyramid of a PDANet."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import nn

from core.images.panels import Attended, Panel, Point, position_of
from core.images.pixels import to_tensor
from papers.pdanet.model import LEVELS, DualAttention, PDANet, PositionAttention, PyramidDualAttention


@torch.inference_mode()
def attention(network: PDANet, picture: Image.Image) -> Callable[[Point], Attended]:
    """Return what answers for any point, level by level, how much every position matters to the one that has the point.

    A level of k has k x k positions, each a bin of the picture.

    Raises:
        ValueError: if the network has no pyramid of dual attention.
    """
    if not isinstance(network.gather, PyramidDualAttention):
        raise ValueError("these weights have no pyramid dual attention; take those of a PDANet with head='pdanet'")
    pyramid = network.gather.pyramid
    image = network.normalisation(to_tensor(picture)).to(next(network.parameters()))
    levels = []
    for transform, features in zip(pyramid.transforms, pyramid.pooled(network.backbone(image[None])[-1]), strict=True):
        branch = _dual_attention(transform).position
        assert isinstance(branch.attend, PositionAttention)
        levels.append((branch.attend, branch.reduce(features)))
    alphas = ", ".join(f"{float(attend.alpha):.2f}" for attend, _ in levels)

    @torch.inference_mode()
    def at(point: Point) -> Attended:
        panels = []
        for attend, A in levels:
            row, column = position_of(point, picture, A)
            position = torch.tensor([row * A.shape[-1] + column], device=A.device)
            S_j = attend.rows(A, position)[0, 0].cpu()
            title = f"{A.shape[-2]} x {A.shape[-1]}, up to {float(S_j.max()) * S_j.numel():.1f} x even"
            panels.append(Panel(title, S_j, low=0.0, smooth=False, frame=(row, column)))
        return Attended(
            f"The picture is divided into {', '.join(f'{k} x {k}' for k in LEVELS)} bins. Bright are the bins whose "
            "features the framed bin, which has the pixel, gathers by the position attention, Eq. (6); the weights of "
            "a level add up to 1; even is the same for all. The sums are added with the learned weights alpha = "
            f"{alphas}.",
            tuple(panels),
        )

    return at


def _dual_attention(level: nn.Module) -> DualAttention:
    (module,) = [part for part in level.children() if isinstance(part, DualAttention)]
    return module
