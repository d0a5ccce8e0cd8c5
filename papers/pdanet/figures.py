"""What a point attends to at each level of the pyramid, for any image and any weights of a PDANet.

python papers/pdanet/figures.py PHOTO --weights FOLDER_OR_REPOSITORY --point 120,80 --point 40,200 --to attention.png

Without a photo it takes an embedded scene, without weights the demo's run folder. The paper draws no attention. A level
of k has k x k positions, each a bin of the image; the bin of the point has a red frame.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from einops import rearrange
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor, nn

from core import comparison
from core.errors import door
from core.figures import Point, open_photo, parse_points, refuse_missing_weights
from core.images.pixels import to_tensor
from core.networks.network import Prediction
from papers.pdanet.model import LEVELS, DualAttention, PDANet, PositionAttention, PyramidDualAttention
from papers.pdanet.recipes import DEMO

Maps = list[Float[Tensor, "_ _"]]


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help="run folder or org/name of a Hub repository")] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    to: Path = Path("attention.png")


def bin_of(point: Point, picture: Image.Image, level: int) -> tuple[int, int]:
    """Return row and column of the bin that a point falls into."""
    x, y = point
    return y * level // picture.height, x * level // picture.width


@torch.inference_mode()
def attention_of(network: PDANet, picture: Image.Image, points: list[Point]) -> list[Maps]:
    """Return for each point, level by level, how much every position matters to its bin; each map sums to 1.

    Raises:
        ValueError: if the network has no pyramid of dual attention.
    """
    if not isinstance(network.gather, PyramidDualAttention):
        raise ValueError("these weights have no pyramid dual attention; take those of a PDANet with head='pdanet'")
    pyramid = network.gather.pyramid
    image = network.normalisation(to_tensor(picture)).to(next(network.parameters()).device)
    found: list[Maps] = [[] for _ in points]
    pooled = pyramid.pooled(network.backbone(rearrange(image, "c h w -> 1 c h w"))[-1])
    for level, transform, features in zip(LEVELS, pyramid.transforms, pooled, strict=True):
        branch = _dual_attention(transform).position
        assert isinstance(branch.attend, PositionAttention)
        bins = [bin_of(point, picture, level) for point in points]
        positions = torch.tensor([row * level + column for row, column in bins], dtype=torch.int64)
        rows = branch.attend.rows(branch.reduce(features), positions)[0].cpu()
        for maps, row in zip(found, rows, strict=True):
            maps.append(row)
    return found


def _dual_attention(level: nn.Module) -> DualAttention:
    (module,) = [part for part in level.children() if isinstance(part, DualAttention)]
    return module


def draw(picture: Image.Image, prediction: Prediction, points: list[Point], attended: list[Maps]) -> Figure:
    """Draw a row for each point: the image with it, a map for each level, and the prediction."""
    columns = len(LEVELS) + 2
    figure = Figure(
        figsize=(3 * columns, (3 * picture.height / picture.width + 0.4) * len(points)), layout="constrained"
    )
    lines = figure.subplots(len(points), columns, squeeze=False)
    extent = (0, picture.width, picture.height, 0)
    for number, (axes, (x, y), maps) in enumerate(zip(lines, points, attended, strict=True), start=1):
        for axis in axes:
            axis.set_axis_off()
        axes[0].imshow(picture, extent=extent)
        axes[0].set_title(f"point #{number}")
        axes[-1].imshow(prediction.overlay(), extent=extent)
        axes[-1].set_title("prediction")
        for level, axis, values in zip(LEVELS, axes[1:], maps, strict=False):
            axis.imshow(values.numpy(), cmap="viridis", vmin=0, extent=extent, interpolation="nearest", aspect="auto")
            axis.set_box_aspect(picture.height / picture.width)
            row, column = bin_of((x, y), picture, level)
            wide, tall = picture.width / level, picture.height / level
            axis.add_patch(
                Rectangle(
                    (column * wide, row * tall), wide, tall, fill=False, edgecolor="red", linewidth=2, clip_on=False
                )
            )
            axis.set_title(f"{level} x {level}, up to {float(values.max()):.2f}")
        for axis in axes[:-1]:
            axis.plot(x + 0.5, y + 0.5, "+", color="red", markersize=12, markeredgewidth=2.5)
    return figure


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo, the weights or a point does not exist.
    """
    picture = open_photo(options.photo)
    refuse_missing_weights(options.weights, Options().weights)
    network = PDANet.from_pretrained(options.weights)
    width, height = picture.size
    texts = options.point or (f"{width // 2},{height * 3 // 4}", f"{width // 4},{height // 3}")
    points = parse_points(texts, width, height)
    return draw(picture, network.predict(picture), points, attention_of(network, picture, points))


def main() -> None:
    """Write the figure that the command line says."""
    if sys.argv[1:2] == [comparison.WORD]:
        return comparison.main(PDANet, sys.argv[2:])
    with door():
        options = tyro.cli(Options, description=__doc__)
        drawn = figure(options)
    drawn.savefig(options.to, dpi=120)


if __name__ == "__main__":
    main()
