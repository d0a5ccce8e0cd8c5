"""Labels that need decoding: the plans of the readers, on tiny trees in the layouts as downloaded, and `prepare`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.path
import numpy as np
import pytest
import scipy.io
from PIL import Image
from tiny import environment

from core.datasets import DATASETS, find, read
from core.datasets.prepare import MANIFEST, Decoding, Plan, prepare
from core.datasets.samples import labels_of, refuse_wrong_labels
from core.datasets.sets import ade20k, ade20k_full, coco_stuff10k, coco_voc, pascal_context, pascal_context_459, voc2012
from core.datasets.sets.matlab import read_field
from core.datasets.sets.regions import region
from core.images.classes import IGNORE

HEIGHT, WIDTH = 4, 6
VALUES = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 5


def plan(name: str, folder: Path) -> Plan:
    """What `prepare` does for a data set."""
    found = find(name).plan
    assert found is not None
    return found(folder)


REAL = pytest.mark.skipif(
    "SEGMENTATION_SHARED" not in os.environ, reason="set SEGMENTATION_SHARED to a folder with data/samples to run this"
)


@pytest.fixture
def samples() -> Path:
    return Path(os.environ["SEGMENTATION_SHARED"]) / "data" / "samples"


def write_image(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (10, 20, 30)).save(path)


def write_mat(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, content)


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def run_lengths(inside: np.ndarray) -> list[int]:
    """Down the columns: how many pixels outside, inside, outside, ..."""
    flat = inside.T.ravel().astype(int)
    borders = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], borders, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


# One small tree for each data set, and what its first training image must give


def write_sbd(root: Path) -> np.ndarray:
    year = root / "VOCdevkit" / "VOC2012"
    for split, names in {"train": ["a1", "a2"], "val": ["b1"], "trainval": ["a1", "a2", "b1"]}.items():
        write_text(year / "ImageSets" / "Segmentation" / f"{split}.txt", *names)
        for name in names:
            write_image(year / "JPEGImages" / f"{name}.jpg")
            (year / "SegmentationClass").mkdir(exist_ok=True)
            Image.fromarray(np.full_like(VALUES, IGNORE)).save(year / "SegmentationClass" / f"{name}.png")
    write_image(year / "JPEGImages" / "0c.jpg")
    for name in ("0c", "a1", "b1"):  # of train and val too, as in the data set
        segmentation = {"Segmentation": VALUES, "Boundaries": np.zeros((20, 1)), "CategoriesPresent": [1, 2]}
        write_mat(root / "benchmark_RELEASE" / "dataset" / "cls" / f"{name}.mat", {"GTcls": segmentation})
    return VALUES


def write_context_mat(root: Path) -> np.ndarray:
    year = root / "VOCdevkit" / "VOC2010"
    ids = np.array([[0, 1, 2], [9, 458, 459]], dtype=np.uint16)
    for split, names in {"train": ["2008_000002"], "val": ["2008_000003"]}.items():
        write_text(year / "ImageSets" / "Main" / f"{split}.txt", *names)
        for name in names:
            write_image(year / "JPEGImages" / f"{name}.jpg", 2, 3)
            write_mat(root / "trainval" / f"{name}.mat", {"LabelMap": ids})
    return np.array([[0, 0, 1], [2, 59, 0]])  # aeroplane, bag and wood are classes; the ids 1 and 459 are not


def write_context_json(root: Path) -> np.ndarray:
    year = root / "VOCdevkit" / "VOC2010"
    left = np.zeros((HEIGHT, WIDTH), dtype=bool)
    left[:, :4] = True
    images = []
    for number, phase in enumerate(("train", "val", "train", "test"), start=2):
        write_image(year / "JPEGImages" / f"2008_{number:06d}.jpg")
        file = {"file_name": f"2008_{number:06d}.jpg", "image_id": 2008000000 + number, "phase": phase}
        images.append({**file, "height": HEIGHT, "width": WIDTH})
    regions = [
        (identity, category, {"counts": run_lengths(inside), "size": [HEIGHT, WIDTH]})
        for identity in (2008000002, 2008000003)
        for category, inside in ((2, left), (9, ~left), (105, np.eye(HEIGHT, WIDTH, dtype=bool)))
    ]
    annotations = [dict(zip(("image_id", "category_id", "segmentation"), row, strict=True)) for row in regions]
    (year / "trainval_merged.json").write_text(json.dumps({"images": images, "annos_segmentation": annotations}))
    expected = np.where(left, 1, 2)
    expected[np.eye(HEIGHT, WIDTH, dtype=bool)] = 1 + pascal_context_459.IDS.index(105)
    return expected


def write_stuff(root: Path) -> np.ndarray:
    for split, name in (("train", "COCO_train2014_01"), ("test", "COCO_train2014_02")):
        write_text(root / "imageLists" / f"{split}.txt", name)
        write_image(root / "images" / f"{name}.jpg")
        write_mat(root / "annotations" / f"{name}.mat", {"S": 178 + VALUES, "names": ["a"], "captions": "b"})
    return 178 + VALUES


def write_full_ade20k(root: Path) -> np.ndarray:
    codes = np.array([[0, 2978, 774], [783, 954, 3050]])  # nothing, wall, door, double door, flag, a part
    pixels = np.stack([codes // 256 * 10, codes % 256, np.full_like(codes, 7)], axis=-1).astype(np.uint8)
    places = ("training/urban/ADE_train_00020210", "training/a/ADE_train_00020211", "validation/b/ADE_val_00000001")
    for place in places:
        image = root / "ADE20K_2021_17_01" / "images" / "ADE" / f"{place}.jpg"
        write_image(image, 2, 3)
        Image.fromarray(pixels).save(image.with_name(f"{image.stem}_seg.png"))
        write_image(image.with_suffix("") / f"instance_000_{image.stem}.png")
    return np.array([[0, 1, 15], [15, 150, 0]])


def write_coco_voc(root: Path) -> np.ndarray:
    names = [coco_voc.COCO_NAMES.get(name, name) for name in voc2012.NAMES[1:]]
    categories = [{"id": 3 * number, "name": name} for number, name in enumerate([*names, "zebra"])]
    corner = [0, 0, 40, 0, 40, 40, 0, 40]  # 1600 pixels
    row = np.zeros((50, 60), dtype=bool)
    row[:, 30:] = True
    regions = [
        (1, "cat", [corner]),
        (1, "tv", {"counts": run_lengths(row), "size": [50, 60]}),  # a crowd, behind the cat that is listed first
        (1, "zebra", [corner]),
        (2, "cat", [[0, 0, 40, 0, 40, 25, 0, 25]]),  # 1000 pixels are not enough
        (3, "zebra", [corner]),
    ]
    ids = {category["name"]: category["id"] for category in categories}
    for split in ("train", "val"):
        images = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 50, "width": 60} for i in (1, 2, 3)]
        for image in images:
            write_image(root / f"{split}2017" / str(image["file_name"]), 50, 60)
        annotations = [{"image_id": i, "category_id": ids[name], "segmentation": what} for i, name, what in regions]
        content = {"categories": categories, "images": images, "annotations": annotations}
        write_text(root / "annotations" / f"instances_{split}2017.json", json.dumps(content))
    expected = np.where(row, voc2012.NAMES.index("tvmonitor"), 0)
    expected[:40, :40] = voc2012.NAMES.index("cat")
    return expected


def write_wide(root: Path) -> np.ndarray:
    write_text(root / "classes.txt", *"abcde")
    for split in ("train", "val"):
        write_image(root / split / "images" / "1.jpg")
        (root / split / "labels").mkdir()
        Image.fromarray(VALUES.astype(np.uint16)).save(root / split / "labels" / "1.png")
    return VALUES


@dataclass(frozen=True)
class Tree:
    """A data set that needs preparing, and what its reader says before; `splits` counts the images after."""

    name: str
    write: Callable[[Path], np.ndarray]
    splits: dict[str, int]
    before: str


TREES = {
    "sbd": Tree("voc2012", write_sbd, {"trainaug": 3, "train": 2, "val": 1, "trainval": 3}, "SBD as .mat files"),
    "context-mat": Tree("pascal_context", write_context_mat, {"train": 1, "val": 1}, "trainval has all 459 classes"),
    "context-json": Tree("pascal_context", write_context_json, {"train": 1, "val": 1}, "json has all 459 classes"),
    "stuff": Tree("coco_stuff10k", write_stuff, {"train": 1, "test": 1}, "_01.mat the first"),
    "ade20k": Tree("ade20k", write_full_ade20k, {"train": 1, "val": 1}, "is the full release"),
    "coco": Tree("coco_voc", write_coco_voc, {"train": 1, "val": 1}, "are polygons"),
    "wide": Tree("folder", write_wide, {"train": 1, "val": 1}, ""),
}
EACH = pytest.mark.parametrize("tree", TREES.values(), ids=TREES)


@EACH
@pytest.mark.parametrize("elsewhere", [False, True], ids=["inside", "elsewhere"])
def test_prepared_labels_are_what_the_data_set_means(tree: Tree, elsewhere: bool, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    expected = tree.write(data)
    first = next(iter(tree.splits))
    if tree.before:
        command = f"python -m core.datasets prepare {tree.name} {data}"
        with pytest.raises(ValueError, match=rf"{tree.before}.*{re.escape(command)}"):
            read(tree.name, data, first)
    assert prepare(plan(tree.name, data), tmp_path / "to" if elsewhere else None, processes=0, quiet=True) == []
    place = tmp_path / "to" if elsewhere else data
    if tree.name == "folder" and not elsewhere:
        place = data / "prepared-folder"  # one's own labels may change: what is read is what was asked for
    for split, count in tree.splits.items():
        pairs = read(tree.name, place, split)
        assert len(pairs) == count
        refuse_wrong_labels(pairs, quiet=True)
    labels = labels_of(read(tree.name, place, first).rows[0])
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected)


def test_data_and_prepared_labels_can_move_together(tmp_path: Path) -> None:
    write_stuff(tmp_path / "here")
    prepare(plan("coco_stuff10k", tmp_path / "here"), tmp_path / "to", processes=0, quiet=True)
    (tmp_path / "moved").mkdir()
    for name in ("here", "to"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    refuse_wrong_labels(read("coco_stuff10k", tmp_path / "moved" / "to", "train"), quiet=True)


def test_trainaug_prefers_the_labels_of_voc(tmp_path: Path) -> None:
    write_sbd(tmp_path)
    prepare(plan("voc2012", tmp_path), processes=0, quiet=True)
    for level in ("", "VOCdevkit", "VOCdevkit/VOC2012"):
        pairs = read("voc2012", tmp_path / level, "trainaug")
        values = [np.unique(labels_of(row)).tolist() for row in pairs.rows]
        assert values == [[0, 1, 2, 3, 4], [IGNORE], [IGNORE]]  # SBD, and twice VOC's own
    assert len(list((tmp_path / "VOCdevkit" / "VOC2012" / "prepared-voc2012" / "labels").iterdir())) == 1


def test_pascal_context_without_the_background(tmp_path: Path) -> None:
    write_context_mat(tmp_path)
    prepare(plan("pascal_context_59", tmp_path), processes=0, quiet=True)
    pairs = read("pascal_context_59", tmp_path, "train")
    labels = pairs.lookup()[labels_of(pairs.rows[0])]
    assert labels.tolist() == [[255, 255, 0], [1, 58, 255]]
    assert [pairs.classes.names[label] for label in (0, 1, 58)] == ["aeroplane", "bag", "wood"]


def test_pascal_context_compares_the_names_of_its_ids(tmp_path: Path) -> None:
    write_context_mat(tmp_path)
    names = dict(zip(pascal_context_459.IDS, pascal_context.CLASSES_59.names, strict=True))
    lines = [f"{identity}: {names.get(identity, 'other')}" for identity in range(1, 460)]
    write_text(tmp_path / "trainval" / "labels.txt", *lines)
    assert len(plan("pascal_context", tmp_path).splits["train"]) == 1
    write_text(tmp_path / "trainval" / "labels.txt", *lines[1:], "459: wool")
    write_text(tmp_path / "trainval" / "labels.txt", *(line.replace("2: aeroplane", "2: accordion") for line in lines))
    with pytest.raises(ValueError, match=r"labels.txt gives the id 2 the name 'accordion', but it is 'aeroplane'"):
        plan("pascal_context", tmp_path)


def test_the_ids_of_pascal_context_follow_the_alphabet() -> None:
    assert len(pascal_context_459.IDS) == len(pascal_context.CLASSES_59)
    assert list(pascal_context_459.IDS) == sorted(set(pascal_context_459.IDS))
    table = pascal_context_459.TABLE
    assert (table > 0).sum() == 59
    for identity, name in {2: "aeroplane", 25: "bird", 284: "person", 360: "sky", 397: "table", 458: "wood"}.items():
        assert pascal_context.CLASSES.names[table[identity]] == name


@pytest.mark.parametrize(
    "name", [dataset.name for dataset in DATASETS if dataset.plan is not None and dataset.name != "folder"]
)
def test_an_empty_folder_says_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is missing or empty|there (is|are) no.*download"):
        plan(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "write"), [("pascal_context", write_context_json), ("coco_voc", write_coco_voc)], ids=["context", "coco"]
)
def test_damaged_json_is_named(name: str, write: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
    write(tmp_path)
    file = next(tmp_path.rglob("*train*.json"))
    for content in (file.read_text()[:-20], "[]", '{"images": []}'):
        file.write_text(content)
        with pytest.raises(ValueError, match=rf"{file.name} is damaged or not"):
            plan(name, tmp_path)


# Regions


def polygon(corners: list[float], height: int, width: int) -> np.ndarray:
    return region([corners], height, width)


def test_a_polygon_has_the_pixels_that_it_covers() -> None:
    square = polygon([1, 1, 4, 1, 4, 3, 1, 3], 4, 6)
    assert square[1:3, 1:4].all()
    assert square.sum() == 6
    assert polygon([0.6, 0.6, 1.4, 0.6, 1.4, 1.4, 0.6, 1.4], 4, 6).sum() == 0  # between the centres
    assert polygon([-9, -9, 99, -9, 99, 99, -9, 99], 4, 6).all()
    star = [0.0, 0.0, 6.0, 0.0, 6.0, 6.0, 0.0, 6.0, 0.0, 0.0, 2.0, 2.0, 4.0, 2.0, 4.0, 4.0, 2.0, 4.0, 2.0, 2.0]
    assert polygon(star, 6, 6).sum() == 36 - 4  # even-odd: the inner square is a hole
    corners = np.array([[0.3, 2.1], [9.7, 0.4], [7.2, 8.8], [3.9, 5.1]])
    inside = matplotlib.path.Path(corners).contains_points([(x + 0.5, y + 0.5) for y in range(10) for x in range(12)])
    found = polygon(corners.ravel().tolist(), 10, 12)
    assert (found != inside.reshape(10, 12)).sum() == 1  # at the outline, which pycocotools rounds


def test_several_polygons_are_one_region() -> None:
    found = region([[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]], 4, 4)
    assert found.sum() == 4 + 4 - 1


def test_run_lengths_as_numbers_and_as_text() -> None:
    inside = np.zeros((4, 6), dtype=bool)
    inside[1:3, 2:5] = True
    assert run_lengths(inside) == [9, 2, 2, 2, 2, 2, 5]
    for counts in ([9, 2, 2, 2, 2, 2, 5], "9220003", b"9220003"):
        assert np.array_equal(region({"counts": counts, "size": [4, 6]}, 4, 6), inside)
    flat = region({"counts": "l1`0m0Emj0", "size": [100, 10]}, 100, 10).T.ravel()  # down the columns
    assert np.flatnonzero(np.diff(flat)).tolist() == [59, 75, 104, 109]


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[0, 0, 1, 1]], "three or more corners"),
        ([[0, 0, 1, 1, 2, 2, 3]], "three or more corners"),
        ({"counts": [1, 2], "size": [2, 2]}, "run lengths of 3 pixels for an image of 2 x 2"),
        ({"counts": "34", "size": [2, 2]}, "Invalid RLE"),
        ({"counts": "3", "size": [2, 2]}, "run lengths b'3' are damaged"),
        ({"counts": [4], "size": [1, 4]}, r"size \[1, 4\], its image \[2, 2\]"),
        ("9220003", "got str"),
    ],
)
def test_wrong_regions_are_refused(segmentation: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        region(segmentation, 2, 2)


# prepare


def many(root: Path, count: int, decode: Callable[[Any], np.ndarray | None] | None = None) -> Plan:
    """A plan with some label files."""
    for number in range(count):
        write_image(root / "images" / f"{number}.jpg")
        write_mat(root / f"{number}.mat", {"S": VALUES})
    pairs = [
        (root / "images" / f"{number}.jpg", Decoding(str(number), file, decode or coco_stuff10k.decode, file))
        for number in range(count)
        for file in (root / f"{number}.mat",)
    ]
    return Plan("coco_stuff10k", root, {"train": pairs, "test": pairs[:1]})


def states(place: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (place / "labels").iterdir()}


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    plan = many(tmp_path, 4)
    prepare(plan, processes=0, quiet=True)
    place = tmp_path / "prepared-coco_stuff10k"
    before = states(place)
    (place / "labels" / "2.png").unlink()
    assert prepare(plan, processes=0, quiet=True) == []
    after = states(place)
    assert after.keys() == before.keys() == {"0.png", "1.png", "2.png", "3.png"}
    assert {name for name in after if after[name] != before[name]} == {"2.png"}
    now = time.time() + 5
    os.utime(tmp_path / "1.mat", (now, now))  # a file that was fetched again
    prepare(plan, processes=0, quiet=True)
    assert {name for name, state in states(place).items() if state != after[name]} == {"1.png"}
    older = states(place)
    write_mat(tmp_path / "3.mat", {"S": VALUES[::-1].copy()})
    os.utime(tmp_path / "3.mat", (1e9, 1e9))  # another version of a file, with a date before that of its labels
    prepare(plan, processes=0, quiet=True)
    assert {name for name, state in states(place).items() if state != older[name]} == {"3.png"}
    assert np.array_equal(np.asarray(Image.open(place / "labels" / "3.png")), VALUES[::-1])


def test_another_version_makes_everything_again(tmp_path: Path) -> None:
    plan = many(tmp_path, 2)
    prepare(plan, processes=0, quiet=True)
    place = tmp_path / "prepared-coco_stuff10k"
    before = states(place)
    (place / MANIFEST).write_text((place / MANIFEST).read_text().replace('"version": 2', '"version": 1'))
    with pytest.raises(ValueError, match=r"by version 1 of this code, not 2; run .*prepare coco_stuff10k"):
        read("coco_stuff10k", tmp_path, "train")
    prepare(plan, processes=0, quiet=True)
    assert all(state != before[name] for name, state in states(place).items())


def test_files_that_can_not_be_used_are_named_and_the_others_made(tmp_path: Path) -> None:
    plan = many(tmp_path, 6)
    (tmp_path / "1.mat").write_bytes(b"not a .mat file")
    write_mat(tmp_path / "2.mat", {"other": VALUES})
    write_mat(tmp_path / "3.mat", {"S": VALUES[:2]})
    write_mat(tmp_path / "4.mat", {"S": VALUES + 500.0})
    (tmp_path / "5.mat").unlink()
    problems = prepare(plan, processes=0, quiet=True)
    words = ("can't be read as a .mat file", "no image of whole numbers in S", "6 x 2 pixels but", "503|504", "no file")
    assert len(problems) == 5
    for number, (problem, word) in enumerate(zip(problems, words, strict=True), start=1):
        assert problem.startswith(str(tmp_path / f"{number}.mat"))
        assert re.search(word, problem)
    assert set(states(tmp_path / "prepared-coco_stuff10k")) == {"0.png"}
    with pytest.raises(ValueError, match="was interrupted or met files that it could not use"):
        read("coco_stuff10k", tmp_path, "train")
    for number in range(1, 6):
        write_mat(tmp_path / f"{number}.mat", {"S": VALUES})
    assert prepare(plan, processes=0, quiet=True) == []
    assert len(read("coco_stuff10k", tmp_path, "train")) == 6


def test_a_folder_of_another_data_set_is_refused(tmp_path: Path) -> None:
    prepare(many(tmp_path, 1), tmp_path / "to", processes=0, quiet=True)
    with pytest.raises(ValueError, match="prepared from 'coco_stuff10k'; pass another folder with --to"):
        prepare(replace(many(tmp_path, 1), name="ade20k"), tmp_path / "to", processes=0, quiet=True)
    with pytest.raises(ValueError, match="was prepared from 'coco_stuff10k', not 'voc2012'"):
        read("voc2012", tmp_path / "to", "train")
    prepare(replace(many(tmp_path, 1), name="ade20k"), tmp_path / "other", processes=0, quiet=True)
    with pytest.raises(ValueError, match=r"has the splits train, test, got 'val'"):
        read("ade20k", tmp_path / "other", "val")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "prepared-coco_stuff10k" / MANIFEST, "{")
    with pytest.raises(ValueError, match=rf"{MANIFEST} is damaged"):
        read("coco_stuff10k", tmp_path, "train")


@pytest.mark.slow
def test_two_processes_make_the_same(tmp_path: Path) -> None:
    plan = many(tmp_path, 20)  # two parts
    prepare(plan, tmp_path / "alone", processes=0, quiet=True)
    assert prepare(plan, tmp_path / "together", processes=2, quiet=True) == []
    files = sorted(path.name for path in (tmp_path / "alone").rglob("*.*"))
    assert len(files) == 21
    assert files == sorted(path.name for path in (tmp_path / "together").rglob("*.*"))
    for name in (*(f"labels/{number}.png" for number in range(20)), MANIFEST):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "together" / name).read_bytes()


@pytest.mark.slow
def test_a_killed_preparation_goes_on(tmp_path: Path) -> None:
    """Killed while it writes: no half file is left under its name, nothing that was done is done again."""
    write_text(tmp_path / "imageLists" / "train.txt", *(str(number) for number in range(100)))
    write_text(tmp_path / "imageLists" / "test.txt", "0")
    for number in range(100):
        write_image(tmp_path / "images" / f"{number}.jpg", 300, 400)
        write_mat(tmp_path / "annotations" / f"{number}.mat", {"S": np.full((300, 400), number + 1, np.uint8)})
    words = [sys.executable, "-m", "core.datasets", "prepare", "coco_stuff10k", str(tmp_path), "--processes", "0"]
    place = tmp_path / "prepared-coco_stuff10k"
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list(place.glob("labels/*.png")):
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {name: state for name, state in states(place).items() if not name.startswith(".")}
    assert 0 < len(before) < 100
    assert not json.loads((place / MANIFEST).read_text())["finished"]
    with pytest.raises(ValueError, match=r"was interrupted .*run `python -m core.datasets prepare coco_stuff10k"):
        read("coco_stuff10k", tmp_path, "train")
    assert prepare(plan("coco_stuff10k", tmp_path), processes=0, quiet=True) == []
    after = states(place)
    assert all(after[name] == state for name, state in before.items())
    assert sorted(after) == sorted(f"{number}.png" for number in range(100))
    for number in range(100):
        assert (np.asarray(Image.open(place / "labels" / f"{number}.png")) == number + 1).all()


# Real files


@REAL
def test_real_sbd(samples: Path, tmp_path: Path) -> None:
    """The .mat files were written from the PNG files beside them."""
    assert prepare(plan("voc2012", samples / "voc2012"), tmp_path, processes=0, quiet=True) == []
    pairs = read("voc2012", tmp_path, "trainaug")
    assert len(pairs) == 6
    refuse_wrong_labels(pairs, quiet=True)
    for path in (samples / "voc2012" / "SegmentationClassAug").glob("*.png"):
        made = np.asarray(Image.open(tmp_path / "labels" / path.name))
        assert np.array_equal(made, np.asarray(Image.open(path)))


@REAL
def test_real_coco_stuff(samples: Path, tmp_path: Path) -> None:
    """The .mat files were written from the pixel maps, which count from one less."""
    assert prepare(plan("coco_stuff10k", samples / "cocostuff"), tmp_path, processes=0, quiet=True) == []
    for split in ("train", "test"):
        pairs = read("coco_stuff10k", tmp_path, split)
        assert len(pairs) == 2
        refuse_wrong_labels(pairs, quiet=True)
    for path in (samples / "cocostuff").glob("stuffthingmaps/*/*.png"):
        made = np.asarray(Image.open(tmp_path / "labels" / path.name))
        assert np.array_equal(made, np.asarray(Image.open(path)) + np.uint8(1))


@REAL
def test_real_full_ade20k(samples: Path, tmp_path: Path) -> None:
    """The file beside the image names the class of every number in it; the reduced labels are made from the same."""
    folder = samples / "ade20k" / "ADE20K_2021_17_01"
    assert prepare(plan("ade20k", folder), tmp_path, processes=0, quiet=True) == []
    pairs = read("ade20k", tmp_path, "train")
    assert len(pairs) == 1
    refuse_wrong_labels(pairs, quiet=True)
    objects = json.loads(next(folder.rglob("*.json")).read_text(encoding="utf-8"))["annotation"]["object"]
    named = {thing["name_ndx"]: thing["name"] for thing in objects}
    mapped = 0
    for identity, name in named.items():
        label = ade20k.MAPPING[int(ade20k_full.TABLE[identity])]
        if label != IGNORE:
            assert {ade20k.CLASSES.names[label], "double door"} & set(name.split(", "))
            mapped += 1
    assert mapped >= 12
    made = Image.fromarray(labels_of(pairs.rows[0]))
    challenge = samples / "ade20k" / "ADEChallengeData2016" / "annotations" / "training"
    reduced = np.asarray(Image.open(challenge / "ADE_train_00016964.png"))
    ours = np.asarray(made.resize(reduced.shape[::-1], Image.Resampling.NEAREST))
    assert (ours == reduced).mean() > 0.99


@pytest.mark.parametrize("kind", ["grey", "JPEG", "damaged", "turned"])
def test_labels_written_as_colours_are_read_by_the_rules_of_all_labels(kind: str, tmp_path: Path) -> None:
    labels = write_full_ade20k(tmp_path)
    file = next(tmp_path.rglob("ADE_val_00000001_seg.png"))
    with Image.open(file) as opened:
        picture = opened.copy()
    if kind == "turned":  # stored turned, as the EXIF orientation says: seen upright
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
        assert np.array_equal(ade20k_full.decode(file), labels)
        return
    if kind == "damaged":
        file.write_bytes(file.read_bytes()[:45])
    else:
        (picture.convert("L") if kind == "grey" else picture).save(file, format="JPEG" if kind == "JPEG" else "PNG")
    words = {"grey": "has the colour mode L", "JPEG": "is a JPEG, whose compression changes", "damaged": "is damaged"}
    (problem,) = prepare(plan("ade20k", tmp_path), tmp_path / "to", processes=0, quiet=True)
    assert problem.startswith(f"{file} {words[kind]}")
    assert problem.count(str(file)) == 1


def test_every_class_of_the_challenge_is_one_of_the_full_ade20k_but_for_doors() -> None:
    assert len(set(ade20k_full.IDS)) == 150
    assert (ade20k_full.TABLE > 0).sum() == 151


def test_matlab_files_say_what_is_wrong(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", {"S": VALUES.astype(float), "half": VALUES / 2, "row": VALUES[0]})
    assert np.array_equal(read_field(tmp_path / "a.mat", ("S",)), VALUES)
    for name in ("half", "row", "absent"):
        with pytest.raises(ValueError, match=f"no image of whole numbers in {name}"):
            read_field(tmp_path / "a.mat", (name,))
