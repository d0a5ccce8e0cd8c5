"""The command that segments pictures."""

from pathlib import Path

import numpy as np
import pytest
from hub_runs import demo_network
from PIL import Image

from core.datasets.sets.scenes import CLASSES as SCENES
from hub import predict


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    demo_network(0).save_pretrained(folder)
    return folder


def picture(path: Path, width: int = 40, height: int = 24, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["predict", *map(str, words)])
    predict.main()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_and_folders_are_segmented(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(tmp_path / "photo.jpg", 57, 30)
    for number in (1, 2, 10):
        picture(tmp_path / "frames" / "day" / f"{number}.png", seed=number)
    (tmp_path / "frames" / "notes.txt").write_text("no image")
    to = tmp_path / "out"
    command(monkeypatch, weights, photo, tmp_path / "frames", "--to", to, "--verify", "--device", "cpu")
    names = ["photo.png", *(f"frames/day/{number}.png" for number in (1, 2, 10))]
    assert files(to) == sorted(
        ["classes.txt", *(f"{kind}/{name}" for kind in ("labels", "overlays") for name in names)]
    )
    assert (to / "classes.txt").read_text().splitlines() == list(SCENES.names)
    said = capsys.readouterr()
    assert said.out == f"{to} holds overlays and labels of 4 images, and classes.txt\n"
    assert "4/4" in said.err  # the progress

    expected = demo_network(0).predict(photo)
    with Image.open(to / "labels" / "photo.png") as labels:
        assert labels.mode == "P"
        assert np.array_equal(np.asarray(labels), expected.labels.numpy())
        colour = labels.convert("RGB").getpixel((0, 0))
    assert colour == SCENES.palette[int(expected.labels[0, 0])]
    with Image.open(to / "overlays" / "photo.png") as overlay:
        assert np.array_equal(np.asarray(overlay), np.asarray(expected.overlay()))


def test_the_protocol_and_the_opacity_can_be_chosen(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = picture(tmp_path / "photo.png", 57, 30)
    command(monkeypatch, weights, photo, "--to", tmp_path / "out", "--protocol", "whole", "--opacity", "1")
    expected = demo_network(0).predict(photo, predict.Protocol())
    with Image.open(tmp_path / "out" / "overlays" / "photo.png") as overlay:
        assert np.array_equal(np.asarray(overlay), np.asarray(expected.overlay(1.0)))


def test_frames_come_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        picture(tmp_path / "frames" / f"frame_{number}.png")
    found = predict.find((tmp_path / "frames",), tmp_path / "out")
    assert [path.name for path in found] == ["frame_1.png", "frame_2.png", "frame_10.png"]


def test_what_can_not_be_segmented_is_said_before_anything_is_written(tmp_path: Path) -> None:
    photo, other = picture(tmp_path / "a" / "photo.png"), picture(tmp_path / "b" / "photo.jpg")
    to = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(ValueError, match=r"there is no image .*absent\.png"):
        predict.find((tmp_path / "absent.png",), to)
    with pytest.raises(ValueError, match="there is no image .*empty; give files, or folders that hold"):
        predict.find((tmp_path / "empty",), to)
    with pytest.raises(ValueError, match=r"photo\.png and .*photo\.jpg would both become photo\.png"):
        predict.find((photo, other), to)
    with pytest.raises(ValueError, match="lies in .*, whose images are the input"):
        predict.find((tmp_path / "a",), tmp_path / "a" / "out")
    with pytest.raises(OSError, match=r"broken\.png"):
        predict.find((photo, tmp_path / "broken.png"), to)
    assert not to.exists()


def test_bad_input_leaves_with_a_sentence(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(tmp_path / "photo.png")
    for words, sentence in (
        ((weights, tmp_path / "absent.png"), "there is no image"),
        ((weights, photo, "--opacity", "2"), "--opacity must be from 0"),
        ((tmp_path / "nothing" / "here", photo), "is neither a folder nor the name of a repository"),
    ):
        with pytest.raises(SystemExit):
            command(monkeypatch, *words, "--to", tmp_path / "out")
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
