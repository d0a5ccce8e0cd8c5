"""Figure 6 of SANet for any image and any weights: the pixel groups of chosen points in SA head 1 and head 4.

python papers/sanet/figures.py PHOTO --weights WEIGHTS --point 120,80 --point 40,200 --to figure6.png

Without a photo it takes an embedded scene, without weights the demo's run folder. A line for each point and head shows
how far the attention channel is from what it is at the point (L2 distance over its maps; near is red), and of the main
channel, the attention channel and the output the map that is most activated at the point. Maps of head 4, which the
prediction adds, are named by their class; those of head 1, which are mixed to masks, by their number.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from core import comparison
from core.figures import as_seen, load, of_points, open_photo, overview, parse_points, sheet
from core.files import refuse_no_picture
from core.run import WHERE
from papers.sanet.attention import HEADS, attention
from papers.sanet.model import SANet
from papers.sanet.recipes import DEMO


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help=WHERE)] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    to: Path = Path("figure6.png")


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo, the weights or a point does not exist, or the file would be no picture.
    """
    refuse_no_picture(options.to)
    picture = open_photo(options.photo)
    network = load(SANet, options.weights, Options().weights)
    picture, points = as_seen(network, picture, parse_points(options.point, picture, 3))
    prediction = network.predict(picture)
    rows = [overview(picture, prediction, points)]
    for row in of_points(attention, network, picture, points):
        each = len(row) // len(HEADS)
        rows += [row[start : start + each] for start in range(0, len(row), each)]
    return sheet(rows, [prediction])


def main() -> None:
    """Write the figure that the command line says."""
    comparison.main(SANet, __doc__, Options, lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
