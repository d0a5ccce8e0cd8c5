"""What the figures of all papers share: a photo, weights that are there, points of the photo, and the arrangement."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import tyro
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from core import datasets
from core.errors import require
from core.files import make_folder, refuse_no_picture, said_if_unwritable
from core.images.painting import mark, paint, plot
from core.images.panels import Attention, Curves, Panel, Point
from core.images.pictures import percent, shares
from core.images.pixels import as_tested
from core.images.reading import STREET, open_rgb
from core.networks.network import Network
from core.networks.prediction import Prediction
from core.recipe import Protocol
from core.run import WHERE

Kind = TypeVar("Kind", bound=Network)

WIDTH = 3.2
"""Of a picture in a figure, in inches."""

PHOTO = "an image file; None: a street of CamVid, or a drawn one for a network that was trained on drawings"

NARROWEST = 16
"""So many times as long as wide a picture may be."""

Cell = tuple[str, Image.Image] | Curves
"""A picture with its title, or a diagram."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to draw. Points are pixels of the image, x to the right and y down."""

    photo: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(help=PHOTO)] = None
    weights: Annotated[str, tyro.conf.arg(help=WHERE)]
    point: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="X,Y")] = ()
    to: Path


def look(kind: type[Kind], options: Options, number: int = 2) -> tuple[Kind, Image.Image, list[Point], Prediction]:
    """The network of a figure, the picture as it sees it, points there (without any, `number` of them), its prediction.

    Raises:
        ValueError: if the photo, the weights or a point does not exist, or the file would be no picture.
    """
    refuse_no_picture(options.to)
    network = kind.from_pretrained(options.weights)
    picture = open_photo(options.photo, network)
    picture, points = as_seen(network, picture, parse_points(options.point, picture, number))
    return network, picture, points, network.predict(picture)


def open_photo(photo: Path | None, network: Network) -> Image.Image:
    """Open a photo in RGB; without one, a real street, or a drawn one for a network that was trained on drawings.

    Raises:
        ValueError: if there is no such file, it can't be read, or it is too narrow for a page.
    """
    if photo is None:
        drawn = datasets.is_drawn(network.learned_from.get("name"))
        return open_rgb(datasets.read("scenes", None, "test").rows[1].image if drawn else STREET)
    picture = open_rgb(photo)
    require(
        max(picture.size) <= NARROWEST * min(picture.size),
        f"{photo} has {picture.width} x {picture.height} pixels, more than {NARROWEST} times as many one way as the "
        "other: no page shows it; cut it",
    )
    return picture


def parse_points(texts: Iterable[str], picture: Image.Image, number: int = 2) -> list[Point]:
    """Read points of a picture, each "x,y"; without any, that many are spread over it, at most three.

    Raises:
        ValueError: if one is not two numbers inside the picture.
    """
    width, height = picture.size
    spread = (f"{width // 2},{height * 3 // 4}", f"{width // 4},{height // 3}", f"{width * 3 // 4},{height // 2}")
    points = []
    for text in tuple(texts) or spread[:number]:
        match = re.fullmatch(r"(\d+),(\d+)", text)
        if match is None or int(match[1]) >= width or int(match[2]) >= height:
            raise ValueError(f"--point must be x,y with x below {width} and y below {height}, got {text!r}")
        points.append((int(match[1]), int(match[2])))
    return points


def as_seen(network: Network, picture: Image.Image, points: Sequence[Point] = ()) -> tuple[Image.Image, list[Point]]:
    """A picture no larger than the network looks at, and where its points lie then: it attends to what it predicts."""
    limit = network.about.protocol.limit if network.about is not None else None
    if limit is None or max(picture.size) <= limit:
        return picture, list(points)
    seen = as_tested(picture, Protocol(limit=limit))
    return seen, [(x * seen.width // picture.width, y * seen.height // picture.height) for x, y in points]


def cell(panel: Panel | Curves, picture: Image.Image, point: Point | None = None) -> Cell:
    """A panel as it stands in a figure: in plain colours, a diagram as it is."""
    return panel if isinstance(panel, Curves) else (panel.title, paint(panel, picture, point))


def overview(picture: Image.Image, prediction: Prediction, points: Sequence[Point] = ()) -> list[Cell]:
    """The image with its numbered points, and the prediction."""
    marked = picture.copy()
    for number, point in enumerate(points, start=1):
        mark(marked, point, number)
    return [("image", marked), ("prediction", prediction.overlay())]


def of_points(
    attention: Attention, network: Network, picture: Image.Image, points: Sequence[Point]
) -> list[list[Cell]]:
    """A row for each point, with what it attends to; what several points share stands once, in the row of the first.

    Raises:
        ValueError: if the network has no part that attends.
    """
    attend = attention(network, picture)
    panels = [attend(point).panels for point in points]
    rows: list[list[Cell]] = []
    for place, own in enumerate(panels):
        rows.append([])
        for panel in own:
            sharing = [other for other, found in enumerate(panels) if any(_same(panel, one) for one in found)]
            if sharing[0] < place:
                continue
            one = cell(panel, picture, points[place])
            if not isinstance(one, Curves):
                for other in sharing[1:]:
                    mark(one[1], points[other])
            rows[-1].append(_named(f"{', '.join(f'#{other + 1}' for other in sharing)}: ", one))
    return [row for row in rows if row]


def sheet(rows: Sequence[Sequence[Cell]], predictions: Sequence[Prediction]) -> Figure:
    """Arrange rows of pictures and diagrams, and name the colours of all predictions below them.

    Of a single prediction each class has its share beside it.
    """
    columns = max(map(len, rows))
    heights = [max(one[1].height / one[1].width for row in rows for one in row if isinstance(one, tuple))] * len(rows)
    entries = _legend(predictions)
    lines = -(-len(entries) // (2 * columns))
    height = sum(WIDTH * shape + 0.4 for shape in heights) + 0.25 * lines + 0.2
    figure = Figure(figsize=(WIDTH * columns, height), layout="constrained")
    for axes, row in zip(figure.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        for axis in axes[len(row) :]:
            axis.set_axis_off()
        for axis, one in zip(axes, row, strict=False):
            if isinstance(one, Curves):
                plot(axis, one)
                continue
            title, shown = one
            axis.imshow(shown)
            axis.set_title(title, fontsize=9)
            axis.set_axis_off()
    figure.legend(handles=entries, loc="outside lower center", ncols=2 * columns, frameon=False, fontsize=8)
    return figure


def write(figure: Figure | Image.Image, path: Path) -> None:
    """Write a figure or a picture, and say where.

    Raises:
        ValueError: if nothing may be written there.
    """
    make_folder(path.parent)
    with said_if_unwritable(path):
        figure.save(path) if isinstance(figure, Image.Image) else figure.savefig(path, dpi=120)
    sys.stdout.write(f"wrote {path}\n")


def _legend(predictions: Sequence[Prediction]) -> list[Patch]:
    """A patch for each class that occurs."""
    found = [entry for one in predictions for entry in shares(one.labels, one.classes)]
    names = {name: colour for name, colour, _ in found}
    share = {name: f", {percent(part)}" for name, _, part in found} if len(predictions) == 1 else {}
    return [
        Patch(facecolor=f"#{red:02x}{green:02x}{blue:02x}", edgecolor="black", label=name + share.get(name, ""))
        for name, (red, green, blue) in names.items()
    ]


def _same(one: Panel | Curves, other: Panel | Curves) -> bool:
    """Return True if two panels show the same map."""
    if one is other or not isinstance(one, Panel) or not isinstance(other, Panel):
        return one is other
    told = one.title == other.title and one.frame == other.frame and one.dots is other.dots
    return told and torch.equal(one.values, other.values)


def _named(prefix: str, one: Cell) -> Cell:
    return one if isinstance(one, Curves) else (prefix + one[0], one[1])
