"""Figure 6 of SANet for any image and any weights: the pixel groups of chosen points in SA head 1 and head 4.

python papers/sanet/figures.py PHOTO --weights FOLDER_OR_REPOSITORY --point 120,80 --point 40,200 --to figure6.png

Without a photo it takes an embedded scene, without weights the demo's run folder. A line for each point and head shows
how far the attention channel is from what it is at the point (L2 distance over its maps; near is red), and of the main
channel, the attention channel and the output the map that is most activated at the point. Maps of head 4, which the
prediction adds, are named by their class; those of head 1, which are mixed to masks, by their number.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from core import comparison
from core.errors import door
from core.figures import Point, open_photo, parse_points, refuse_missing_weights
from core.images.pixels import to_tensor
from core.networks.network import Prediction
from papers.sanet.model import SANet, SqueezeAndAttention
from papers.sanet.recipes import DEMO

HEADS = (1, 4)
"""Those of Figure 6, counted from 1."""

COLOURS = ("blue", "yellow", "magenta")
"""Of the points, as in Figure 6; from the fourth on they begin again."""


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help="run folder or org/name of a Hub repository")] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    to: Path = Path("figure6.png")


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
    image = network.normalisation(to_tensor(picture)).to(next(network.parameters()).device)
    stages = network.backbone(image[None])
    found = {}
    for number in HEADS:
        head, X_in = network.heads[number - 1], stages[number - 1]
        assert isinstance(head, SqueezeAndAttention)
        found[number] = Channels(*(maps[0].cpu() for maps in (head.main(X_in), head.attend(X_in), head(X_in))))
    return found


def place(point: Point, picture: Image.Image, maps: Float[Tensor, "k h w"]) -> tuple[int, int]:
    """Return row and column of the position of a map that a pixel falls into."""
    (x, y), (h, w) = point, maps.shape[-2:]
    return y * h // picture.height, x * w // picture.width


def distances(maps: Float[Tensor, "k h w"], row: int, column: int) -> Float[Tensor, "h w"]:
    """Return the L2 distance over the channels between each position and one of them, which has 0."""
    return (maps - maps[:, row : row + 1, column : column + 1]).square().sum(dim=0).sqrt()


def most_activated(maps: Float[Tensor, "k h w"], row: int, column: int) -> int:
    """Return the channel with the largest value at a position."""
    return int(maps[:, row, column].argmax())


def draw(picture: Image.Image, prediction: Prediction, points: list[Point], heads: dict[int, Channels]) -> Figure:
    """Draw a line for each point and head: image, pixel group, main channel, attention channel, output, prediction."""
    columns, lines = 6, len(points) * len(heads)
    tall = 3 * picture.height / picture.width + 0.35
    figure = Figure(figsize=(3 * columns, tall * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    extent = (0, picture.width, picture.height, 0)
    names = prediction.classes.names
    rows = [(number, point, head) for number, point in enumerate(points, start=1) for head in heads]
    for axes, (number, point, head) in zip(grid, rows, strict=True):
        channels = heads[head]
        row, column = place(point, picture, channels.attention)
        axes[0].imshow(picture, extent=extent)
        axes[0].set_title(f"point #{number}, head {head}")
        axes[1].imshow(
            distances(channels.attention, row, column).numpy(), cmap="jet_r", vmin=0, extent=extent, aspect="auto"
        )
        axes[1].set_title("pixel group (L2 distance)")
        for axis, title in zip(axes[2:5], ("main", "attention", "output"), strict=True):
            maps: Tensor = getattr(channels, title)
            channel = most_activated(maps, row, column)
            axis.imshow(maps[channel].numpy(), cmap="jet", extent=extent, aspect="auto")
            axis.set_title(f"{title}: {names[channel] if head == HEADS[-1] else f'map {channel + 1}'}")
        axes[5].imshow(prediction.overlay(), extent=extent)
        axes[5].set_title("prediction")
        for axis in axes:
            _mark(axis, point, COLOURS[(number - 1) % len(COLOURS)], picture)
    return figure


def _mark(axis: Axes, point: Point, colour: str, picture: Image.Image) -> None:
    axis.set_axis_off()
    axis.set_box_aspect(picture.height / picture.width)
    for size, width, shade in ((14, 5, "black"), (12, 2.5, colour)):
        axis.plot(point[0] + 0.5, point[1] + 0.5, "+", color=shade, markersize=size, markeredgewidth=width)


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo, the weights or a point does not exist.
    """
    picture = open_photo(options.photo)
    refuse_missing_weights(options.weights, Options().weights)
    network = SANet.from_pretrained(options.weights)
    width, height = picture.size
    thirds = (f"{width // 2},{height * 3 // 4}", f"{width // 4},{height // 3}", f"{width * 3 // 4},{height // 2}")
    points = parse_points(options.point or thirds, width, height)
    return draw(picture, network.predict(picture), points, channels_of(network, picture))


def main() -> None:
    """Write the figure that the command line says."""
    if sys.argv[1:2] == [comparison.WORD]:
        return comparison.main(SANet, sys.argv[2:])
    with door():
        options = tyro.cli(Options, description=__doc__)
        drawn = figure(options)
    drawn.savefig(options.to, dpi=120)


if __name__ == "__main__":
    main()
