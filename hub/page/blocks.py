"""The page itself: gradio's components, what each event does, and how the page is served."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from hub.page import markup
from hub.page.answers import MOST_PIXELS, SIDES, Answer, Shelf, answer, offered, read, reduced
from hub.page.style import CSS, MARK, SCRIPT

TITLE = "What does it see, and what does a pixel attend to?"
NOBODY = "nothing"
UPLOAD = 20 << 20
"""The bytes that a photograph may have."""

VISITORS = 8
"""Of so many browsers what they show is kept, in memory."""

KEPT = 1800
"""For so many seconds."""

COLUMNS = 2
"""So many networks answer beside each other."""

INTRODUCTION = f"""## {TITLE}
Choose a network, drop a photograph (at most {UPLOAD >> 20} MB and {MOST_PIXELS // 1_000_000} million pixels) or take
a picture below, and click a pixel. Photographs are deleted once they are read, and what is shown is forgotten after
half an hour."""

HINT = '<p class="sentence">Click a pixel.</p>'
FORGOTTEN = "what was shown here is forgotten after half an hour; choose a picture or a network again"


@dataclass(frozen=True)
class Seen:
    """What one browser looks at: a picture, the longest side that networks are given, and their answers."""

    picture: Image.Image
    side: int
    names: tuple[str, ...]
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Events:
    """What the page answers, by networks of a shelf: each method gives the values of all that changes.

    They begin with what is seen and a sentence, and go on with both columns: visibility, picture, and chosen pixel.
    """

    shelf: Shelf

    def begin(self, first: str, second: str, side: int) -> list[Any]:
        """Show the first picture."""
        return self._show(Seen(offered()[0], side, _names(first, second)))

    def change(self, seen: Seen | None, first: str, second: str, side: int) -> list[Any]:
        """Ask other networks, or at another size."""
        return self._show(Seen(offered()[0] if seen is None else seen.picture, side, _names(first, second)))

    def take(self, event: gr.EventData, first: str, second: str, side: int) -> list[Any]:
        """Show a picture that comes with the page, by its place."""
        return self._show(Seen(offered()[event.scene], side, _names(first, second)))

    def upload(self, path: str, first: str, second: str, side: int) -> list[Any]:
        """Show a photograph, whose file is deleted at once; before all else, the place to drop one is emptied."""
        try:
            picture = read(Path(path))
        except ValueError as error:
            return [None, *_refused(error)]
        finally:
            Path(path).unlink()
        return [None, *self._show(Seen(picture, side, _names(first, second)))]

    def point(self, event: gr.EventData, seen: Seen | None) -> list[Any]:
        """Say what a pixel attends to: a sentence, x and y, and the pixel of both columns."""
        if seen is None:
            return [markup.refusal(FORGOTTEN), -1, -1, *[""] * COLUMNS]
        found = [markup.pixel(one, (event.x, event.y)) for one in seen.answers]
        return ["", event.x, event.y, *found, *[""] * (COLUMNS - len(found))]

    def _show(self, seen: Seen) -> list[Any]:
        given = reduced(seen.picture, seen.side)
        try:
            answers = tuple(answer(self.shelf, name, given) for name in seen.names)
        except (ValueError, OSError) as error:
            return _refused(error)
        columns: list[Any] = []
        for place in range(COLUMNS):
            if place < len(answers):
                columns += [gr.Column(visible=True), markup.picture(answers[place]), HINT]
            else:
                columns += [gr.Column(visible=False), "", ""]
        return [replace(seen, answers=answers), "", *columns]


def _names(first: str, second: str) -> tuple[str, ...]:
    return (first,) if second == NOBODY else (first, second)


def _refused(error: Exception) -> list[Any]:
    return [gr.skip(), markup.refusal(str(error)), *[gr.skip()] * 3 * COLUMNS]


def one_at_a_time(event: Callable[..., Any], act: Callable[..., Any], given: list[Any], changed: list[Any]) -> Any:
    """Answer an event when no other one is answered: networks take all cores, and memory."""
    return event(act, given, changed, concurrency_limit=1, concurrency_id="network", api_visibility="private")


def html(name: str, value: str = "") -> gr.HTML:
    """A place for HTML, whose clicks are answered."""
    return gr.HTML(value, js_on_load=SCRIPT, elem_id=name, apply_default_css=False)


def build(shelf: Shelf) -> gr.Blocks:
    """Return the page for the networks of a shelf."""
    events = Events(shelf)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(60, 60)) as page:
        state = gr.State(None, time_to_live=KEPT)
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            first = gr.Dropdown(
                list(shelf.names), value=shelf.names[0], label="network", min_width=200, elem_id="first"
            )
            second = gr.Dropdown(
                [NOBODY, *shelf.names], value=NOBODY, label="beside it", min_width=200, elem_id="second"
            )
            side = gr.Dropdown(
                list(SIDES), value=SIDES[1], label="longest side it is given, pixels", min_width=200, elem_id="side"
            )
        with gr.Row():
            with gr.Column(min_width=300):
                file = gr.File(label="a photograph", file_types=["image"], height=120, elem_id="file")
            with gr.Column(min_width=300):
                thumbnails = html("scenes", markup.thumbnails(offered()))
        said = html("said")
        columns, pictures, pixels = [], [], []
        with gr.Row():
            for place in range(COLUMNS):
                with gr.Column(min_width=320, visible=place == 0) as column, gr.Row():
                    with gr.Column(min_width=300):
                        pictures.append(html(f"picture{place}"))
                    with gr.Column(min_width=300):
                        pixels.append(html(f"pixel{place}"))
                columns += [column, pictures[-1], pixels[-1]]

        choices, everything = [first, second, side], [state, said, *columns]
        one_at_a_time(page.load, events.begin, choices, everything)
        for choice in choices:
            one_at_a_time(choice.input, events.change, [state, *choices], everything)
        one_at_a_time(thumbnails.click, events.take, choices, everything)
        one_at_a_time(file.upload, events.upload, [file, *choices], [file, *everything])
        x, y = gr.Number(visible=False), gr.Number(visible=False)
        for picture in pictures:
            done = one_at_a_time(picture.click, events.point, [state], [said, x, y, *pixels])
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
