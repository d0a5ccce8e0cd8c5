"""Pictures to look at: labels in colour, labels over a photograph, contact sheets, training curves.

Images are numpy arrays, uint8 h w 3 (RGB); labels are integers h w, on any device, 255 ignored.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Integer, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from core.classes import IGNORE, Classes

Labels = Integer[Tensor, "h w"] | Integer[np.ndarray, "h w"]
Pixels = UInt8[np.ndarray, "h w 3"]
AnyPixels = UInt8[np.ndarray, "_ _ 3"]  # of a size that need not be that of its neighbours

CELL = 256
"""Images on a contact sheet are enlarged by the largest integer with which they stay within CELL x CELL pixels."""

INK, PAPER = (32, 32, 32), (255, 255, 255)


def colourise(labels: Labels, classes: Classes) -> Pixels:
    """Paint every pixel in the colour of its class; ignored pixels are black.

    Raises:
        ValueError: if a label is neither a class nor 255.
    """
    values = labels.cpu().numpy() if isinstance(labels, Tensor) else labels
    wrong = values[((values < 0) | (values >= len(classes))) & (values != IGNORE)]
    if wrong.size:
        raise ValueError(f"labels must be 0 to {len(classes) - 1}, or {IGNORE} to be ignored, got {int(wrong[0])}")
    colours = np.zeros((IGNORE + 1, 3), dtype=np.uint8)
    colours[: len(classes)] = classes.palette
    return colours[values]


def overlay(image: Pixels, labels: Labels, classes: Classes, opacity: float = 0.5) -> Image.Image:
    """Lay the colours of the labels over an image; 0 shows the image only, 1 the colours only.

    Raises:
        ValueError: if the sizes differ, the opacity is not from 0 to 1, or a label is neither a class nor 255.
    """
    if tuple(image.shape[:2]) != tuple(labels.shape):
        raise ValueError(f"image and labels must have one size, got {image.shape[:2]} and {tuple(labels.shape)}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 (the image only) to 1 (the colours only), got {opacity}")
    return Image.blend(Image.fromarray(image), Image.fromarray(colourise(labels, classes)), opacity)


def contact_sheet(rows: Sequence[Sequence[AnyPixels]], titles: Sequence[str], classes: Classes) -> Image.Image:
    """Arrange rows of images under the titles of their columns, with the colours and names of the classes below.

    Images may differ in size. Small ones are enlarged by an integer factor, pixel by pixel, to at most CELL x CELL.

    Raises:
        ValueError: if there are no images, or a row has not one image for each title.
    """
    if not rows or not titles:
        raise ValueError("a contact sheet needs at least one row and one title")
    for number, row in enumerate(rows):
        if len(row) != len(titles):
            raise ValueError(
                f"every row needs {len(titles)} images, one for each title, got {len(row)} in row {number}"
            )
    cells = [[_enlarged(image) for image in row] for row in rows]
    side = max(14, max(cell.width for row in cells for cell in row) // 24)  # of letters and legend, in pixels
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), side)
    gap, line = side, math.ceil(side * 1.5)
    widths = [
        max(math.ceil(font.getlength(title)), *(cell.width for cell in column))
        for title, *column in zip(titles, *cells, strict=True)
    ]
    heights = [max(cell.height for cell in row) for row in cells]
    entries = _legend(classes, font, side, width=sum(widths) + gap * (len(widths) - 1))
    width = max(sum(widths) + gap * (len(widths) - 1), *(left + wide for left, _, wide in entries))
    below = gap + line + sum(heights) + gap * len(heights)  # where the legend begins
    sheet = Image.new("RGB", (width + 2 * gap, below + line * (entries[-1][1] + 1) + gap), PAPER)
    pen = ImageDraw.Draw(sheet)

    x = gap
    for title, wide, *column in zip(titles, widths, *cells, strict=True):
        pen.text((x, gap + line / 3), title, INK, font, anchor="lm")
        y = gap + line
        for cell, high in zip(column, heights, strict=True):
            sheet.paste(cell, (x, y))
            y += high + gap
        x += wide + gap

    for name, colour, (left, row_number, _) in zip(classes.names, classes.palette, entries, strict=True):
        top = below + line * row_number
        pen.rectangle((gap + left, top, gap + left + side, top + side), colour, outline=INK)
        pen.text((gap + left + 1.5 * side, top + side / 2), name, INK, font, anchor="lm")
    return sheet


def _enlarged(image: AnyPixels) -> Image.Image:
    factor = max(CELL // max(image.shape[:2]), 1)
    return Image.fromarray(image).resize((image.shape[1] * factor, image.shape[0] * factor), Image.Resampling.NEAREST)


def _legend(classes: Classes, font: ImageFont.FreeTypeFont, side: int, width: int) -> list[tuple[int, int, int]]:
    """Place a legend entry for each class in even columns that fit the width: left (pixels), line, width (pixels)."""
    widest = math.ceil(max(font.getlength(name) for name in classes.names) + 1.5 * side)
    pitch = widest + 2 * side
    columns = max((width + 2 * side) // pitch, 1)
    return [(index % columns * pitch, index // columns, widest) for index in range(len(classes))]


def curves(metrics: Sequence[Mapping[str, Any]], path: Path | str) -> None:
    """Draw a training run from the lines of its `metrics.jsonl`; the ending of `path` decides the format.

    A training line has "step", "loss", "learning_rate", and may have "terms", "scalars" and "observed", all
    {name: value}; a validation line has "step" and "validation" with "mean_iou" in percent. Of two lines for one step,
    as a resumed run may write, the later counts. Validation, learned scalars and what the network observed of itself
    get a panel where there are any.

    Raises:
        ValueError: if there is no training line.
    """
    training = {line["step"]: line for line in metrics if "loss" in line}
    validation = {line["step"]: line["validation"] for line in metrics if "validation" in line}
    if not training:
        raise ValueError(f"nothing to draw for {path}: no line has a loss; the run has not logged a step yet")
    panels = [("loss (weighted terms)", _series(training, "terms", total="loss"))]
    panels.append(("learning rate", {"": [(step, line["learning_rate"]) for step, line in training.items()]}))
    if validation:
        panels.append(("validation mIoU (%)", {"": [(step, value["mean_iou"]) for step, value in validation.items()]}))
    if scalars := _series(training, "scalars"):
        panels.append(("learned scalars", scalars))
    if observed := _series(training, "observed"):
        panels.append((next(iter(observed)) if len(observed) == 1 else "observed", observed))

    figure = Figure(figsize=(8, 2.4 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (title, series) in zip(axes, panels, strict=True):
        _panel(axis, title, series)
    for axis in axes[:2]:
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("step (parameter updates)")
    axes[-1].set_xlim(left=0)
    figure.align_ylabels(list(axes))
    figure.savefig(path)


Series = dict[str, list[tuple[int, float]]]


def _series(lines: Mapping[int, Mapping[str, Any]], group: str, total: str = "") -> Series:
    """Collect (step, value) of each name in a group of values, after the total if it has a name and is not alone."""
    series: Series = {}
    for step, line in lines.items():
        for name, value in {**({total: line[total]} if total else {}), **line.get(group, {})}.items():
            series.setdefault(name, []).append((step, value))
    return series


def _panel(axis: Axes, title: str, series: Series) -> None:
    """Draw lines by name, with a legend if there is more than one; few points get markers."""
    for number, (name, points) in enumerate(series.items()):
        steps, values = zip(*sorted(points), strict=True)
        axis.plot(
            steps,
            values,
            label=name,
            color=f"C{number}",
            linewidth=1.2,
            marker="o" if len(steps) <= 30 else "",
            markersize=4,
        )
    axis.set_ylabel(title)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    if len(series) > 1:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
