"""What a point attends to at each level of the pyramid, for any image and any weights of a PDANet.

python papers/pdanet/figures.py PHOTO --weights WEIGHTS --point 120,80 --point 40,200 --to attention.png

Without a photo it takes an embedded scene, without weights the demo's run folder. The paper draws no attention. A level
of k has k x k positions, each a bin of the image; the bin of the point has a red frame.
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
from papers.pdanet.attention import attention
from papers.pdanet.model import PDANet
from papers.pdanet.recipes import DEMO


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help=WHERE)] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    to: Path = Path("attention.png")


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: if the photo, the weights or a point does not exist, or the file would be no picture.
    """
    refuse_no_picture(options.to)
    picture = open_photo(options.photo)
    network = load(PDANet, options.weights, Options().weights)
    picture, points = as_seen(network, picture, parse_points(options.point, picture))
    prediction = network.predict(picture)
    return sheet([overview(picture, prediction, points), *of_points(attention, network, picture, points)], [prediction])


def main() -> None:
    """Write the figure that the command line says."""
    comparison.main(PDANet, __doc__, Options, lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
