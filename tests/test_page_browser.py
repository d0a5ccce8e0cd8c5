"""The page in a real browser: load, choose, upload, click, and see the map change; and nobody else is asked."""

import importlib.util
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
NETWORKS = ("ci/golden/danet", "ci/golden/ranet")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
MILLISECONDS = 300_000  # for a busy machine is slow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' and '.join(MISSING)}: pip install -e '.[dev,page]'"),
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium"),
]

# Runs the page, and writes down whom it calls beside this machine.
WATCHED = """
import os, runpy, sys, tempfile
root, calls = sys.argv.pop(1), sys.argv.pop(1)
os.chdir(root)
tempfile.tempdir = None  # what was asked for before, with another environment
log = open(calls, "w")
own = ("127.0.0.1", "localhost", "::1", "0.0.0.0", None, "")
def watch(event, given):
    address = given[1] if event == "socket.connect" else given if event == "socket.getaddrinfo" else None
    if isinstance(address, tuple) and address[0] not in own:
        print(event, address, file=log, flush=True)
sys.addaudithook(watch)
sys.stdout.reconfigure(line_buffering=True)
runpy.run_module("hub.page", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of the page, and the folder that has its temporary files and the log of its calls."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "temporary").mkdir()
    script, said = folder / "watched.py", folder / "said"
    script.write_text(WATCHED)
    words = [str(script), str(ROOT), str(folder / "calls"), *NETWORKS]
    process = forked.fork(forked.be, words, log=said, TMPDIR=str(folder / "temporary"))
    try:
        while not (found := said.exists() and re.search(r"http://127\.0\.0\.1:\d+", said.read_text())):
            assert process.is_alive(), f"the page did not open: {said.read_text()}"
            time.sleep(0.1)
        yield found[0], folder
    finally:
        process.terminate()
        process.join()
    assert not list((folder / "temporary").glob("page-*"))
    assert (folder / "calls").read_text() == ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(served: tuple[str, Path], browser: Any) -> Iterator[Any]:
    """The page after its first answer; whatever it fetches must come from this machine."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(MILLISECONDS)
    opened = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(served[0])
    opened.wait_for_selector("#picture0 .stack")
    yield opened
    context.close()
    assert [url for url in asked if not url.startswith((served[0], "data:", "blob:"))] == []
    assert wrong == []


def panel(page: Any, place: int = 0) -> str:
    return str(page.get_attribute(f"#pixel{place} .panels img", "src"))


def click(page: Any, x: float, y: float, place: int = 0) -> str:
    """Click at shares of the width and height of a picture; return the caption of what comes then."""
    stack = page.locator(f"#picture{place} .stack")
    stack.scroll_into_view_if_needed()
    known = page.locator("#pixel0 caption")
    before = known.inner_text() if known.count() else ""
    box = stack.bounding_box()
    stack.click(position={"x": x * box["width"], "y": y * box["height"]})
    caption = "document.querySelector('#pixel0 caption')?.innerText"
    page.wait_for_function(f"before => ![undefined, before].includes({caption})", arg=before)
    return str(page.inner_text("#pixel0 caption"))


def choose(page: Any, which: str, name: str) -> None:
    page.click(f"#{which} input")
    page.click(f"[role=option]:has-text('{name}')")


def test_a_click_shows_what_the_pixel_attends_to(page: Any) -> None:
    assert page.inner_text("#picture0 .name") == NETWORKS[0]
    assert page.locator("#picture0 .legend li").count() >= 3
    assert click(page, 0.25, 0.5).startswith("At 120, 1")
    first = panel(page)
    assert page.locator("#picture0 .cross").is_visible()
    assert click(page, 0.75, 0.9).startswith("At 360, 32")
    assert panel(page) != first
    assert page.locator("#pixel0 tr").count() == 6
    left = page.evaluate("document.querySelector('#picture0 .cross').style.left")
    assert float(left.rstrip("%")) == pytest.approx(75.4, abs=1)


def test_another_network_and_two_beside_each_other(page: Any) -> None:
    labels = page.get_attribute("#picture0 .labels", "src")
    choose(page, "first", "ranet")
    page.wait_for_selector("#picture0 .name:has-text('ranet')")
    assert page.get_attribute("#picture0 .labels", "src") != labels
    choose(page, "second", "danet")
    page.wait_for_selector("#picture1 .stack")
    assert page.get_attribute("#picture1 .labels", "src") == labels
    click(page, 0.5, 0.75, place=1)
    assert page.inner_text("#pixel0 caption").split(":")[0] == page.inner_text("#pixel1 caption").split(":")[0]
    assert page.locator("#pixel0 figure").count() == 5
    assert page.locator("#pixel1 figure").count() == 1
    assert page.locator(".cross").nth(0).is_visible()
    assert page.locator(".cross").nth(1).is_visible()
    left, right = (page.locator(f"#picture{place}").bounding_box() for place in (0, 1))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]


def test_labels_fade_and_the_arrows_move_the_cross(page: Any) -> None:
    page.locator("#picture0 .slider input").fill("0")
    assert page.evaluate("getComputedStyle(document.querySelector('#picture0 .labels')).opacity") == "0"
    click(page, 0.5, 0.5)
    before = page.inner_text("#pixel0 caption")
    page.focus("#picture0 .stack")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => !document.querySelector('#pixel0').innerText.includes(before)", arg=before)
    (x, y), (right, same) = (map(int, re.findall(r"\d+", text)[:2]) for text in (before, caption(page)))
    assert (right, same) == (x + 20, y)  # a twenty-fourth of the width


def caption(page: Any) -> str:
    return str(page.inner_text("#pixel0 caption"))


def test_a_photograph_is_shown_and_not_kept_and_a_damaged_one_is_explained(
    page: Any, served: tuple[str, Path], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    page.set_input_files("#file input[type=file]", tmp_path / "photo.png")
    page.wait_for_selector("#picture0 .stack[data-width='480'][data-height='225']")
    assert [file for file in Path(served[1], "temporary").rglob("*") if file.is_file() and file.stat().st_size] == []

    (tmp_path / "damaged.png").write_bytes((tmp_path / "photo.png").read_bytes()[:4000])
    page.set_input_files("#file input[type=file]", tmp_path / "damaged.png")
    page.wait_for_selector("#said .refusal")
    assert page.inner_text("#said").startswith("damaged.png is damaged")
    assert page.locator("#picture0 .stack[data-width='480']").is_visible()

    page.click("#scenes button >> nth=2")
    page.wait_for_selector("#picture0 .stack[data-width='128']")
    assert page.locator("#said .refusal").count() == 0


def test_it_fits_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    choose(page, "second", "ranet")
    page.wait_for_selector("#picture1 .stack")
    click(page, 0.5, 0.5)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for part in ("#picture0 .stack", "#picture1 .stack", "#pixel0 .probabilities", "#pixel1 .panels"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0
        assert 250 < box["width"] <= 390
    assert page.locator("#picture1").bounding_box()["y"] > page.locator("#pixel0").bounding_box()["y"]


def test_what_is_forgotten_and_what_cannot_be_loaded_is_said() -> None:
    from gradio import EventData

    from hub.page.answers import Shelf
    from hub.page.blocks import COLUMNS, Events

    events = Events(Shelf(("nowhere/at/all",)))
    said, x, y, *pixels = events.point(EventData(None, {}), None)
    assert "is forgotten after half an hour" in said
    assert (x, y) == (-1, -1)
    assert pixels == [""] * COLUMNS
    _, said, *parts = events.begin("other", "nothing", 240)
    assert "there is no network &#x27;other&#x27;" in said
    assert len(parts) == 3 * COLUMNS
