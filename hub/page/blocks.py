"""The page itself: gradio's components, what each event does, and how the page is served."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from core.images.panels import Point
from hub.page import markup
from hub.page.answers import LARGEST, SIDES, Answer, Shelf, answer, read, reduced, scenes

TITLE = "What does it see, and what does a pixel attend to?"
NOBODY = "nothing"
UPLOAD = 20_000_000
"""The bytes that a photograph may have."""

VISITORS = 8
"""Of so many browsers what they show is kept, in memory."""

KEPT = 1800
"""For so many seconds."""

FORGOTTEN = "what was shown here is forgotten after half an hour; choose a picture or a network again"

# Clicks are answered in pixels of the picture; labels fade and the cross moves without asking anybody.
SCRIPT = """
const choose = (stack, x, y) => {
  const width = +stack.dataset.width, height = +stack.dataset.height;
  x = Math.min(Math.max(x, 0), width - 1); y = Math.min(Math.max(y, 0), height - 1);
  trigger('click', {x: x, y: y});
};
element.addEventListener('click', event => {
  const scene = event.target.closest('[data-scene]'), stack = event.target.closest('.stack');
  if (scene) { trigger('click', {scene: +scene.dataset.scene}); return; }
  if (!stack) return;
  const box = stack.getBoundingClientRect();
  choose(stack, Math.floor((event.clientX - box.left) / box.width * stack.dataset.width),
                Math.floor((event.clientY - box.top) / box.height * stack.dataset.height));
});
element.addEventListener('keydown', event => {
  const stack = event.target.closest('.stack');
  const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (!stack || !move) return;
  event.preventDefault();
  const step = Math.max(1, Math.round(stack.dataset.width / 24));
  choose(stack, +(stack.dataset.x ?? stack.dataset.width / 2) + step * move[0],
                +(stack.dataset.y ?? stack.dataset.height / 2) + step * move[1]);
});
element.addEventListener('input', event => {
  if (!event.target.matches('.slider input')) return;
  event.stopPropagation();
  element.querySelector('.labels').style.opacity = event.target.value / 100;
});
"""

# A point that was chosen in one picture is marked in both.
MARK = """
(x, y) => document.querySelectorAll('.stack').forEach(stack => {
  const cross = stack.querySelector('.cross');
  cross.hidden = x < 0; stack.dataset.x = x; stack.dataset.y = y;
  cross.style.left = 100 * (x + 0.5) / stack.dataset.width + '%';
  cross.style.top = 100 * (y + 0.5) / stack.dataset.height + '%';
})
"""

STYLE = """
.stack { position: relative; line-height: 0; cursor: crosshair; touch-action: manipulation; }
.stack img { width: 100%; display: block; margin: 0; border-radius: 4px; }
.stack .labels { position: absolute; inset: 0; height: 100%; opacity: 0.5; image-rendering: pixelated; }
.stack .cross { position: absolute; width: 22px; height: 22px; margin: -11px 0 0 -11px; pointer-events: none;
  background: linear-gradient(red, red) center / 3px 100% no-repeat,
    linear-gradient(red, red) center / 100% 3px no-repeat;
  filter: drop-shadow(0 0 1px black) drop-shadow(0 0 1px black); }
.slider { display: flex; gap: 0.6em; align-items: center; margin: 0.5em 0; }
.slider input { flex: 1; min-height: 28px; }
.legend { display: flex; flex-wrap: wrap; gap: 0.3em 1em; list-style: none; padding: 0; margin: 0; }
.legend li { display: flex; align-items: center; gap: 0.4em; margin: 0; }
.swatch { width: 1em; height: 1em; border: 1px solid currentColor; flex: none; }
.probabilities { width: 100%; border-collapse: collapse; margin: 0.5em 0; }
.probabilities caption { text-align: left; font-weight: 600; }
.probabilities th { text-align: left; font-weight: 400; white-space: nowrap; }
.probabilities :is(th, td) { padding: 0.1em 0.6em 0.1em 0; border: 0; line-height: 1.2; }
.probabilities td { white-space: nowrap; }
.name { font-weight: 600; margin: 0 0 0.3em; overflow-wrap: anywhere; }
.sentence { margin: 0.5em 0; }
.probabilities td:nth-child(2) { width: 100%; }
.bar { display: block; height: 0.9em; min-width: 1px; border: 1px solid currentColor; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 220px), 1fr)); gap: 0.6em; }
.panels figure { margin: 0; }
.panels img { width: 100%; display: block; margin: 0; border-radius: 4px; }
.panels figcaption { font-size: 0.85em; line-height: 1.3; }
.scenes { display: flex; flex-wrap: wrap; gap: 0.4em; }
.scenes button { padding: 0; border: 1px solid currentColor; border-radius: 4px; line-height: 0; cursor: pointer; }
.scenes img { width: 64px; height: 64px; object-fit: cover; margin: 0; border-radius: 3px; }
.refusal { padding: 0.6em 0.8em; border-left: 4px solid #c2410c; background: rgba(194, 65, 12, 0.12); }
"""

CSS = STYLE.replace("\n.", "\n.gradio-container .")
"""Before gradio's own rules."""


@dataclass(frozen=True)
class Seen:
    """What one browser looks at: a picture, the side that networks are given, their answers, and the chosen point."""

    picture: Image.Image
    side: int
    names: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    point: Point | None = None


def look(shelf: Shelf, seen: Seen) -> Seen:
    """Ask the networks anew.

    Raises:
        ValueError: if one can't be loaded.
        OSError: if the Hub can't be reached.
    """
    given = reduced(seen.picture, seen.side)
    return replace(seen, answers=tuple(answer(shelf, name, given) for name in seen.names), point=None)


def columns(seen: Seen) -> list[Any]:
    """What both columns show: of each its visibility, its picture, and what its pixel attends to."""
    shown: list[Any] = []
    hint = '<p class="sentence">Click a pixel.</p>'
    for place in range(2):
        one = seen.answers[place] if place < len(seen.answers) else None
        below = "" if one is None else hint if seen.point is None else markup.pixel(one, seen.point)
        shown += [gr.Column(visible=one is not None), "" if one is None else markup.picture(one), below]
    return shown


def html(name: str, value: str = "") -> gr.HTML:
    """A place for HTML, whose clicks are answered."""
    return gr.HTML(value, js_on_load=SCRIPT, elem_id=name, apply_default_css=False)


def build(shelf: Shelf) -> gr.Blocks:
    """Return the page for the networks of a shelf."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, 60)) as page:
        state = gr.State(None, time_to_live=KEPT)
        gr.Markdown(
            f"## {TITLE}\nChoose a network, drop a photograph (at most {UPLOAD // 1_000_000} MB and "
            f"{LARGEST // 1_000_000} million pixels) or take a scene, and click a pixel. Nothing leaves this machine, "
            "and nothing is kept."
        )
        with gr.Row():
            first = gr.Dropdown(list(shelf.names), value=shelf.names[0], label="network", elem_id="first")
            second = gr.Dropdown([NOBODY, *shelf.names], value=NOBODY, label="beside it", elem_id="second")
            side = gr.Dropdown(list(SIDES), value=SIDES[1], label="longest side it is given, pixels", elem_id="side")
        with gr.Row():
            with gr.Column(min_width=300):
                file = gr.File(label="a photograph", file_types=["image"], height=120, elem_id="file")
            with gr.Column(min_width=300):
                small = html("scenes", markup.thumbnails(scenes()))
        said = html("said")
        parts: list[Any] = []
        pictures = []
        with gr.Row():
            for place in range(2):
                with gr.Column(min_width=320, visible=place == 0) as column, gr.Row():
                    with gr.Column(min_width=300):
                        shown = html(f"picture{place}")
                    with gr.Column(min_width=300):
                        below = html(f"pixel{place}")
                parts += [column, shown, below]
                pictures.append(shown)

        def chosen(name: str, other: str) -> tuple[str, ...]:
            return (name,) if other == NOBODY else (name, other)

        def show(seen: Seen) -> list[Any]:
            try:
                seen = look(shelf, seen)
            except (ValueError, OSError) as error:
                return [gr.skip(), markup.refusal(str(error)), *[gr.skip()] * len(parts)]
            return [seen, "", *columns(seen)]

        def begin(name: str, other: str, length: int) -> list[Any]:
            return show(Seen(scenes()[0], length, chosen(name, other)))

        def change(seen: Seen | None, name: str, other: str, length: int) -> list[Any]:
            names = chosen(name, other)
            return show(Seen(scenes()[0] if seen is None else seen.picture, length, names))

        def take(event: gr.EventData, name: str, other: str, length: int) -> list[Any]:
            return show(Seen(scenes()[event.scene], length, chosen(name, other)))

        def upload(path: str, name: str, other: str, length: int) -> list[Any]:
            try:
                picture = read(Path(path))
            except ValueError as error:
                return [None, gr.skip(), markup.refusal(str(error)), *[gr.skip()] * len(parts)]
            finally:
                Path(path).unlink()
            return [None, *show(Seen(picture, length, chosen(name, other)))]

        def click(event: gr.EventData, seen: Seen | None) -> list[Any]:
            if seen is None:
                return [gr.skip(), markup.refusal(FORGOTTEN), -1, -1, "", ""]
            seen = replace(seen, point=(event.x, event.y))
            found = [markup.pixel(one, (event.x, event.y)) for one in seen.answers]
            return [seen, "", event.x, event.y, *found, *[""] * (2 - len(found))]

        choices = [first, second, side]
        everything = [state, said, *parts]
        alone = {"concurrency_limit": 1, "concurrency_id": "network", "api_visibility": "private"}
        page.load(begin, choices, everything, **alone)
        for choice in choices:
            choice.input(change, [state, *choices], everything, **alone)
        small.click(take, choices, everything, **alone)
        file.upload(upload, [file, *choices], [file, *everything], **alone)
        x, y = gr.Number(visible=False), gr.Number(visible=False)
        for shown in pictures:
            done = shown.click(click, state, [state, said, x, y, parts[2], parts[5]], **alone)
            done.then(None, [x, y], None, js=MARK)
    return page


def serve(shelf: Shelf, host: str, port: int | None, share: bool, wait: bool = True) -> gr.Blocks:
    """Serve the page until it is interrupted; without `wait`, return at once."""
    page = build(shelf)
    page.queue(max_size=4 * VISITORS)
    page.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=not wait,
        quiet=not wait,
        max_file_size=UPLOAD,
        state_session_capacity=VISITORS,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=CSS,
    )
    return page
