"""What a pixel attends to in a SANet: its pixel group, and the maps that are most activated there (Figure 6)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from core.images.panels import Attended, Panel, Point, position_of
from core.images.pixels import to_tensor
from papers.sanet.model import SANet, SqueezeAndAttention

HEADS = (4, 1)
"""Those of Figure 6, counted from 1; the prediction adds the last one."""


@dataclass(frozen=True)
class Channels:
    """What a head computes for one image: X_res, X_attn and X_out of `model.py`."""

    main: Float[Tensor, "k h w"]
    attention: Float[Tensor, "k h w"]
    output: Float[Tensor, "k h w"]


@torch.inference_mode()
def channels_of(network: SANet, picture: Image.Image) -> dict[int, Channels]:
    """Return the channels of the heads in `HEADS` for an image.

    Raises:
        ValueError: if the network has no SA heads.
    """
    if network.heads is None:
        raise ValueError("these weights have no SA heads; take those of a SANet with head='sanet'")
    image = network.normalisation(to_tensor(picture)).to(next(network.parameters()))
    stages = network.backbone(image[None])
    found = {}
    for number in HEADS:
        head, X_in = network.heads[number - 1], stages[number - 1]
        assert isinstance(head, SqueezeAndAttention)
        found[number] = Channels(*(maps[0].cpu() for maps in (head.main(X_in), head.attend(X_in), head(X_in))))
    return found


def attention(network: SANet, picture: Image.Image) -> Callable[[Point], Attended]:
    """Return what answers for any point: of each head the pixel group, and the maps that are most activated there.

    Raises:
        ValueError: if the network has no SA heads.
    """
    heads, names = channels_of(network, picture), network.classes.names

    def at(point: Point) -> Attended:
        panels = []
        for number, channels in heads.items():
            row, column = position_of(point, picture, channels.attention)
            group = distances(channels.attention, row, column)
            panels.append(Panel(f"head {number}: pixel group", group, "jet_r", low=0.0))
            parts = {"main": channels.main, "attention": channels.attention, "output": channels.output}
            for part, maps in parts.items():
                channel = most_activated(maps, row, column)
                name = names[channel] if number == len(network.heads or ()) else f"map {channel + 1}"
                panels.append(Panel(f"head {number}, {part}: {name}", maps[channel], "jet"))
        return Attended(
            "Red in a pixel group are the positions whose attention channel is like that of this pixel (L2 distance). "
            "Beside it, of the main channel, the attention channel and the output of the head, the map that is largest "
            "at this pixel: by its class in head 4, which the prediction adds, by its number in head 1. The colours of "
            "a map run from its least to its largest value.",
            tuple(panels),
        )

    return at


def distances(maps: Float[Tensor, "k h w"], row: int, column: int) -> Float[Tensor, "h w"]:
    """Return the L2 distance over the channels between each position and one of them, which has 0."""
    return (maps - maps[:, row : row + 1, column : column + 1]).square().sum(dim=0).sqrt()


def most_activated(maps: Float[Tensor, "k h w"], row: int, column: int) -> int:
    """Return the channel with the largest value at a position."""
    return int(maps[:, row, column].argmax())
