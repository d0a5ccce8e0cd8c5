"""What several checkpoints make of the same images, beside the labels: the figures by which papers show a module.

python papers/danet/figures.py compare --data CITYSCAPES --to figure4.png --name "without PAM" --name "with PAM" \\
    --weights runs/danet-r50-cityscapes-fcn --weights runs/danet-r50-cityscapes-pam

A column for each `--weights`, another for each `--without`: the last checkpoint with that module switched off. Images
are those of a split, by their numbers, and predicted as each checkpoint is tested.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import tyro
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from core import datasets
from core.datasets.cache import Pixels
from core.datasets.samples import Pairs
from core.errors import door, require
from core.figures import write
from core.files import refuse_no_picture
from core.images import pictures, sheets
from core.images.bands import shown
from core.networks.network import Network
from core.run import WHERE

Asked = TypeVar("Asked")

WORD = "compare"
"""The first word of a paper's figures.py for this figure."""


@dataclass(frozen=True)
class Options:
    """What to draw."""

    weights: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help=f"{WHERE}, of this paper; a column each"),
    ]
    name: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(help="title of each column; none: the weights")
    ] = ()
    without: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(metavar="MODULE", help="the last weights with a module switched off; a column each"),
    ] = ()
    dataset: Annotated[str | None, tyro.conf.arg(help="None: that of the first weights")] = None
    data: Annotated[Path | None, tyro.conf.arg(help="folder of the data set")] = None
    split: Annotated[str | None, tyro.conf.arg(help="None: that by which the first weights are tested")] = None
    image: Annotated[
        tyro.conf.UseAppendAction[tuple[int, ...]],
        tyro.conf.arg(metavar="NUMBER", help="of the split, from 0; a row each; none: three, spread over it"),
    ] = ()
    to: Path = Path("comparison.png")


def sheet(kind: type[Network], options: Options) -> Image.Image:
    """Draw what the options say: image, predictions, labels.

    Raises:
        ValueError: if weights, data, a module or an image do not exist or do not belong together.
    """
    require(len(options.weights) > 0, "there is nothing to compare; pass --weights, best several times")
    networks = [kind.from_pretrained(where) for where in options.weights]
    pairs = _pairs(networks[0], options)
    for where, network in zip(options.weights, networks, strict=True):
        names = network.about.classes.names if network.about is not None else pairs.classes.names
        require(
            network.num_classes == len(pairs.classes) and names == pairs.classes.names,
            f"{where} was trained for other classes than those of the images; pass the --dataset of its training",
        )
    titles = [*(options.name or options.weights), *(f"without {part}" for part in options.without)]
    require(
        len(options.name) in (0, len(options.weights)),
        f"--name is needed once for each of the {len(options.weights)} weights or not at all, got {len(options.name)}",
    )
    columns = [(network, None) for network in networks] + [(networks[-1], part) for part in options.without]
    numbers = options.image or tuple(sorted({i * len(pairs) // 3 for i in range(3)}))
    wrong = [number for number in numbers if not 0 <= number < len(pairs)]
    require(not wrong, f"--image must be 0 to {len(pairs) - 1}, got {wrong[:1]}")
    rows = [list(_row(pairs, number, columns)) for number in numbers]
    return sheets.contact_sheet(rows, ["image", *titles, "labels"], pairs.classes, ignored=True)


def _pairs(network: Network, options: Options) -> Pairs:
    """The images: those by which the network is tested, unless another data set or split is asked for."""
    name, split = options.dataset or network.learned_from.get("name"), options.split or network.learned_from.get("test")
    if name is None or split is None:
        raise ValueError("these weights do not say what they are tested on; pass --dataset and --split")
    return datasets.read(name, options.data, split)


def _row(
    pairs: Pairs, number: int, columns: Sequence[tuple[Network, str | None]]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    channels = len(columns[0][0].normalisation.mean)
    picture, labels = Pixels(pairs, channels=channels).pair(number)
    yield shown(picture)
    for network, part in columns:
        with network.without(part) if part is not None else nullcontext():
            yield pictures.colourise(network.predict(picture).labels, pairs.classes)
    yield pictures.colourise(labels, pairs.classes)


def main(
    kind: type[Network],
    description: str | None,
    options: Asked,
    draw: Callable[[Asked], Mapping[Path, Figure]],
) -> None:
    """The command behind every figures.py: write the paper's own figures, or after the word `compare` this one.

    Args:
        kind: the paper's network.
        description: of the paper's own figures, for --help.
        options: what may be chosen about them, and what is chosen without a word.
        draw: makes them, by the files where they go.
    """
    arguments = sys.argv[1:]
    with door():
        if arguments[:1] == [WORD]:
            chosen = tyro.cli(Options, description=__doc__, args=arguments[1:])
            refuse_no_picture(chosen.to)
            write(sheet(kind, chosen), chosen.to)
            return
        asked = tyro.cli(type(options), default=options, description=description, args=arguments)
        for path, figure in draw(asked).items():
            write(figure, path)
