"""Contact sheets: rows of images under titles, with the colours and names of the classes below."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from core.images.classes import Classes, Colour

AnyPixels = UInt8[np.ndarray, "_ _ 3"]  # of a size that need not be that of its neighbours


CELL = 256
"""Images on a contact sheet are enlarged by the largest integer with which they stay within CELL x CELL pixels."""


IGNORED: Colour = (0, 0, 0)
"""What `colourise` gives to pixels without a class."""

INK, PAPER = (32, 32, 32), (255, 255, 255)


def contact_sheet(
    rows: Sequence[Sequence[AnyPixels]], titles: Sequence[str], classes: Classes, ignored: bool = False
) -> Image.Image:
    """Arrange rows of images under the titles of their columns, with the colours and names of the classes below.

    Images may differ in size. Small ones are enlarged by an integer factor, pixel by pixel, to at most CELL x CELL.
    With `ignored`, the colour of pixels without a class is named too.

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
    names, palette = classes.names, classes.palette
    if ignored:
        names, palette = (*names, "ignored"), (*palette, IGNORED)
    cells = [[_enlarged(image) for image in row] for row in rows]
    side = max(14, max(cell.width for row in cells for cell in row) // 24)  # of letters and legend, in pixels
    font = ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), side)
    gap, line = side, math.ceil(side * 1.5)
    widths = [
        max(math.ceil(font.getlength(title)), *(cell.width for cell in column))
        for title, *column in zip(titles, *cells, strict=True)
    ]
    heights = [max(cell.height for cell in row) for row in cells]
    entries = _legend(names, font, side, width=sum(widths) + gap * (len(widths) - 1))
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

    for name, colour, (left, row_number, _) in zip(names, palette, entries, strict=True):
        top = below + line * row_number
        pen.rectangle((gap + left, top, gap + left + side, top + side), colour, outline=INK)
        pen.text((gap + left + 1.5 * side, top + side / 2), name, INK, font, anchor="lm")
    return sheet


def _enlarged(image: AnyPixels) -> Image.Image:
    factor = max(CELL // max(image.shape[:2]), 1)
    return Image.fromarray(image).resize((image.shape[1] * factor, image.shape[0] * factor), Image.Resampling.NEAREST)


def _legend(names: Sequence[str], font: ImageFont.FreeTypeFont, side: int, width: int) -> list[tuple[int, int, int]]:
    """Place a legend entry for each class in even columns that fit the width: left (pixels), line, width (pixels)."""
    widest = math.ceil(max(font.getlength(name) for name in names) + 1.5 * side)
    pitch = widest + 2 * side
    columns = max((width + 2 * side) // pitch, 1)
    return [(index % columns * pitch, index // columns, widest) for index in range(len(names))]
