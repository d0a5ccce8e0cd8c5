"""What a point attends to at each level of the pyramid, for any image and any weights of a PDANet.

python papers/pdanet/figures.py PHOTO --weights WEIGHTS --point 120,80 --point 40,200 --to attention.png

Without weights it takes the bundled network, without a photo a street of CamVid. The paper draws no attention. A level
of k has k x k positions, each a bin of the image; the bin of the point has a red frame.
"""

from pathlib import Path

from matplotlib.figure import Figure

from core import comparison
from core.figures import Options, look, of_points, overview, sheet
from papers.pdanet.attention import attention
from papers.pdanet.model import PDANet

DEFAULT = Options(weights="pdanet-tiny-camvid", to=Path("attention.png"))


def figure(options: Options) -> Figure:
    """Draw what the options say.

    Raises:
        ValueError: as `look`.
    """
    network, picture, points, prediction = look(PDANet, options)
    return sheet([overview(picture, prediction, points), *of_points(attention, network, picture, points)], [prediction])


def main() -> None:
    """Write the figure that the command line says."""
    comparison.main(PDANet, __doc__, DEFAULT, lambda options: {options.to: figure(options)})


if __name__ == "__main__":
    main()
