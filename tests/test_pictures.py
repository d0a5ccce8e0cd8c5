"""Pictures: colours land where the labels are, and files can be opened."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core import figures
from core.images.classes import IGNORE, Classes
from core.images.curves import curves
from core.images.painting import CROSS, DOT, FRAME, diagram, numbered, paint
from core.images.panels import Curves, Panel
from core.images.pictures import colourise, overlay, shares
from core.images.sheets import CELL, contact_sheet
from core.networks.prediction import Prediction

CLASSES = Classes(("road", "a rather long name", "sky"), ((128, 64, 128), (0, 200, 0), (70, 130, 180)))
LABELS = np.array([[0, 1, 2], [IGNORE, 2, 0]])


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_colours_land_where_the_labels_are(kind: type) -> None:
    painted = colourise(LABELS.astype(kind), CLASSES)
    assert painted.dtype == np.uint8
    for place, label in np.ndenumerate(LABELS):
        assert tuple(painted[place]) == ((0, 0, 0) if label == IGNORE else CLASSES.palette[label])
    assert np.array_equal(colourise(torch.from_numpy(LABELS.astype(kind)), CLASSES), painted)


@pytest.mark.parametrize("label", [-1, 3, 254, 256])
def test_labels_without_a_colour_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match=f"labels must be 0 to 2, or 255 to be ignored, got {label}"):
        colourise(np.array([[0, label]]), CLASSES)


def test_overlay_blends_image_and_colours() -> None:
    image = np.full((2, 3, 3), 100, dtype=np.uint8)
    assert np.array_equal(np.asarray(overlay(image, LABELS, CLASSES, opacity=0.0)), image)
    assert np.array_equal(np.asarray(overlay(image, LABELS, CLASSES, opacity=1.0)), colourise(LABELS, CLASSES))
    half = np.asarray(overlay(image, LABELS, CLASSES)).astype(int)
    assert np.abs(half - (100 + colourise(LABELS, CLASSES).astype(int)) / 2).max() <= 1
    with pytest.raises(ValueError, match="opacity must be from 0 .* got 1.5"):
        overlay(image, LABELS, CLASSES, opacity=1.5)
    with pytest.raises((ValueError, TypeError)):  # TypeError: from the shape checker of the tests, where it runs
        overlay(image[:1], LABELS, CLASSES)


def test_shares_name_the_classes_that_occur_the_largest_first() -> None:
    labels = np.array([[2, 2, 2, 0], [IGNORE, 2, 2, 0]])
    assert shares(labels, CLASSES) == [("sky", (70, 130, 180), 5 / 8), ("road", (128, 64, 128), 2 / 8)]


def test_panels_are_painted_where_their_values_are() -> None:
    picture = Image.new("RGB", (40, 20), (200, 10, 10))
    values = torch.tensor([[0.0, 1.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    drawn = np.asarray(paint(Panel("", values, "gray", low=0.0, smooth=False), picture)).astype(int)
    assert (drawn[:10, 20:30] == 255).all()
    assert (drawn[10:] == 0).all()
    assert (abs(drawn[:10, 10:20] - 85) <= 1).all()
    grey = np.asarray(picture.convert("L"))[0, 0]
    half = np.asarray(paint(Panel("", values, "gray", smooth=False), picture, opacity=0.5)).astype(int)
    assert (abs(half[10:] - grey / 2) <= 1).all()
    flat = np.asarray(paint(Panel("", torch.ones(2, 2), "gray"), picture))
    assert (flat == 0).all()


def test_what_is_marked_on_a_panel_lies_where_it_should() -> None:
    picture, values = Image.new("RGB", (240, 120)), torch.zeros(2, 4)
    framed = np.asarray(paint(Panel("", values, "gray", frame=(1, 2)), picture))
    assert [axis.min() for axis in (framed == FRAME).all(-1).nonzero()] == [60, 120]
    assert [axis.max() for axis in (framed == FRAME).all(-1).nonzero()] == [119, 179]
    dots = torch.tensor([[0.25, 0.5, 1.0], [0.75, 0.5, 0.0]])
    dotted = np.asarray(paint(Panel("", values, "gray", dots=dots), picture)).astype(int)
    assert tuple(dotted[60, 60]) == DOT
    assert 0 < dotted[60, 180, 1] < DOT[1] / 5
    crossed = np.asarray(paint(Panel("", values, "gray"), picture, point=(100, 40)))
    assert tuple(crossed[40, 100]) == CROSS
    assert not crossed[:, :90].any()


def test_numbers_have_colours_of_their_own() -> None:
    picture = Image.new("RGB", (30, 10))
    drawn = np.asarray(paint(Panel("", torch.tensor([[0, 1, 2]]), "numbers"), picture))
    assert [tuple(drawn[5, x]) for x in (5, 15, 25)] == [tuple(colour) for colour in numbered(3)]


def test_a_diagram_shows_its_curves() -> None:
    low, high = (diagram(Curves("weights", "channel", {"low": torch.full((9,), at)}), 300, 200) for at in (0.1, 0.9))
    assert low.size == (300, 200)
    lines = [(np.asarray(drawn)[:, 160] == (31, 119, 180)).all(-1).nonzero()[0] for drawn in (low, high)]
    assert lines[0].mean() > 100 > lines[1].mean() > 0


def test_a_sheet_names_every_colour_once_and_leaves_no_title_out() -> None:
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    labels = torch.from_numpy(np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint8))
    prediction = Prediction(labels, torch.zeros(3, 2, 3), Image.fromarray(pixels), CLASSES)
    shown = Image.new("RGB", (60, 40))
    curves = Curves("weights", "channel", {"low": torch.rand(4)})
    drawn = figures.sheet([[("a", shown), ("b", shown), curves], [("c", shown)]], [prediction])
    assert [axis.get_title() for axis in drawn.axes] == ["a", "b", "weights", "c", "", ""]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sky, 50 %", "road, 33 %", "a rather long name, 17 %"]
    two = figures.sheet([[("a", shown)]], [prediction, prediction])
    assert [text.get_text() for text in two.legends[0].get_texts()] == ["sky", "road", "a rather long name"]


def test_contact_sheet_enlarges_by_integers_and_shows_every_image() -> None:
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    large = generator.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    sheet = np.asarray(contact_sheet([[small, large], [large, small]], ["image", "labels"], CLASSES))
    factor = CELL // 40
    enlarged = small.repeat(factor, axis=0).repeat(factor, axis=1)
    assert occurs(enlarged, sheet) == 2
    assert occurs(large, sheet) == 2
    for colour in CLASSES.palette:  # the legend
        assert (sheet == colour).all(axis=-1).sum() > 100


def occurs(image: np.ndarray, sheet: np.ndarray) -> int:
    """How often an image occurs on a sheet, pixel by pixel."""
    height, width = image.shape[:2]
    corners = np.argwhere((sheet[: 1 - height, : 1 - width] == image[0, 0]).all(axis=-1))
    return sum(np.array_equal(sheet[y : y + height, x : x + width], image) for y, x in corners)


def test_legend_wraps_and_never_leaves_the_sheet() -> None:
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    few = contact_sheet([[image]], ["image"], CLASSES)
    many = Classes.coloured([f"class number {index}" for index in range(60)])
    tall = contact_sheet([[image]], ["image"], many)
    assert tall.height > few.height + 200
    assert tall.width < 2 * few.width
    border = np.asarray(contact_sheet([[image[:2, :2]]], ["a title that is wider than its image " * 3], many))
    for edge in (border[:3], border[-3:], border[:, :3], border[:, -3:]):
        assert (edge == 255).all()


def test_contact_sheet_refuses_uneven_rows() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="every row needs 2 images, one for each title, got 1 in row 1"):
        contact_sheet([[image, image], [image]], ["image", "labels"], CLASSES)
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([], ["image"], CLASSES)


def lines(steps: int, **extra: Any) -> list[dict[str, Any]]:
    return [{"step": step, "loss": 2 / step, "learning_rate": 0.01, **extra} for step in range(1, steps + 1)]


@pytest.mark.slow
def test_curves_have_a_panel_for_what_there_is(tmp_path: Path) -> None:
    terms, scalars = {"terms": {"fused": 1.0, "auxiliary": 0.4}}, {"scalars": {"alpha": 0.1, "beta": 0.2}}
    tested = [{"step": step, "validation": {"mean_iou": 50.0 + step, "pixel_accuracy": 90.0}} for step in (5, 10)]
    heights = []
    observed = {"observed": {"number_of_regions": 7.0}}
    runs = (
        lines(10),
        lines(10, **terms) + tested,
        lines(10, **terms, **scalars) + tested,
        lines(10, **terms, **scalars, **observed) + tested,
    )
    for number, metrics in enumerate(runs):
        path = tmp_path / f"{number}.png"
        curves(metrics, path)
        with Image.open(path) as picture:
            picture.load()
            heights.append(picture.height)
    assert [height / heights[0] for height in heights] == pytest.approx([1, 4 / 2, 5 / 2, 6 / 2], abs=0.01)


def test_curves_take_gaps_repeated_steps_and_other_formats(tmp_path: Path) -> None:
    broken = [{"step": 4, "loss": float("nan"), "learning_rate": 0.01, "terms": {"late": 1.0}}]
    curves(lines(100) + broken + lines(3), tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text().rstrip().endswith("</svg>")


def test_curves_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no line has a loss"):
        curves([{"step": 1, "validation": {"mean_iou": 1.0}}], tmp_path / "curves.png")
