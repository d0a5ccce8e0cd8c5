"""Figures 7 and 8 of DF-DAM for any images and any weights: what its two attention modules let through.

python papers/dfdam/figures.py PHOTO PHOTO --weights WEIGHTS --channel 51 --channel 126 --to FOLDER

writes FOLDER/figure7.png, the weight of each channel, and FOLDER/figure8.png, channel maps and the confidence map.
Without weights it takes the bundled network, without photos a street of CamVid. Without channels it shows the one of
the lowest weight and the two of the highest, which is what the paper's 51, 126 and 11 are.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure
from PIL import Image

from core import comparison
from core.errors import require
from core.figures import as_seen, cell, open_photo, overview, sheet
from core.files import PICTURES
from core.images.painting import plot
from core.images.panels import Curves
from core.networks.prediction import Prediction
from core.run import WHERE
from papers.dfdam.attention import Modules, channel_map, channels_to_show, confidence, gates, modules_of
from papers.dfdam.model import DFDAM


@dataclass(frozen=True)
class Options:
    """What to draw."""

    photos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(help="image files")] = ()
    weights: Annotated[str, tyro.conf.arg(help=WHERE)] = "dfdam-tiny-camvid"
    channel: Annotated[
        tyro.conf.UseAppendAction[tuple[int, ...]], tyro.conf.arg(help="counted from 1, as in the paper")
    ] = ()
    to: Annotated[Path, tyro.conf.arg(help="the folder for figure7.png and figure8.png")] = Path(".")


def figure7(found: list[Modules]) -> Figure:
    """Draw the weight of each channel: high-level and low-level of the first image, and low-level of several images."""
    parts = 1 if len(found) == 1 else 2
    figure = Figure(figsize=(12, 3 * parts), layout="constrained")
    first, *second = figure.subplots(parts, 1, squeeze=False)[:, 0]
    plot(first, replace(gates(found[0]), title="(a) channel weights of the first image"))
    lines = {f"image {number}": modules.low_weights for number, modules in enumerate(found, start=1)}
    for axis in second:
        plot(axis, Curves("(b) channel weights of the low-level features", "channel", lines))
    return figure


def figure8(
    pictures: list[Image.Image], found: list[Modules], channels: tuple[int, ...], predictions: list[Prediction]
) -> Figure:
    """Draw a row for each image: itself, the prediction, channels of X_L, and the confidence map if there is one."""
    rows = []
    for picture, modules, prediction in zip(pictures, found, predictions, strict=True):
        panels = [channel_map(modules, number) for number in channels]
        panels += [] if modules.beta is None else [confidence(modules.beta)]
        rows.append([*overview(picture, prediction), *(cell(panel, picture) for panel in panels)])
    return sheet(rows, predictions)


def figures(options: Options) -> dict[Path, Figure]:
    """Draw what the options say, Figure 7 and Figure 8, by the files where they go.

    Raises:
        ValueError: if a photo, the weights or a channel does not exist.
    """
    is_file = options.to.suffix.lower() in PICTURES or (options.to.exists() and not options.to.is_dir())
    require(not is_file, f"--to must be a folder, for two files, got the file {options.to}")
    network = DFDAM.from_pretrained(options.weights)
    pictures = [as_seen(network, open_photo(photo, network))[0] for photo in options.photos or (None,)]
    found = [modules_of(network, picture) for picture in pictures]
    number = len(found[0].low_weights)
    wrong = [channel for channel in options.channel if not 1 <= channel <= number]
    if wrong:
        raise ValueError(f"--channel must be 1 to {number}, got {wrong[0]}")
    channels = options.channel or channels_to_show(found[0].low_weights)
    predictions = [network.predict(picture) for picture in pictures]
    return {
        options.to / "figure7.png": figure7(found),
        options.to / "figure8.png": figure8(pictures, found, channels, predictions),
    }


def main() -> None:
    """Write the figures that the command line says."""
    comparison.main(DFDAM, __doc__, Options(), figures)


if __name__ == "__main__":
    main()
