"""Draws panels: a map in colours over a picture, with the point that was asked for; curves in a diagram."""

import colorsys

import matplotlib
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from core.images.panels import Curves, Panel, Point

CROSS, FRAME, DOT = (255, 0, 0), (255, 0, 0), (57, 255, 20)
BLACK = (0, 0, 0)
FAINTEST = 0.15
"""How bright a dot of weight 0 is; one of weight 1 has the full colour."""


def paint(panel: Panel, picture: Image.Image, point: Point | None = None, opacity: float = 1.0) -> Image.Image:
    """Draw a map at the size of its picture.

    Args:
        panel: what to draw.
        picture: what it is a map of.
        point: a pixel of the picture, which gets a cross.
        opacity: of the map over the picture in grey, from 0 to 1.
    """
    height, width = panel.values.shape
    drawn = _coloured(panel, picture.size)
    if opacity < 1:
        drawn = Image.blend(picture.convert("L").convert("RGB"), drawn, opacity)
    pen = ImageDraw.Draw(drawn)
    line = _line(picture)
    if panel.frame is not None:
        (row, column), (wide, tall) = panel.frame, (picture.width / width, picture.height / height)
        box = (
            column * wide,
            row * tall,
            max(column * wide, (column + 1) * wide - 1),
            max(row * tall, (row + 1) * tall - 1),
        )
        pen.rectangle(box, outline=FRAME, width=line)
    for x, y, weight in [] if panel.dots is None else panel.dots.tolist():
        _dot(pen, (x * picture.width, y * picture.height), 1.5 * line, weight)
    if point is not None:
        mark(drawn, point)
    return drawn


def mark(drawn: Image.Image, point: Point, number: int | None = None) -> None:
    """Draw a cross at a pixel, in place, and its number beside it."""
    pen, line = ImageDraw.Draw(drawn), _line(drawn)
    x, y = point[0] + 0.5, point[1] + 0.5
    for colour, reach, width in ((BLACK, 5 * line, 2 * line + 1), (CROSS, 4.5 * line, line)):
        pen.line((x - reach, y, x + reach, y), colour, width)
        pen.line((x, y - reach, x, y + reach), colour, width)
    if number is not None:
        left = x + 3 * line if x < 0.85 * drawn.width else x - 10 * line
        top = y + 2 * line if y < 0.85 * drawn.height else y - 9 * line
        pen.text(
            (left, top), f"#{number}", CROSS, font_size=7 * line, stroke_width=max(line // 2, 1), stroke_fill=BLACK
        )


def plot(axis: Axes, curves: Curves) -> None:
    """Draw curves on an axis."""
    longest = 1
    for name, values in curves.lines.items():
        longest = max(longest, len(values))
        axis.plot(range(1, len(values) + 1), values.tolist(), label=name, linewidth=1)
    axis.set_title(curves.title)
    axis.set_xlabel(curves.axis)
    axis.set_ylim(0, 1)
    axis.set_xlim(1, max(longest, 2))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)


def diagram(curves: Curves, width: int, height: int) -> Image.Image:
    """Draw curves as a picture of that many pixels."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    plot(figure.subplots(), curves)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def numbered(number: int) -> UInt8[np.ndarray, "number 3"]:
    """A colour for each number; those of neighbouring numbers are far apart."""
    golden = (5**0.5 - 1) / 2
    drawn = [
        colorsys.hsv_to_rgb(index * golden % 1, 0.9 - 0.25 * (index % 3), 1.0 - 0.2 * (index % 2))
        for index in range(number)
    ]
    return np.round(255 * np.array(drawn)).astype(np.uint8).reshape(-1, 3)


def _coloured(panel: Panel, size: tuple[int, int]) -> Image.Image:
    """The map in its colours, at a width and height in pixels."""
    values = panel.values.cpu()
    if panel.colours == "numbers":
        colours = np.vstack([numbered(int(values.max()) + 1), np.zeros((1, 3), np.uint8)])[values.long().numpy()]
        return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)
    low = float(values.min()) if panel.low is None else panel.low
    high = float(values.max()) if panel.high is None else panel.high
    shares = (values.float() - low) / (high - low) if high > low else torch.zeros(values.shape)
    how = Image.Resampling.BILINEAR if panel.smooth else Image.Resampling.NEAREST
    enlarged = np.asarray(Image.fromarray(shares.numpy()).resize(size, how))
    return Image.fromarray(matplotlib.colormaps[panel.colours](enlarged, bytes=True)[..., :3])


def _dot(pen: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, weight: float) -> None:
    x, y = centre
    shade = tuple(round(part * (FAINTEST + (1 - FAINTEST) * weight)) for part in DOT)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade, outline=BLACK)


def _line(picture: Image.Image) -> int:
    """The width of lines that suits the size of a picture."""
    return max(1, round(max(picture.size) / 160))
