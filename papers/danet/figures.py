"""Figure 6 of DANet for any image and any weights: what a point attends to, and what the attended channels show.

python papers/danet/figures.py PHOTO --weights FOLDER_OR_REPOSITORY --point 120,80 --point 40,200 --to figure6.png

Without a photo it takes an embedded scene, without weights the demo's run folder. Sub-attention maps are computed one
row of S at a time: memory grows with the image, not with its square.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from einops import rearrange
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from core import comparison
from core.errors import door
from core.figures import Point, open_photo, parse_points, refuse_missing_weights
from core.images.pixels import to_tensor
from core.networks.network import Prediction
from papers.danet.model import ChannelAttention, DANet, PositionAttention
from papers.danet.recipes import DEMO


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help="run folder or org/name of a Hub repository")] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    channel: Annotated[
        tyro.conf.UseAppendAction[tuple[int, ...]], tyro.conf.arg(help="counted from 1, as in the paper")
    ] = ()
    to: Path = Path("figure6.png")


@torch.inference_mode()
def attention_of(network: DANet, picture: Image.Image, points: list[Point]) -> list[Float[Tensor, "h w"]]:
    """The sub-attention map of each point: how much every position matters to it; each sums to 1.

    Raises:
        ValueError: if the network has no position attention.
    """
    if network.position is None or not isinstance(network.position.attend, PositionAttention):
        raise ValueError("these weights have no position attention; take those of a DANet with PAM")
    A = network.position.reduce(_features(network, picture))
    h, w = A.shape[-2:]
    positions = [(y * h // picture.height) * w + x * w // picture.width for x, y in points]
    return [network.position.attend.rows(A, torch.tensor([position]))[0, 0] for position in positions]


@torch.inference_mode()
def channel_maps(network: DANet, picture: Image.Image) -> Float[Tensor, "c h w"]:
    """The channels of E, the output of the channel attention module.

    Raises:
        ValueError: if the network has no channel attention.
    """
    if network.channel is None or not isinstance(network.channel.attend, ChannelAttention):
        raise ValueError("these weights have no channel attention; take those of a DANet with CAM")
    return network.channel.attend(network.channel.reduce(_features(network, picture)))[0]


def _features(network: DANet, picture: Image.Image) -> Tensor:
    image = network.normalisation(to_tensor(picture))
    return network.backbone(rearrange(image, "c h w -> 1 c h w"))[-1]


def draw(
    picture: Image.Image,
    prediction: Prediction,
    points: list[Point],
    attended: list[Float[Tensor, "h w"]],
    channels: dict[int, Float[Tensor, "h w"]],
) -> Figure:
    """Arrange the image with its points, a map for each point, the channels, and the prediction."""
    count = 2 + len(attended) + len(channels)
    columns = min(count, 3 if count <= 6 else 4)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(4 * columns, (4 * picture.height / picture.width + 0.5) * lines), layout="constrained")
    axes = list(np.ravel(figure.subplots(lines, columns, squeeze=False)))
    for axis in axes:
        axis.set_axis_off()
    extent = (0, picture.width, picture.height, 0)

    axes[0].imshow(picture, extent=extent)
    axes[0].set_title("image")
    for number, (x, y) in enumerate(points, start=1):
        axes[0].plot(x + 0.5, y + 0.5, "+", color="red", markersize=14, markeredgewidth=3)
        axes[0].annotate(f"#{number}", (x, y), xytext=(6, 6), textcoords="offset points", color="red", weight="bold")
    maps = [(f"attention of #{number}", values) for number, values in enumerate(attended, start=1)]
    maps += [(f"channel {number}", values) for number, values in channels.items()]
    for axis, (title, values) in zip(axes[1:], maps, strict=False):
        axis.imshow(values.cpu().numpy(), cmap="viridis", extent=extent, interpolation="bilinear")
        axis.set_title(title)
    for number, (x, y) in enumerate(points, start=1):
        axes[number].plot(x + 0.5, y + 0.5, "+", color="red", markersize=14, markeredgewidth=3)
    axes[1 + len(maps)].imshow(prediction.overlay(), extent=extent)
    axes[1 + len(maps)].set_title("prediction")
    return figure


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo, the weights, a point or a channel does not exist.
    """
    picture = open_photo(options.photo)
    refuse_missing_weights(options.weights, Options().weights)
    network = DANet.from_pretrained(options.weights)
    width, height = picture.size
    texts = options.point or (f"{width // 2},{height * 3 // 4}", f"{width // 4},{height // 3}")
    points = parse_points(texts, width, height)
    attended = attention_of(network, picture, points) if network.position is not None or options.point else []
    channels: dict[int, Tensor] = {}
    if network.channel is not None or options.channel:
        maps = channel_maps(network, picture)
        for number in options.channel or (11, 4):  # those of the paper
            if not 1 <= number <= len(maps):
                raise ValueError(f"--channel must be 1 to {len(maps)}, got {number}")
            channels[number] = maps[number - 1]
    return draw(picture, network.predict(picture), points if attended else [], attended, channels)


def main() -> None:
    """Write the figure that the command line says."""
    if sys.argv[1:2] == [comparison.WORD]:
        return comparison.main(DANet, sys.argv[2:])
    with door():
        options = tyro.cli(Options, description=__doc__)
        drawn = figure(options)
    drawn.savefig(options.to, dpi=120)


if __name__ == "__main__":
    main()
