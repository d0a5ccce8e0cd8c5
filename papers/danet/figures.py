"""Figure 6 of DANet for any image and any weights: what a point attends to, and what the attended channels show.

python papers/danet/figures.py PHOTO --weights WEIGHTS --point 120,80 --point 40,200 --to figure6.png

Without weights it takes the bundled network, without a photo a street of CamVid.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from core import comparison, figures
from core.figures import cell, look, of_points, overview, sheet
from core.images.panels import Panel
from papers.danet.attention import attention, channel_maps
from papers.danet.model import DANet


@dataclass(frozen=True, kw_only=True)
class Options(figures.Options):
    """What to draw. Points are pixels of the image, x to the right and y down."""

    channel: Annotated[
        tyro.conf.UseAppendAction[tuple[int, ...]], tyro.conf.arg(help="counted from 1, as in the paper")
    ] = ()


DEFAULT = Options(weights="danet-tiny-camvid", to=Path("figure6.png"))


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: as `look`, or if a channel does not exist.
    """
    network, picture, points, prediction = look(DANet, options)
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
    comparison.main(DANet, __doc__, DEFAULT, lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
