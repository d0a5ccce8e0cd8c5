"""What is written for the official servers: scored by Cityscapes' own code, refused where it is wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from tiny import Tiny, recipe

from core import datasets
from core.command import EvaluationOptions
from core.datasets import servers as submission
from core.datasets.__main__ import main
from core.datasets.sets import cityscapes, voc2012
from core.datasets.transforms import TestSamples
from core.networks.network import About
from core.recipe import Data, Protocol
from core.testing.evaluation import count
from core.testing.metrics import Score
from core.testing.report import evaluate_checkpoint

SIZE = (24, 40)
NAMES = {
    "cityscapes": ("bonn/bonn_000000_000019", "aachen/aachen_000001_000019", "aachen/aachen_000002_000019"),
    "voc2012": ("2008_000006", "2008_000011"),
    "ade20k": ("ADE_test_00000001", "ADE_test_00000002"),
}
CLASSES = {"cityscapes": 19, "voc2012": 21, "ade20k": 150}


def pixels(index: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 34, (*SIZE, *channels)).astype(np.uint8)


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_tree(root: Path, name: str) -> None:
    """The images of a test split, and Cityscapes' val split with its labels."""
    for index, stem in enumerate(NAMES[name]):
        image = 7 * pixels(index, 3)
        if name == "cityscapes":
            for split in ("val", "test"):
                write(root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png", image)
                ids = pixels(index) if split == "val" else np.zeros(SIZE, np.uint8)
                write(root / "gtFine" / split / f"{stem}_gtFine_labelIds.png", ids)
        elif name == "voc2012":
            write(root / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{stem}.jpg", image)
        else:
            write(root / "release_test" / "testing" / f"{stem}.jpg", image)
    if name == "voc2012":
        listing = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "test.txt"
        listing.parent.mkdir(parents=True)
        listing.write_text("\n".join(NAMES[name]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test splits that are complete with the few images of these trees."""
    for name, stems in NAMES.items():
        few = {"test": (len(stems),)}
        changed = [
            replace(each, counts={**each.counts, **few}) if each.name == name else each for each in datasets.DATASETS
        ]
        monkeypatch.setattr(datasets, "DATASETS", tuple(changed))


def options(
    root: Path, name: str, split: str, submit: Path | None, to: Path | None = None
) -> EvaluationOptions[object]:
    """A test of a saved network that names most classes somewhere, on a tree that is written here."""
    if not (root / "data").is_dir():
        write_tree(root / "data", name)
    torch.manual_seed(1)
    network = Tiny(CLASSES[name])
    network.classify.weight.data *= 20
    network.about = About(datasets.read(name, root / "data", "test").classes, Protocol())
    network.save_pretrained(root / "weights")
    tested = replace(recipe(), data=Data(name, CLASSES[name], test=split), protocol=Protocol())
    return EvaluationOptions(tested, str(root / "weights"), root / "data", to, submit, workers=0)


@pytest.mark.slow
def test_cityscapes_own_evaluation_finds_our_iou_in_the_export(tmp_path: Path) -> None:
    score = evaluate_checkpoint(Tiny, options(tmp_path, "cityscapes", "val", tmp_path / "out"))
    assert score is not None
    assert sum(bool(value) for value in score.iou) > 5
    script = (
        "from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official\n"
        "official.args.evalInstLevelScore = False\n"  # needs instances, and a function that numpy no longer has
        "official.main()"
    )
    folders = {"CITYSCAPES_DATASET": "data", "CITYSCAPES_RESULTS": "out", "CITYSCAPES_EXPORT_DIR": ""}
    environment = {**os.environ, **{name: str(tmp_path / folder) for name, folder in folders.items()}}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True)
    official = json.loads((tmp_path / "resultPixelLevelSemanticLabeling.json").read_text())["classScores"]
    for name, value in zip(cityscapes.CLASSES.names, score.iou, strict=True):
        assert official[name] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "file", "mode"),
    [
        ("cityscapes", "aachen_000001_000019_labelIds.png", "L"),
        ("voc2012", "results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png", "P"),
        ("ade20k", "ADE_test_00000001.png", "L"),
    ],
)
@pytest.mark.usefixtures("small")
def test_a_test_split_is_exported_without_labels(
    name: str, file: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = options(tmp_path, name, "test", tmp_path / "out")
    assert evaluate_checkpoint(Tiny, given) is None
    assert f"ready: {tmp_path / 'out'} holds {len(NAMES[name])} predictions" in capsys.readouterr().out
    network = Tiny.from_pretrained(tmp_path / "weights").eval()
    pairs = datasets.read(name, tmp_path / "data", "test")
    with torch.no_grad():
        labels = network(TestSamples(pairs, network.normalisation)[0][0][None]).scores[0].argmax(0).numpy()
    with Image.open(tmp_path / "out" / file) as opened:
        assert (opened.format, opened.mode, opened.size) == ("PNG", mode, SIZE[::-1])
        written = np.asarray(opened)
        if mode == "P":
            assert opened.getpalette()[: 3 * 21] == [part for colour in voc2012.CLASSES.palette for part in colour]
    ids = {"cityscapes": [i for _, i, _ in cityscapes.PUBLISHED], "voc2012": range(21), "ade20k": range(1, 151)}
    assert np.array_equal(written, np.array(ids[name])[labels])
    main(["submission", name, str(tmp_path / "out"), "--data", str(tmp_path / "data")])
    assert "ready: " in capsys.readouterr().out


def test_what_can_give_no_submission_is_refused_at_the_door(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'test', are not public.*pass --submit|, test, are not public.*pass --submit"
    ):
        evaluate_checkpoint(Tiny, options(tmp_path, "cityscapes", "test", None))
    with pytest.raises(ValueError, match="without --to"):
        evaluate_checkpoint(Tiny, options(tmp_path, "cityscapes", "test", tmp_path / "out", tmp_path / "score.json"))
    with pytest.raises(ValueError, match="wants 1525 predictions, but there are 3 images"):
        evaluate_checkpoint(Tiny, options(tmp_path, "cityscapes", "test", tmp_path / "out"))
    with pytest.raises(
        ValueError, match="no server takes predictions of 'scenes'; there is one for ade20k, cityscapes, voc2012"
    ):
        submission.expected("scenes", "val", datasets.read("scenes", None, "val"), tmp_path / "out")
    with pytest.raises(ValueError, match="is not an empty folder"):
        evaluate_checkpoint(Tiny, options(tmp_path, "cityscapes", "val", tmp_path))
    assert not (tmp_path / "out").exists()


def grey(path: Path, value: int, size: tuple[int, int] = SIZE) -> None:
    Image.fromarray(np.full(size, value, np.uint8)).save(path)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing file": (Path.unlink, r"bonn_000000_000019_labelIds\.png is missing"),
    "another name": (lambda path: path.rename(path.with_name("bonn.png")), r"bonn\.png does not belong there"),
    "another file": (lambda path: path.with_name("notes.txt").write_text(""), r"notes\.txt does not belong there"),
    "train ids": (lambda path: grey(path, 0), "holds the value 0, which is no class"),
    "an ignored value": (lambda path: grey(path, 255), "holds the value 255, which is no class"),
    "another size": (lambda path: grey(path, 7, (12, 20)), "is 20 x 12 pixels, but its image is 40 x 24"),
    "colours": (lambda path: Image.new("RGB", SIZE[::-1]).save(path), "of mode RGB, not a PNG of mode L"),
    "another format": (lambda path: Image.new("L", SIZE[::-1]).save(path, "BMP"), "is a BMP of mode L"),
    "half a file": (lambda path: path.write_bytes(path.read_bytes()[:60]), "can't be read as an image"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_wrong_folder_is_refused(how: str, tmp_path: Path) -> None:
    write_tree(tmp_path / "data", "cityscapes")
    pairs = datasets.read("cityscapes", tmp_path / "data", "val")
    planned = submission.expected("cityscapes", "val", pairs, tmp_path / "out")
    for index in range(len(pairs)):
        planned.write(index, torch.from_numpy(pixels(index).astype(np.int64) % 19))
    planned.check(quiet=True)
    spoil, sentence = SPOILT[how]
    spoil(tmp_path / "out" / "bonn_000000_000019_labelIds.png")
    with pytest.raises(ValueError, match=sentence) as refused:
        planned.check(quiet=True)
    assert "would be refused by cityscapes-dataset.com" in str(refused.value)


@pytest.mark.usefixtures("small")
def test_other_colours_than_those_of_voc_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", "voc2012")
    planned = submission.expected(
        "voc2012", "test", datasets.read("voc2012", tmp_path / "data", "test"), tmp_path / "out"
    )
    for index in range(2):
        planned.write(index, torch.full(SIZE, 20))
    planned.check(quiet=True)
    with Image.open(tmp_path / "out" / planned.files[0]) as opened:
        opened.putpalette([part for value in range(256) for part in (value, value, value)])
        opened.save(tmp_path / "out" / planned.files[0])
    with pytest.raises(ValueError, match="has other colours than the server's palette"):
        planned.check(quiet=True)


def test_a_command_checks_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tree(tmp_path / "data", "cityscapes")
    with pytest.raises(SystemExit, match="2"):
        main(["submission", "cityscapes", str(tmp_path / "out"), "--split", "val", "--data", str(tmp_path / "data")])
    assert "there is no folder" in capsys.readouterr().err


def test_each_process_writes_its_part(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", "cityscapes")
    pairs = datasets.read("cityscapes", tmp_path / "data", "val")
    planned = submission.expected("cityscapes", "val", pairs, tmp_path / "out")
    network = Tiny(19).eval()
    accelerator = Accelerator(cpu=True)
    samples, written = TestSamples(pairs, network.normalisation), []

    class Process(Accelerator):
        """One of two processes that have nothing to do with each other."""

        num_processes = 2
        process_index = 0

        def __init__(self, index: int) -> None:
            self.__dict__.update(accelerator.__dict__)
            Process.process_index = index

        def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
            return tensor

    counts = []
    for index in range(2):
        counts.append(count(network, samples, Protocol(), 19, Process(index), keep=planned.write))
        written.append({path.name for path in (tmp_path / "out").iterdir()})
    assert [len(names) for names in written] == [2, 3]
    planned.check(quiet=True)
    whole = count(network, samples, Protocol(), 19, accelerator)
    assert Score(pairs.classes, sum(counts)).iou == Score(pairs.classes, whole).iou
