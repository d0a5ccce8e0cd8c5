"""What a point attends to at each level of the pyramid, for any image and any weights of a PDANet.

python papers/pdanet/figures.py PHOTO --weights FOLDER_OR_REPOSITORY --point 120,80 --point 40,200 --to attention.png

Without a photo it takes an embedded scene, without weights the demo's run folder. The paper draws no attention. A level
of k has k x k positions, each a bin of the image; the bin of the point has a red frame.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from core import comparison
from core.errors import door
from core.figures import of_points, open_photo, overview, parse_points, refuse_missing_weights, sheet, write
from papers.pdanet.attention import attention
from papers.pdanet.model import PDANet
from papers.pdanet.recipes import DEMO


@dataclass(frozen=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(help="an image file; None: an embedded scene")
    ] = None
    weights: Annotated[str, tyro.conf.arg(help="run folder or org/name of a Hub repository")] = f"runs/{DEMO}"
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    to: Path = Path("attention.png")


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
    prediction = network.predict(picture)
    return sheet([overview(picture, prediction, points), *of_points(attention, network, picture, points)], [prediction])


def main() -> None:
    """Write the figure that the command line says."""
    if sys.argv[1:2] == [comparison.WORD]:
        return comparison.main(PDANet, sys.argv[2:])
    with door():
        options = tyro.cli(Options, description=__doc__)
        drawn = figure(options)
    write(drawn, options.to)


if __name__ == "__main__":
    main()
