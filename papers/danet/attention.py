"""What a pixel attends to in a DANet: its sub-attention map, a row of S; and the channels of Figure 6."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from core.images.panels import Attended, Panel, Point, position_of
from core.images.pixels import to_tensor
from papers.danet.model import ChannelAttention, DANet, PositionAttention


@torch.inference_mode()
def attention(network: DANet, picture: Image.Image) -> Callable[[Point], Attended]:
    """Return what answers for any point of a picture: how much every position matters to it.

    Maps are computed one row of S at a time: memory grows with the picture, not with its square.

    Raises:
        ValueError: if the network has no position attention.
    """
    branch = network.position
    if branch is None or not isinstance(branch.attend, PositionAttention):
        raise ValueError("these weights have no position attention; take those of a DANet with PAM")
    attend, A = branch.attend, branch.reduce(_features(network, picture))
    alpha = float(attend.alpha)

    @torch.inference_mode()
    def at(point: Point) -> Attended:
        row, column = position_of(point, picture, A)
        position = torch.tensor([row * A.shape[-1] + column], device=A.device)
        S_j = attend.rows(A, position)[0, 0].cpu()
        return Attended(
            "Bright are the positions whose features this pixel gathers by the position attention, Eq. (1). The "
            "weights add up to 1; even is the same for all. The sum is added to the pixel's own features with the "
            f"learned weight alpha = {alpha:.2f}.",
            (Panel(f"position attention, up to {float(S_j.max()) * S_j.numel():.1f} x even", S_j),),
        )

    return at


@torch.inference_mode()
def channel_maps(network: DANet, picture: Image.Image) -> Float[Tensor, "c h w"]:
    """The channels of E, the output of the channel attention module.

    Raises:
        ValueError: if the network has no channel attention.
    """
    if network.channel is None or not isinstance(network.channel.attend, ChannelAttention):
        raise ValueError("these weights have no channel attention; take those of a DANet with CAM")
    return network.channel.attend(network.channel.reduce(_features(network, picture)))[0].cpu()


def _features(network: DANet, picture: Image.Image) -> Tensor:
    image = network.normalisation(to_tensor(picture)).to(next(network.parameters()))
    return network.backbone(image[None])[-1]
