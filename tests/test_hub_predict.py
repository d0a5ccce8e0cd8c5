"""The command that segments pictures."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hub_runs import demo_network
from PIL import Image

from core.datasets.sets.scenes import CLASSES as SCENES
from hub import predict

pytestmark = pytest.mark.slow


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
    monkeypatch.setattr("core.progress.SILENCE", 0.0)
    command(monkeypatch, weights, photo, tmp_path / "frames", "--to", to, "--verify", "--device", "cpu")
    names = ["photo.png", *(f"frames/day/{number}.png" for number in (1, 2, 10))]
    assert files(to) == sorted(
        ["classes.txt", *(f"{kind}/{name}" for kind in ("labels", "overlays") for name in names)]
    )
    assert (to / "classes.txt").read_text().splitlines() == list(SCENES.names)
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{to} holds overlays and labels of 4 images, and classes.txt",
        f"left out, no image by its name: {tmp_path / 'frames' / 'notes.txt'}",
    ]
    assert said.err == "".join(f"predicting: {number} of 4 images\n" for number in range(1, 5))  # no bar in a log

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
    with pytest.raises(ValueError, match=r"there is no image file .*absent\.png"):
        predict.find((tmp_path / "absent.png",), to)
    with pytest.raises(ValueError, match="empty has no images; give files, or folders that hold"):
        predict.find((tmp_path / "empty",), to)
    with pytest.raises(ValueError, match=r"photo\.png and .*photo\.jpg would both become photo\.png"):
        predict.find((photo, other), to)
    with pytest.raises(ValueError, match="lies in .*, whose images are the input"):
        predict.find((tmp_path / "a",), tmp_path / "a" / "out")
    assert not to.exists()


def test_a_file_that_is_given_twice_counts_once_and_a_pipe_is_no_image(tmp_path: Path) -> None:
    photo = picture(tmp_path / "a" / "photo.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert predict.find((photo, photo), tmp_path / "out") == {photo: Path("photo.png")}
    assert predict.find((tmp_path / "a",), tmp_path / "out") == {photo: Path("a/photo.png")}


def test_a_picture_that_could_not_be_written_leaves_none(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(self: Image.Image, file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    photo = picture(tmp_path / "photo.png")
    monkeypatch.setattr(Image.Image, "save", fill)
    with pytest.raises(SystemExit):
        command(monkeypatch, weights, photo, "--to", tmp_path / "out")
    assert files(tmp_path / "out") == ["classes.txt"]


def test_bad_input_leaves_with_a_sentence(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = picture(tmp_path / "photo.png")
    for words, sentence in (
        ((weights, tmp_path / "absent.png"), f"there is no image file {tmp_path / 'absent.png'}; give files"),
        ((weights, photo, "--opacity", "2"), "--opacity must be from 0"),
        ((weights,), "give image files, or folders that hold files"),
        ((weights, photo, "--precision", "fp16", "--device", "cpu"), "fp16 needs a GPU"),
        ((tmp_path / "nothing" / "here", photo), "here; no checkpoint lies beside it"),
        (("x" * 300, photo), "there is no folder xxx"),
    ):
        with pytest.raises(SystemExit):
            command(monkeypatch, *words, "--to", tmp_path / "out")
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_what_can_not_be_read_is_left_out_and_named_at_the_end(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "z"):
        picture(tmp_path / "in" / f"{name}.png")
    cut = picture(tmp_path / "in" / "cut.png")
    cut.write_bytes(cut.read_bytes()[:-300])
    Image.new("1", (60, 60)).save(tmp_path / "in" / "scan.png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "in" / "float.tif")
    (tmp_path / "in" / "._a.png").write_bytes(b"of macOS")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    with pytest.raises(SystemExit) as left:
        command(monkeypatch, weights, tmp_path / "in", "--to", tmp_path / "out", "--protocol", "whole")
    assert left.value.code == 1
    said = capsys.readouterr().out
    assert files(tmp_path / "out" / "labels") == ["in/a.png", "in/z.png"]
    assert f"{tmp_path / 'out'} holds overlays and labels of 2 images" in said
    assert "scan.png has too many pixels" in said
    assert "left out: " + str(cut) + " is damaged" in said
    assert "float.tif has values of 32 bits" in said
    assert "left out, no image by its name: " + str(tmp_path / "in" / "._a.png") in said


def test_a_picture_whose_scores_do_not_fit_says_so_before_they_are_made(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "photo.png", 57, 30)
    monkeypatch.setattr(predict, "free_memory", lambda device: 4 * 10 * 57 * 30 - 1)
    with pytest.raises(SystemExit):
        command(monkeypatch, weights, tmp_path / "photo.png", "--to", tmp_path / "out", "--protocol", "whole")
    assert "photo.png has 57 x 30 pixels; the scores of its 10 classes take" in capsys.readouterr().out
