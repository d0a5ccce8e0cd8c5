"""Figure 5 of RANet for any image and any checkpoints: the regions in colours, and their representatives as dots.

python papers/ranet/figures.py PHOTO --weights FOLDER_OR_REPOSITORY_OR_STATE --to figure5.png

A row for each of `--weights`, which may be given several times: a run folder, an org/name of the Hub, or a state of a
run that still goes on (its folder, or a copy of its state.pt), so that the growth of regions over training can be
drawn. Without a photo it takes an embedded scene, without weights the demo's run folder. Regions are found in the whole
picture at once, brought to the size at which the network is tested; its longest side is at most 769 pixels, for the
work grows with the fourth power of the sides.
"""

import colorsys
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import tyro
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from core import comparison
from core.errors import door
from core.figures import open_photo
from core.images.pixels import scaled_size, to_tensor
from core.networks.network import Prediction
from core.recipe import Protocol, Recipe
from core.training import checkpoint
from core.training.folder import STATE
from core.values import from_json
from papers.ranet.interaction import representatives
from papers.ranet.model import Architecture, RANet
from papers.ranet.recipes import DEMO

LARGEST = 769
DOT = "#39ff14"  # green, as in the paper


@dataclass(frozen=True)
class Options:
    """What to draw."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="run folder, org/name of a Hub repository, or a state.pt; one row each"),
    ] = ()
    side: Annotated[int | None, tyro.conf.arg(help="longest side in pixels; None: as the network is tested")] = None
    to: Path = Path("figure5.png")


class Found(NamedTuple):
    """What a network finds in a picture, at the size of its features (an eighth of the picture).

    `region` numbers the regions in raster order, `boundary` is B, `rows` and `columns` are of the representatives.
    """

    region: Int64[Tensor, "h w"]
    boundary: Float[Tensor, "h w"]
    rows: Int64[Tensor, " r"]
    columns: Int64[Tensor, " r"]


def load(where: str) -> tuple[RANet, str, Protocol]:
    """Return the network of a run folder, a Hub repository or a state, what to call it, and how it is tested.

    Raises:
        ValueError: if there is none, or it is not of a RANet.
    """
    path = Path(where)
    state = path / STATE if path.is_dir() and not (path / "config.json").is_file() else path
    if state.is_file():
        content = checkpoint.load_state(state)
        if not {"network", "recipe", "step"} <= content.keys():
            raise ValueError(f"{state} is not the state of a training run; give the {STATE} of a run folder")
        recipe = from_json(Recipe[Architecture], content["recipe"])
        network = RANet(recipe.data.num_classes, recipe.architecture)
        network.load_state_dict(content["network"])
        return network.eval(), f"{recipe.name}, step {content['step']}", recipe.protocol
    if not path.is_dir() and (where.count("/") != 1 or where == f"runs/{DEMO}"):
        raise ValueError(f"there are no weights in {where}; run train.py first, or pass --weights")
    network = RANet.from_pretrained(where)
    return network, where, network.about.protocol if network.about else Protocol()


def resized(picture: Image.Image, protocol: Protocol, side: int | None) -> Image.Image:
    """Bring a picture to the size at which a network is tested, or to a longest side."""
    size = scaled_size(picture.height, picture.width, protocol.edge, protocol.base, 1.0, protocol.limit)
    if side is not None or max(size) > LARGEST:
        size = scaled_size(picture.height, picture.width, "long", side or LARGEST, 1.0)
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)


@torch.inference_mode()
def find(network: RANet, picture: Image.Image) -> Found:
    """Return the regions of a picture, its boundary score map and its representatives.

    Raises:
        ValueError: if the network has no regions.
    """
    image = rearrange(network.normalisation(to_tensor(picture)), "c h w -> 1 c h w")
    analysis = network.analyse(image.to(next(network.parameters()).device))
    if analysis.regions is None or analysis.boundary is None:
        raise ValueError('these weights have no regions; take those of a RANet with context="regions"')
    phi = representatives(analysis.regions, network.architecture.representatives)
    position = phi.position[phi.valid].cpu()
    region = analysis.regions.index[0].cpu()
    width = region.shape[1]
    boundary = analysis.boundary.float().softmax(dim=1)[0, 1].cpu()
    return Found(region, boundary, position // width, position % width)


def colours(number: int) -> UInt8[np.ndarray, "number 3"]:
    """Return a colour for each region; those of neighbouring numbers are far apart."""
    golden = (5**0.5 - 1) / 2
    drawn = [
        colorsys.hsv_to_rgb(index * golden % 1, 0.9 - 0.25 * (index % 3), 1.0 - 0.2 * (index % 2))
        for index in range(number)
    ]
    return np.round(255 * np.array(drawn)).astype(np.uint8)


def draw(rows: list[tuple[str, Image.Image, Found, Prediction]]) -> Figure:
    """Draw a row for each checkpoint: the picture with its representatives, the regions, B, and the prediction."""
    shape = max(picture.height / picture.width for _, picture, _, _ in rows)
    figure = Figure(figsize=(16, (4 * shape + 0.5) * len(rows)), layout="constrained")
    lines = figure.subplots(len(rows), 4, squeeze=False)
    for axes, (name, picture, found, prediction) in zip(lines, rows, strict=True):
        number = int(found.region.max()) + 1
        extent = (0, picture.width, picture.height, 0)
        h, w = found.region.shape
        x = (found.columns.numpy() + 0.5) * picture.width / w
        y = (found.rows.numpy() + 0.5) * picture.height / h
        regions = colours(number)[found.region.numpy()]
        shown: tuple[tuple[str, Any, dict[str, Any]], ...] = (
            (name, picture, {}),
            (f"regions: {number}, representatives: {len(x)}", regions, {"interpolation": "nearest"}),
            ("boundary score map", found.boundary.numpy(), {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}),
            ("prediction", prediction.overlay(), {}),
        )
        for axis, (title, values, how) in zip(axes, shown, strict=True):
            axis.imshow(values, extent=extent, **how)
            axis.set_title(title)
            axis.set_axis_off()
        for axis in axes[:2]:
            axis.scatter(x, y, s=20, color=DOT, edgecolors="black", linewidths=0.5)
    return figure


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo or the weights do not exist, or have no regions, or the side is not positive.
    """
    picture = open_photo(options.photo)
    if options.side is not None and options.side < 1:
        raise ValueError(f"--side must be at least 1 pixel, got {options.side}")
    rows = []
    for where in options.weights or (f"runs/{DEMO}",):
        network, name, protocol = load(where)
        seen = resized(picture, protocol, options.side)
        rows.append((name, seen, find(network, seen), network.predict(seen, Protocol())))
    return draw(rows)


def main() -> None:
    """Write the figure that the command line says."""
    if sys.argv[1:2] == [comparison.WORD]:
        return comparison.main(RANet, sys.argv[2:])
    with door():
        options = tyro.cli(Options, description=__doc__)
        drawn = figure(options)
    drawn.savefig(options.to, dpi=120)


if __name__ == "__main__":
    main()
