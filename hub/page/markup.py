"""The answers as HTML, with every picture inside it: no file is written for a browser to fetch."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from io import BytesIO

from PIL import Image

from core.images.painting import diagram, paint
from core.images.panels import Attended, Curves, Panel, Point
from core.images.pictures import colourise, percent, shares
from hub.page.answers import Answer

PANEL = 320
"""The longest side of a panel, in pixels."""

OPACITY = 0.6
"""Of a panel over the grey picture."""

MOST = 6
"""So many classes are named for a pixel."""


def picture(answer: Answer) -> str:
    """The picture under its labels, a slider for these, and the legend.

    A click or the arrow keys choose a pixel (`SCRIPT` in `blocks.py`).
    """
    prediction = answer.prediction
    width, height = prediction.image.size
    labels = Image.fromarray(colourise(prediction.labels, prediction.classes)).quantize(256, dither=Image.Dither.NONE)
    name = escape(answer.name)
    return f"""
<h3 class="name">{name}</h3>
<div class="stack" tabindex="0" role="application" aria-label="{name}: click a pixel, or move the cross with the arrows"
  data-width="{width}" data-height="{height}" style="max-width: {80 * width / height:.0f}vh">
  <img alt="the picture" src="{_source(prediction.image, "JPEG")}">
  <img alt="its labels" class="labels" src="{_source(labels, "PNG")}">
  <span class="cross" hidden></span>
</div>
<label class="slider">labels <input type="range" min="0" max="100" value="50"></label>
<ul class="legend">{"".join(_entry(*entry) for entry in shares(prediction.labels, prediction.classes))}</ul>
"""


def pixel(answer: Answer, point: Point) -> str:
    """The probabilities at a pixel, and what it attends to."""
    prediction = answer.prediction
    x, y = point
    at = prediction.probabilities[:, y, x]
    order = at.argsort(descending=True)[:MOST].tolist()
    rows = "".join(
        f'<tr><th scope="row">{escape(prediction.classes.names[k])}</th><td><span class="bar" style="width:'
        f'{100 * float(at[k]):.1f}%;background:{_colour(prediction.classes.palette[k])}"></span></td>'
        f"<td>{percent(float(at[k]))}</td></tr>"
        for k in order
    )
    here = escape(prediction.classes.names[order[0]])
    table = f'<table class="probabilities"><caption>At {x}, {y}: {here}</caption>{rows}</table>'
    try:
        return table + _panels(answer.attend(point), prediction.image, point)
    except ValueError as error:  # a baseline: nothing in it attends
        return table + refusal(str(error))


def thumbnails(pictures: Sequence[Image.Image]) -> str:
    """A button for each picture, by its place."""
    return (
        '<div class="scenes">'
        + "".join(
            f'<button data-scene="{place}"><img alt="picture {place + 1}" src="{_source(one, "JPEG")}"></button>'
            for place, one in enumerate(pictures)
        )
        + '</div><p class="sentence">The first is a street of CamVid. The others are drawn: networks that learned from '
        "photographs know them badly.</p>"
    )


def refusal(sentence: str) -> str:
    """What can't be done, and why."""
    return f'<p class="refusal" role="alert">{escape(sentence)}</p>'


def _panels(attended: Attended, shown: Image.Image, point: Point) -> str:
    scale = PANEL / max(shown.size)
    small = shown.resize((max(1, round(shown.width * scale)), max(1, round(shown.height * scale))))
    there = round((point[0] + 0.5) * small.width / shown.width), round((point[1] + 0.5) * small.height / shown.height)
    drawn = "".join(_figure(panel, small, there) for panel in attended.panels)
    return f'<p class="sentence">{escape(attended.sentence)}</p><div class="panels">{drawn}</div>'


def _figure(panel: Panel | Curves, shown: Image.Image, point: Point) -> str:
    if isinstance(panel, Curves):
        drawn = diagram(replace(panel, title=""), PANEL, max(200, shown.height))
    else:
        drawn = paint(panel, shown, point, OPACITY)
    title = escape(panel.title)
    return f'<figure><img alt="{title}" src="{_source(drawn, "JPEG")}"><figcaption>{title}</figcaption></figure>'


def _entry(name: str, colour: tuple[int, int, int], share: float) -> str:
    return f'<li><span class="swatch" style="background:{_colour(colour)}"></span>{escape(name)} {percent(share)}</li>'


def _colour(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _source(shown: Image.Image, kind: str) -> str:
    """A picture as an address that holds it whole."""
    written = BytesIO()
    shown.save(written, kind, quality=88)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode()}"
