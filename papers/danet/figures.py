"""Figure 6 of DANet for any image and any weights: what a point attends to, and what the attended channels show.

python papers/danet/figures.py PHOTO --weights WEIGHTS --point 120,80 --point 40,200 --to figure6.png

Without a photo it takes an embedded scene, without weights the demo's run folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from core import comparison
from core.figures import as_seen, cell, load, of_points, open_photo, overview, parse_points, sheet
from core.files import refuse_no_picture
from core.images.panels import Panel
from core.run import WHERE
from papers.danet.attention import attention, channel_maps
from papers.danet.model import DANet
from papers.danet.recipes import DEMO


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help=WHERE)] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    channel: Annotated[
        tyro.conf.UseAppendAction[tuple[int, ...]], tyro.conf.arg(help="counted from 1, as in the paper")
    ] = ()
    to: Path = Path("figure6.png")


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo, the weights, a point or a channel does not exist, or the file would be no picture.
    """
    refuse_no_picture(options.to)
    picture = open_photo(options.photo)
    network = load(DANet, options.weights, Options().weights)
    picture, points = as_seen(network, picture, parse_points(options.point, picture))
    prediction = network.predict(picture)
    rows = [overview(picture, prediction, points if network.position is not None else ())]
    if network.position is not None or options.point:
        rows.append([one for row in of_points(attention, network, picture, points) for one in row])
    if network.channel is not None or options.channel:
        maps = channel_maps(network, picture)
        chosen = options.channel or (11, 4)  # those of the paper
        for number in chosen:
            if not 1 <= number <= len(maps):
                raise ValueError(f"--channel must be 1 to {len(maps)}, got {number}")
        rows.append([cell(Panel(f"channel {number}", maps[number - 1]), picture) for number in chosen])
    return sheet(rows, [prediction])


def main() -> None:
    """Write the figure that the command line says."""
    comparison.main(DANet, __doc__, Options, lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
