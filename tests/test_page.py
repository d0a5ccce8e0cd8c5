"""What the page says: answers of networks, as HTML that holds its pictures; `test_page_browser.py` opens it."""

import base64
import importlib.util
import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image

from core.images.classes import Classes
from core.networks.network import About, Network
from core.paper import Paper
from core.recipe import Protocol
from hub.page import __main__ as command
from hub.page import answers, markup
from hub.page.answers import Answer, Shelf
from papers import every

pytestmark = pytest.mark.slow

EVIL = "<script>alert(1)</script>"


def built(paper: Paper) -> Network:
    """An untrained network with a class that is no harmless word."""
    torch.manual_seed(0)
    network = paper.network(3, tiny(paper.network(3).architecture))
    network.about = About(Classes.coloured(["road", EVIL, "sky"]), Protocol())
    return network.eval()


@pytest.fixture(params=list(every()), ids=lambda paper: paper.folder, scope="module")
def answer(request: pytest.FixtureRequest) -> Answer:
    """Of each paper's network to a scene."""
    shelf = Shelf(("network",))
    shelf.loaded["network"] = built(request.param)
    return answers.answer(shelf, "network", answers.offered()[0])


def images(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    return [Image.open(BytesIO(base64.b64decode(one))) for one in found]


def test_an_answer_is_the_prediction_and_what_a_pixel_attends_to(answer: Answer) -> None:
    html = markup.picture(answer)
    photo, labels = images(html)
    prediction = answer.prediction
    assert photo.size == labels.size == prediction.image.size
    painted = np.asarray(labels.convert("RGB"))
    assert {tuple(colour) for colour in painted.reshape(-1, 3).tolist()} <= set(prediction.classes.palette)
    first = int(prediction.labels[5, 7])
    assert tuple(painted[5, 7]) == prediction.classes.palette[first]
    assert html.count("<li>") == len(prediction.labels.unique())
    assert EVIL not in html + markup.pixel(answer, (7, 5))


def test_a_pixel_has_its_probabilities_and_panels(answer: Answer) -> None:
    html = markup.pixel(answer, (7, 5))
    at = answer.prediction.probabilities[:, 5, 7]
    assert [round(float(width), 1) for width in re.findall(r"width:([\d.]+)%", html)] == [
        round(100 * value, 1) for value in sorted(at.tolist(), reverse=True)
    ]
    attended = answer.attend((7, 5))
    assert len(images(html)) == len(attended.panels) == html.count("<figcaption>")
    assert max(images(html)[0].size) == markup.PANEL


def test_a_network_that_does_not_attend_says_so() -> None:
    def nothing(point: tuple[int, int]) -> None:
        raise ValueError("no <part> attends")

    picture = answers.offered()[0]
    prediction = built(next(every())).predict(picture)
    html = markup.pixel(Answer("", prediction, nothing), (0, 0))  # type: ignore[arg-type]
    assert "no &lt;part&gt; attends" in html
    assert html.count("<tr>") == 3


def test_networks_are_loaded_when_they_are_asked_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(answers, "from_pretrained", lambda name: asked.append(name) or built(next(every())))
    shelf = Shelf(("a", "b", "a"))
    assert shelf.names == ("a", "b")
    assert shelf.network("b") is shelf.network("b")
    assert asked == ["b"]
    with pytest.raises(ValueError, match="there is no network 'c', only a, b"):
        shelf.network("c")


def test_pictures_are_reduced_and_never_enlarged() -> None:
    assert answers.reduced(Image.new("RGB", (4000, 3000)), 480).size == (480, 360)
    small = Image.new("RGB", (40, 90))
    assert answers.reduced(small, 480) is small


def test_an_upload_is_read_by_the_rules_of_all_pictures(tmp_path: Path) -> None:
    turned = Image.new("RGB", (1600, 1200), (9, 9, 9))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "photo.jpg", exif=exif)
    assert answers.read(tmp_path / "photo.jpg").size == (577, 769)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"^photo.png can't be read as an image: it is empty"),
        (b"no picture at all", r"^photo.png can't be read as an image: its format is none of those"),
        (None, r"^photo.png has 9000 x 6000 pixels; at most 50 million are taken"),
    ],
)
def test_what_cannot_be_read_is_said_by_its_own_name(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    if content is None:
        Image.new("L", (9000, 6000)).save(file)
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        answers.read(file)


def test_scenes_are_buttons_by_their_place() -> None:
    html = markup.thumbnails(answers.offered())
    assert len(images(html)) == 1 + answers.SCENES
    assert [int(place) for place in re.findall(r'data-scene="(\d)"', html)] == list(range(1 + answers.SCENES))


@pytest.mark.parametrize(
    ("words", "missing", "said"),
    [
        ([], False, "there is no network to show"),
        (["nowhere/at/all"], False, "nowhere/at/all"),
        (["run"], True, 'the page needs gradio, which is not installed: pip install -e ".[page]"'),
    ],
)
def test_a_page_that_cannot_be_shown_is_refused_before_it_opens(
    words: list[str],
    missing: bool,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "shipped", tuple)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if missing else object())
    monkeypatch.setattr(sys, "argv", ["page", *words])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
