"""The commands that draw what a network attends to: what they write, and what those of several papers refuse."""

import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from commands import refused
from networks import PAPERS, tiny
from PIL import Image

import hub
from core.datasets.sets import scenes
from core.figures import as_seen

Drawn = tuple[list[str], list[str], tuple[int, int]]

OWN: dict[str, Drawn] = {  # words, the files that they write, and what these exceed in width and height
    "danet": (["photo.png", "--point", "5,6", "--point", "150,90", "--channel", "2"], ["figure.png"], (400, 400)),
    "dfdam": (
        ["photo.png", "photo.png", "--channel", "2", "--channel", "16"],
        ["figure/figure7.png", "figure/figure8.png"],
        (200, 200),
    ),
    "pdanet": (["photo.png", "--point", "5,6", "--point", "150,90"], ["figure.png"], (200, 200)),
    "ranet": (["photo.png"], ["figure.png"], (200, 200)),
    "sanet": (["photo.png", "--point", "5,6"], ["figure.png"], (1000, 300)),
}
WITH_POINTS = ("danet", "pdanet", "sanet")

ALL = [
    (["nowhere.png"], "there is no image file nowhere.png"),
    (["--weights", "runs/{demo}"], "there is no folder runs/{demo}; no checkpoint lies beside it"),
]
POINTS = [
    (["--point", "500,2"], "--point must be x,y with x below 160 and y below 96, got '500,2'"),
    (["--point", "here"], "got 'here'"),
]
FILES = ("photo.png", "figure.jpg")  # one that is there, one that would be
REFUSED = [(paper, *case) for paper in OWN for case in (ALL + POINTS if paper in WITH_POINTS else ALL)] + [
    ("danet", ["--channel", "25"], "--channel must be 1 to 24, got 25"),
    ("dfdam", ["--channel", "65"], "--channel must be 1 to 64, got 65"),
    *(("dfdam", ["--to", file], f"--to must be a folder, for two files, got the file {file}") for file in FILES),
    *(
        (paper, ["--to", "figure"], "--to must end in .png, .jpg, .pdf, got 'figure'")
        for paper in OWN
        if paper != "dfdam"
    ),
    ("dfdam", ["--to", "photo.png/figures"], "photo.png is a file, not a folder"),
    *((paper, ["--to", "photo.png/figure.png"], "photo.png is a file") for paper in OWN if paper != "dfdam"),
    ("ranet", ["--side", "0"], "at least 1 pixel, got 0"),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of the default network of each paper."""
    folder = tmp_path_factory.mktemp("weights")
    for name, paper in PAPERS.items():
        torch.manual_seed(0)
        architecture = tiny(paper.recipes[paper.demo].architecture)
        paper.network(10, architecture).save_pretrained(folder / name)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a photo of 160 x 96 pixels."""
    monkeypatch.chdir(tmp_path)
    pixels, _ = scenes.draw(2, 0, height=96, width=160)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


@pytest.mark.parametrize("paper", ["danet", "pdanet"])
def test_one_pixel_is_drawn_and_a_strip_is_not(
    paper: str, weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("pixel.png", (1, 1)), ("strip.png", (1, 500))):
        Image.new("RGB", size).save(name)
    main = import_module(f"papers.{paper}.figures").main
    given = ["--weights", str(weights / paper), "--to", "figure.png"]
    assert "no page shows it; cut it" in refused(main, ["strip.png", *given], monkeypatch, capsys)
    monkeypatch.setattr(sys, "argv", ["figures.py", "pixel.png", *given])
    main()
    assert Path("figure.png").is_file()


def test_every_paper_has_figures() -> None:
    assert set(OWN) == set(PAPERS)


@pytest.mark.parametrize("paper", OWN)
def test_the_command_writes_pictures_and_says_where(
    paper: str, weights: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, files, (width, height) = OWN[paper]
    to = "figure" if paper == "dfdam" else "figure.png"
    words = [*own, "--weights", str(weights / paper), "--to", to]
    monkeypatch.setattr(sys, "argv", ["figures.py", *words])
    import_module(f"papers.{paper}.figures").main()
    said = capsys.readouterr().out
    for file in files:
        assert f"wrote {file}\n" in said
        with Image.open(file) as drawn:
            assert drawn.width > width
            assert drawn.height > height
            assert paper != "pdanet" or drawn.width > drawn.height
            assert len(drawn.convert("RGB").getcolors(2**24) or []) > 100


@pytest.mark.parametrize(("paper", "words", "said"), REFUSED)
def test_what_cannot_be_drawn_is_said(  # type: ignore[no-untyped-def]
    paper, words, said, weights, here, monkeypatch, capsys
) -> None:
    words = [word.format(demo=PAPERS[paper].demo) for word in words]
    photo = [] if words[0].endswith(".png") else ["photo.png"]
    given = [] if "--weights" in words else ["--weights", str(weights / paper)]
    complained = refused(import_module(f"papers.{paper}.figures").main, [*photo, *words, *given], monkeypatch, capsys)
    assert said.format(demo=PAPERS[paper].demo) in complained
    assert [path.name for path in here.iterdir()] == ["photo.png"]


def test_what_attends_is_the_picture_that_the_network_sees() -> None:
    """Reduced to the limit of its protocol, as its prediction is, with the points where they were."""
    network = hub.from_pretrained("danet-tiny-camvid")
    large = Image.new("RGB", (960, 720))
    seen, points = as_seen(network, large, [(0, 0), (959, 719), (480, 100)])
    assert seen.size == (480, 360)
    assert points == [(0, 0), (479, 359), (240, 50)]
    small = Image.new("RGB", (480, 100))
    assert as_seen(network, small, [(3, 4)]) == (small, [(3, 4)])
    untold = PAPERS["danet"].network(10, tiny(PAPERS["danet"].recipes["danet-demo"].architecture))
    assert as_seen(untold, large, [(3, 4)]) == (large, [(3, 4)])


@pytest.mark.parametrize("paper", [paper for paper in OWN if paper != "ranet"])  # whose figure brings it to its size
def test_a_large_photo_is_drawn_as_it_is_seen(paper: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (960, 720), (90, 120, 60)).save("photo.png")
    seen: list[tuple[int, int]] = []
    module = import_module(f"papers.{paper}.figures")
    real = module.overview
    monkeypatch.setattr(module, "overview", lambda picture, *more: seen.append(picture.size) or real(picture, *more))
    to = "figure" if paper == "dfdam" else "figure.png"
    words = ["photo.png", *(["--point", "900,700"] if paper in WITH_POINTS else []), "--to", to]
    monkeypatch.setattr(sys, "argv", ["figures.py", *words, "--weights", f"{paper}-tiny-camvid"])
    module.main()
    assert set(seen) == {(480, 360)}
