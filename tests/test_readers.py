"""The readers of the published data sets, on tiny trees in the layouts as downloaded and on real files if at hand."""

import csv
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as published_labels
from PIL import Image

from core.datasets import Pairs, read
from core.datasets.samples import labels_of, refuse_wrong_labels
from core.datasets.sets import ade20k, cityscapes, coco_stuff10k, pascal_context, voc2012
from core.images.classes import IGNORE

VALUES = np.array([[0, 1, 2], [7, 11, 19]], dtype=np.uint8)

REAL = pytest.mark.skipif(
    "SEGMENTATION_SHARED" not in os.environ, reason="set SEGMENTATION_SHARED to a folder with data/samples to run this"
)


@pytest.fixture
def samples() -> Path:
    return Path(os.environ["SEGMENTATION_SHARED"]) / "data" / "samples"


def write(path: Path, values: np.ndarray | None = None) -> None:
    """Write labels, or an image if there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", VALUES.shape[::-1], (10, 20, 30)) if values is None else Image.fromarray(values)
    image.save(path)


def files(pairs: Pairs, column: str) -> list[str]:
    return [str(getattr(row, column)) for row in pairs.rows]


# One small tree for each data set; the label files are returned so that a test can spoil one


def write_cityscapes(root: Path, kind: str = "gtFine", ending: str = "labelIds") -> list[Path]:
    parts = ("train", "val", "test") if kind == "gtFine" else ("train_extra",)
    labels = []
    for part in parts:
        for name in ("bonn/bonn_000000_000019", "aachen/aachen_000001_000019"):
            write(root / "leftImg8bit" / part / f"{name}_leftImg8bit.png")
            labels.append(root / kind / part / f"{name}_{kind}_{ending}.png")
            write(labels[-1], VALUES % 19 if ending == "labelTrainIds" else VALUES)
    return labels


def write_voc(root: Path) -> list[Path]:
    year = root / "VOCdevkit" / "VOC2012"
    splits = {"train": ("2007_000032", "2007_000039"), "val": ("2007_000033",)}
    labels = []
    for split, names in {**splits, "trainval": (*splits["train"], *splits["val"])}.items():
        listing = year / "ImageSets" / "Segmentation" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{name}\n" for name in names))
        for name in names:
            write(year / "JPEGImages" / f"{name}.jpg")
            labels.append(year / "SegmentationClass" / f"{name}.png")
            write(labels[-1], VALUES)
    return labels


def write_context(root: Path) -> list[Path]:
    year = root / "VOCdevkit" / "VOC2010"
    labels = []
    for split, names in {"train": ("2008_000002", "2008_000003"), "val": ("2008_000007",)}.items():
        listing = year / "ImageSets" / "SegmentationContext" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{name}\n" for name in names))
        for name in names:
            write(year / "JPEGImages" / f"{name}.jpg")
            labels.append(year / "SegmentationClassContext" / f"{name}.png")
            write(labels[-1], VALUES)
    return labels


def write_coco(root: Path) -> list[Path]:
    labels = []
    for split, names in {"train": ("COCO_train2014_01", "COCO_train2014_02"), "test": ("COCO_train2014_03",)}.items():
        listing = root / "imageLists" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{name}\n" for name in names))
        for name in names:
            write(root / "images" / f"{name}.jpg")
            labels.append(root / "annotations" / f"{name}.png")
            write(labels[-1], VALUES)
    return labels


def write_ade20k(root: Path) -> list[Path]:
    labels = []
    for part, names in {"training": ("ADE_train_2", "ADE_train_1"), "validation": ("ADE_val_1",)}.items():
        for name in names:
            write(root / "ADEChallengeData2016" / "images" / part / f"{name}.jpg")
            labels.append(root / "ADEChallengeData2016" / "annotations" / part / f"{name}.png")
            write(labels[-1], VALUES)
    return labels


@dataclass(frozen=True)
class Tree:
    """What a reader is expected to find in its tree, and a value that its labels never hold."""

    name: str
    write: Callable[[Path], list[Path]]
    splits: dict[str, int]
    classes: int
    wrong: int


TREES = (
    Tree("cityscapes", write_cityscapes, {"train": 2, "val": 2, "test": 2}, 19, 34),
    Tree("voc2012", write_voc, {"train": 2, "val": 1, "trainval": 3}, 21, 21),
    Tree("pascal_context", write_context, {"train": 2, "val": 1}, 60, 60),
    Tree("pascal_context_59", write_context, {"train": 2, "val": 1}, 59, 60),
    Tree("coco_stuff10k", write_coco, {"train": 2, "test": 1}, 171, 12),
    Tree("ade20k", write_ade20k, {"train": 2, "val": 1}, 150, 151),
)

EACH = pytest.mark.parametrize("tree", TREES, ids=[tree.name for tree in TREES])


@EACH
def test_every_split_is_read_and_passes_its_check(tree: Tree, tmp_path: Path) -> None:
    tree.write(tmp_path)
    for split, count in tree.splits.items():
        pairs = read(tree.name, tmp_path, split)
        assert (len(pairs), len(pairs.classes)) == (count, tree.classes)
        assert set(pairs.mapping.values()) == {*range(tree.classes), IGNORE}
        assert np.array_equal(labels_of(pairs.rows[0]), VALUES)
        for image, labels in zip(files(pairs, "image"), files(pairs, "labels"), strict=True):
            assert Path(labels).name.startswith(Path(image).stem.removesuffix("_leftImg8bit"))
        refuse_wrong_labels(pairs, quiet=True)


@EACH
def test_a_wrong_value_is_named(tree: Tree, tmp_path: Path) -> None:
    spoilt = tree.write(tmp_path)[0]
    write(spoilt, np.full_like(VALUES, tree.wrong))
    with pytest.raises(ValueError, match=rf"{spoilt.name} holds the value {tree.wrong}; allowed are"):
        refuse_wrong_labels(read(tree.name, tmp_path, "train"), quiet=True)


@EACH
def test_a_missing_label_file_is_named(tree: Tree, tmp_path: Path) -> None:
    missing = tree.write(tmp_path)[0]
    missing.unlink()
    with pytest.raises(ValueError, match=rf"there is no labels file .*{missing.name}"):
        read(tree.name, tmp_path, "train")


@EACH
def test_unknown_splits_list_the_known(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"has the splits {', '.join(tree.splits)}.*, got 'dev'"):
        read(tree.name, tmp_path, "dev")


@EACH
def test_an_empty_folder_says_where_the_data_set_is_to_be_had(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(there (is|are) no|is missing).*(\.zip|\.tar)"):
        read(tree.name, tmp_path, "train")


# Where the folder is found


@pytest.mark.parametrize("level", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_at_each_level(level: str, tmp_path: Path) -> None:
    write_voc(tmp_path)
    write(tmp_path / "SegmentationClassAug" / "2008_000001.png", VALUES)
    write(tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2008_000001.jpg")
    assert len(read("voc2012", tmp_path / level, "val")) == 1
    assert len(read("voc2012", tmp_path / level, "trainaug")) == 3


@pytest.mark.parametrize("level", ["", "VOCdevkit", "VOCdevkit/VOC2010"])
def test_pascal_context_is_found_at_each_level(level: str, tmp_path: Path) -> None:
    write_context(tmp_path)
    (tmp_path / "59_labels.txt").write_text(
        "\n".join(f"{value}: {name}" for value, name in enumerate(pascal_context.LISTED_NAMES, start=1))
    )
    pairs = read("pascal_context", tmp_path / level, "train")
    assert pairs.classes.names[pairs.mapping[2]] == "bicycle"


@pytest.mark.parametrize("level", ["", "ADEChallengeData2016"])
def test_ade20k_is_found_at_each_level(level: str, tmp_path: Path) -> None:
    write_ade20k(tmp_path)
    assert [Path(path).stem for path in files(read("ade20k", tmp_path / level, "train"), "image")] == [
        "ADE_train_1",
        "ADE_train_2",
    ]


# Cityscapes


def test_cityscapes_ids_become_train_ids() -> None:
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
    expected |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    table = Pairs([], cityscapes.CLASSES, cityscapes.FROM_IDS).lookup()
    for value in (*range(34), 255):
        assert table[value] == expected.get(value, IGNORE)
    minus_one = np.array(-1).astype(np.uint8)
    assert cityscapes.FROM_IDS[int(minus_one)] == IGNORE


def test_cityscapes_agrees_with_its_scripts() -> None:
    for label in published_labels:
        expected = label.trainId if 0 <= label.trainId < IGNORE else IGNORE
        assert cityscapes.FROM_IDS[label.id % 256] == expected
        if expected != IGNORE:
            assert cityscapes.CLASSES.names[expected] == label.name
            assert cityscapes.CLASSES.palette[expected] == label.color
    assert set(cityscapes.FROM_IDS) == {label.id % 256 for label in published_labels}


def test_cityscapes_prefers_train_ids_where_all_images_have_them(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    by_id = read("cityscapes", tmp_path, "train")
    by_train_id = write_cityscapes(tmp_path, ending="labelTrainIds")
    write(by_train_id[0], by_id.lookup()[VALUES])
    pairs = read("cityscapes", tmp_path, "train")
    assert all(path.endswith("_gtFine_labelTrainIds.png") for path in files(pairs, "labels"))
    refuse_wrong_labels(pairs, quiet=True)
    assert np.array_equal(pairs.lookup()[labels_of(pairs.rows[1])], by_id.lookup()[VALUES])
    by_train_id[0].unlink()
    assert read("cityscapes", tmp_path, "train").mapping == by_id.mapping


def test_cityscapes_training_and_validation_together(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    write_cityscapes(tmp_path, kind="gtCoarse")
    parts = [files(read("cityscapes", tmp_path, split), "image") for split in ("train", "val", "train_coarse")]
    assert files(read("cityscapes", tmp_path, "trainval"), "image") == parts[0] + parts[1]
    assert files(read("cityscapes", tmp_path, "trainval+coarse"), "image") == parts[0] + parts[1] + parts[2]


def test_cityscapes_coarse(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    with pytest.raises(ValueError, match=r"leftImg8bit/train_extra.*leftImg8bit_trainextra.zip"):
        read("cityscapes", tmp_path, "train_coarse")
    labels = write_cityscapes(tmp_path, kind="gtCoarse")
    pairs = read("cityscapes", tmp_path, "train_coarse")
    assert sorted(files(pairs, "labels")) == sorted(map(str, labels))
    refuse_wrong_labels(pairs, quiet=True)


def test_cityscapes_fine_and_coarse_together(tmp_path: Path) -> None:
    fine = write_cityscapes(tmp_path)[:2]
    with pytest.raises(ValueError, match=r"leftImg8bit/train_extra.*trainextra"):
        read("cityscapes", tmp_path, "train+coarse")
    coarse = write_cityscapes(tmp_path, kind="gtCoarse")
    write_cityscapes(tmp_path, ending="labelTrainIds")  # the coarse ones have none: ids are read for all
    pairs = read("cityscapes", tmp_path, "train+coarse")
    assert files(pairs, "labels") == sorted(map(str, fine)) + sorted(map(str, coarse))
    assert pairs.mapping == cityscapes.FROM_IDS
    refuse_wrong_labels(pairs, quiet=True)
    with pytest.raises(ValueError, match=r"train_coarse, trainval, train\+coarse, trainval\+coarse, got 'train_fine'"):
        read("cityscapes", tmp_path, "train_fine")


def test_cityscapes_without_labels_says_which_package_has_them(tmp_path: Path) -> None:
    write(tmp_path / "leftImg8bit" / "val" / "bonn" / "bonn_leftImg8bit.png")
    with pytest.raises(ValueError, match=r"gtFine/val; it is in gtFine_trainvaltest.zip"):
        read("cityscapes", tmp_path, "val")


# VOC


def test_voc_colours() -> None:
    assert voc2012.palette(256)[255] == (224, 224, 192)
    assert len(set(voc2012.palette(256))) == 256
    named = dict(zip(voc2012.CLASSES.names, voc2012.CLASSES.palette, strict=True))
    assert named["background"] == (0, 0, 0)
    assert named["aeroplane"] == (128, 0, 0)
    assert named["person"] == (192, 128, 128)
    assert named["tvmonitor"] == (0, 64, 128)


def write_aug(root: Path, *names: str) -> Path:
    year = root / "VOCdevkit" / "VOC2012"
    for name in names:
        write(year / "JPEGImages" / f"{name}.jpg")
        write(year / "SegmentationClassAug" / f"{name}.png", VALUES)
    return year


def test_trainaug_is_train_and_sbd_without_val(tmp_path: Path) -> None:
    write_voc(tmp_path)
    with pytest.raises(ValueError, match=r"no labels of the Semantic .*SegmentationClassAug nor .*benchmark.tgz"):
        read("voc2012", tmp_path, "trainaug")
    write_aug(tmp_path, "2007_000032", "2007_000033", "2008_000009")
    pairs = read("voc2012", tmp_path, "trainaug")
    assert [Path(path).parts[-2:] for path in files(pairs, "labels")] == [
        ("SegmentationClass", "2007_000032.png"),
        ("SegmentationClass", "2007_000039.png"),
        ("SegmentationClassAug", "2008_000009.png"),
    ]
    refuse_wrong_labels(pairs, quiet=True)


def test_trainaug_follows_its_list(tmp_path: Path) -> None:
    write_voc(tmp_path)
    lists = write_aug(tmp_path, "2008_000009", "2008_000011") / "ImageSets" / "Segmentation"
    line = "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png\n"
    (lists / "trainaug.txt").write_text(line.format("2008_000011") + line.format("2007_000039"))
    names = [Path(path).stem for path in files(read("voc2012", tmp_path, "trainaug"), "image")]
    assert names == ["2008_000011", "2007_000039"]
    (lists / "trainaug.txt").write_text("2008_000009\n2007_000033\n")
    with pytest.raises(ValueError, match=r"1 images of the split val, '2007_000033'"):
        read("voc2012", tmp_path, "trainaug")


def test_the_test_images_of_voc_have_no_labels(tmp_path: Path) -> None:
    year = tmp_path / "VOCdevkit" / "VOC2012"
    write(year / "JPEGImages" / "2008_000006.jpg")
    with pytest.raises(ValueError, match=r"test.txt is missing.*VOC2012test.tar"):
        read("voc2012", tmp_path, "test")
    (year / "ImageSets" / "Segmentation").mkdir(parents=True)
    (year / "ImageSets" / "Segmentation" / "test.txt").write_text("2008_000006\n")
    pairs = read("voc2012", tmp_path, "test")
    assert not pairs.labelled
    assert len(pairs) == 1
    refuse_wrong_labels(pairs, quiet=True)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path)
    (tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"list .*Segmentation/val.txt is missing"):
        read("voc2012", tmp_path, "val")


# PASCAL Context


def test_pascal_context_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    write_context(tmp_path)
    pairs = read("pascal_context", tmp_path, "train")
    assert dict(pairs.mapping) == {**{value: value for value in range(60)}, 255: 255}
    names = pairs.classes.names
    assert (names[:4], names[-2:]) == (("background", "aeroplane", "bag", "bed"), ("window", "wood"))
    without = read("pascal_context_59", tmp_path, "train")
    assert dict(without.mapping) == {0: 255, **{value: value - 1 for value in range(1, 60)}, 255: 255}
    assert without.classes.names == names[1:]


def test_pascal_context_in_the_order_of_its_list(tmp_path: Path) -> None:
    write_context(tmp_path)
    listing = tmp_path / "VOCdevkit" / "VOC2010" / "59_labels.txt"
    lines = [f"{value}: {name}" for value, name in enumerate(pascal_context.LISTED_NAMES, start=1)]
    listing.write_text("\n".join(lines))
    for name, background in (("pascal_context", 0), ("pascal_context_59", IGNORE)):
        pairs = read(name, tmp_path, "train")
        assert pairs.mapping[0] == background
        for value, label_name in enumerate(pascal_context.LISTED_NAMES, start=1):
            assert pairs.classes.names[pairs.mapping[value]] == label_name
    listing.write_text("\n".join(reversed(lines)))
    with pytest.raises(ValueError, match="59_labels.txt is not the published list"):
        read("pascal_context", tmp_path, "train")


def test_pascal_context_has_the_colours_of_voc() -> None:
    colours = dict(zip(pascal_context.CLASSES.names, pascal_context.CLASSES.palette, strict=True))
    voc = dict(zip(voc2012.CLASSES.names, voc2012.CLASSES.palette, strict=True))
    shared = colours.keys() & voc.keys()
    assert len(shared) == 20  # all but VOC's diningtable
    assert all(colours[name] == voc[name] for name in shared)
    assert colours["table"] == voc["diningtable"]


# COCO-Stuff


def test_coco_stuff_ids_become_labels() -> None:
    absent = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
    mapping = coco_stuff10k.FROM_IDS
    assert mapping[0] == IGNORE
    expected = 0
    for identity in range(1, 183):
        if identity in absent:
            assert identity not in mapping
        else:
            assert mapping[identity] == expected
            assert coco_stuff10k.CLASSES.names[expected] == coco_stuff10k.ID_NAMES[identity - 1]
            expected += 1
    assert expected == 171
    assert [mapping[identity] for identity in (1, 11, 13, 90, 92, 182)] == [0, 10, 11, 79, 80, 170]
    assert coco_stuff10k.CLASSES.names[80] == "banner"


def test_coco_stuff_as_downloaded_must_be_converted(tmp_path: Path) -> None:
    for path in write_coco(tmp_path):
        path.rename(path.with_suffix(".mat"))
    with pytest.raises(
        ValueError, match=r"2 annotations of the split train .*_01.mat the first: .*prepare coco_stuff10k"
    ):
        read("coco_stuff10k", tmp_path, "train")


def test_coco_stuff_refuses_maps_that_count_from_id_minus_one(tmp_path: Path) -> None:
    labels = write_coco(tmp_path)
    write(labels[0], np.full_like(VALUES, 255))
    with pytest.raises(ValueError, match="holds the value 255"):
        refuse_wrong_labels(read("coco_stuff10k", tmp_path, "train"), quiet=True)


# ADE20K


def test_ade20k_values_become_labels() -> None:
    expected = {0: 255, **{value: value - 1 for value in range(1, 151)}}
    assert expected == ade20k.MAPPING
    assert [ade20k.CLASSES.names[label] for label in (0, 12, 149)] == ["wall", "person", "flag"]
    assert [ade20k.CLASSES.palette[label] for label in (0, 12, 149)] == [(120, 120, 120), (150, 5, 61), (92, 0, 255)]


def test_the_test_images_of_ade20k_have_no_labels(tmp_path: Path) -> None:
    write_ade20k(tmp_path)
    with pytest.raises(ValueError, match=r"release_test/testing.*release_test.zip"):
        read("ade20k", tmp_path, "test")
    write(tmp_path / "release_test" / "testing" / "ADE_test_00000001.jpg")
    for folder in (tmp_path, tmp_path / "ADEChallengeData2016"):
        assert not read("ade20k", folder, "test").labelled


# Real files


@REAL
def test_real_voc(samples: Path, tmp_path: Path) -> None:
    folder = samples / "voc2012"
    for split, count in {"train": 2, "val": 3, "trainval": 5}.items():
        pairs = read("voc2012", folder, split)
        assert len(pairs) == count
        refuse_wrong_labels(pairs, quiet=True)
        with Image.open(files(pairs, "labels")[0]) as labels:
            stored = np.array(labels.getpalette()).reshape(-1, 3)
        assert [tuple(colour) for colour in stored[: len(pairs.classes)].tolist()] == list(pairs.classes.palette)
    year = tmp_path / "VOC2012"
    (year / "JPEGImages").mkdir(parents=True)
    for path in [*folder.glob("VOCdevkit/VOC2012/JPEGImages/*"), *folder.glob("VOCaug/dataset/img/*")]:
        (year / "JPEGImages" / path.name).symlink_to(path)
    for name in ("SegmentationClass", "ImageSets"):
        (year / name).symlink_to(folder / "VOCdevkit" / "VOC2012" / name)
    (tmp_path / "SegmentationClassAug").symlink_to(folder / "SegmentationClassAug")
    pairs = read("voc2012", tmp_path, "trainaug")
    assert len(pairs) == 6
    refuse_wrong_labels(pairs, quiet=True)


@REAL
def test_real_pascal_context(samples: Path) -> None:
    folder = samples / "pascal_context"
    published = re.findall(r"\d+: (\S+)", (folder / "59_labels.txt").read_text())
    assert list(pascal_context.LISTED_NAMES) == published
    for split in ("train", "val"):
        pairs = read("pascal_context", folder / "VOCdevkit", split)
        assert len(pairs) == 2
        refuse_wrong_labels(pairs, quiet=True)
    # SBD labels the motorbike and the person of the same photograph
    index = [Path(path).stem for path in files(read("pascal_context", folder, "train"), "image")].index("2009_000637")
    pairs = read("pascal_context_59", folder, "train")
    found = np.unique(pairs.lookup()[labels_of(pairs.rows[index])])
    assert {"motorbike", "person"} <= {pairs.classes.names[label] for label in found if label != IGNORE}


@REAL
def test_real_coco_stuff(samples: Path, tmp_path: Path) -> None:
    folder = samples / "cocostuff"
    published = dict(re.findall(r"(\d+): (.+)", (folder / "cocostuff-labels.txt").read_text()))
    assert list(coco_stuff10k.ID_NAMES) == [published[str(identity)] for identity in range(1, 183)]
    with pytest.raises(ValueError, match="are .mat files"):
        read("coco_stuff10k", folder, "train")
    for name in ("images", "imageLists"):
        (tmp_path / name).symlink_to(folder / name)
    for path in folder.glob("stuffthingmaps/*/*.png"):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        Image.fromarray(np.asarray(Image.open(path)) + np.uint8(1)).save(tmp_path / "annotations" / path.name)
    for split in ("train", "test"):
        pairs = read("coco_stuff10k", tmp_path, split)
        assert len(pairs) == 2
        refuse_wrong_labels(pairs, quiet=True)


@REAL
def test_real_ade20k(samples: Path) -> None:
    folder = samples / "ade20k"
    with (folder / "ADEChallengeData2016" / "object150_info.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["Idx"]) for row in rows] == list(range(1, 151))
    for name, row in zip(ade20k.CLASSES.names, rows, strict=True):
        assert f"{row['Name'].replace(';', ' ')} ".startswith(f"{name} ")
    pairs = read("ade20k", folder, "train")
    assert len(pairs) == 3
    refuse_wrong_labels(pairs, quiet=True)
    with pytest.raises(ValueError, match="images/validation"):
        read("ade20k", folder, "val")
