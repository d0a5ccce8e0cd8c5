"""Figure 6 of SANet for any image and any weights: the pixel groups of chosen points in SA head 1 and head 4.

python papers/sanet/figures.py PHOTO --weights WEIGHTS --point 120,80 --point 40,200 --to figure6.png

Without weights it takes the bundled network, without a photo a street of CamVid. A line for each point and head shows
how far the attention channel is from what it is at the point (L2 distance over its maps; near is red), and of the main
channel, the attention channel and the output the map that is most activated at the point. Maps of head 4, which the
prediction adds, are named by their class; those of head 1, which are mixed to masks, by their number. A map that is
the most activated one at several points is drawn once, with all their crosses.
"""

from pathlib import Path

from matplotlib.figure import Figure

from core import comparison
from core.figures import Cell, Options, look, of_points, overview, sheet
from papers.sanet.attention import HEADS, attention
from papers.sanet.model import SANet

DEFAULT = Options(weights="sanet-tiny-camvid", to=Path("figure6.png"))


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: as `look`.
    """
    network, picture, points, prediction = look(SANet, options, 3)
    rows = [overview(picture, prediction, points)]
    for row in of_points(attention, network, picture, points):
        for head in HEADS:
            own: list[Cell] = [one for one in row if isinstance(one, tuple) and f"head {head}" in one[0]]
            rows += [own] if own else []
    return sheet(rows, [prediction])


def main() -> None:
    """Write the figure that the command line says."""
    comparison.main(SANet, __doc__, DEFAULT, lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
