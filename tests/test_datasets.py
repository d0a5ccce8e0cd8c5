"""Readers: every layout gives the same kind of pairs, and what is wrong is named before anything is trained."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import datasets as hf
import numpy as np
import pytest
import tiny
from hub_runs import demo_network
from PIL import Image

import papers
from core import datasets
from core.datasets import Pair, Pairs, read
from core.datasets.__main__ import main
from core.datasets.samples import labels_of, plain_mapping, refuse_wrong_labels
from core.datasets.sets.folder import read_classes
from core.datasets.transforms import TrainingSamples
from core.images.classes import IGNORE, Classes
from core.images.pixels import Normalisation
from core.images.reading import Embedded, read_image
from core.networks.network import About
from core.recipe import Augmentation, Data, Protocol
from core.values import to_json
from hub.card import _metadata
from hub.convert import _classes
from hub.publication import Publication

NAMES = ("sky", "traffic light", "road")


def write_pair(image: Path, labels: Path, values: np.ndarray, size: tuple[int, int] | None = None) -> None:
    for path in (image, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size or values.shape[::-1], (10, 20, 30)).save(image)
    Image.fromarray(values).save(labels)


def write_folder(root: Path, values: np.ndarray | None = None, count: int = 3) -> Path:
    root.mkdir(exist_ok=True)
    (root / "classes.txt").write_text("\n".join(NAMES))
    values = np.array([[0, 1], [2, IGNORE], [1, 1]], dtype=np.uint8) if values is None else values
    for split in ("train", "val"):
        for number in range(count):
            write_pair(root / split / "images" / f"{number}.jpg", root / split / "labels" / f"{number}.png", values)
    return root


def test_folder(tmp_path: Path) -> None:
    pairs = read("folder", write_folder(tmp_path), "train")
    assert isinstance(pairs.rows, list)
    assert pairs.classes.names == NAMES
    assert len(pairs) == 3
    assert labels_of(pairs.rows[0]).tolist() == [[0, 1], [2, 255], [1, 1]]
    refuse_wrong_labels(pairs)


def test_palette_labels_keep_their_indices(tmp_path: Path) -> None:
    write_folder(tmp_path)
    for path in (tmp_path / "train" / "labels").iterdir():
        image = Image.fromarray(np.array([[0, 1], [2, 255], [1, 1]], dtype=np.uint8)).convert("P")
        image.putpalette([value for index in range(256) for value in (255 - index, index, 7)])
        image.save(path)
    pairs = read("folder", tmp_path, "train")
    refuse_wrong_labels(pairs)
    assert labels_of(pairs.rows[0]).tolist() == [[0, 1], [2, 255], [1, 1]]
    _, labels = TrainingSamples(pairs, Augmentation(crop=2, flip=False), Normalisation(), 0)[0, 0, 0]
    assert set(labels.unique().tolist()) <= {0, 1, 2, 255}


def test_camvid_in_the_layout_of_segnet(tmp_path: Path) -> None:
    values = np.array([[0, 10], [11, 3]], dtype=np.uint8)
    lines = []
    for name in ("b.png", "a.png"):
        write_pair(tmp_path / "train" / name, tmp_path / "trainannot" / name, values)
        lines.append(f"/SegNet/CamVid/train/{name} /SegNet/CamVid/trainannot/{name}")
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n")
    pairs = read("camvid", tmp_path, "train")
    assert [row.image.name for row in pairs.rows if isinstance(row.image, Path)] == ["b.png", "a.png"]
    refuse_wrong_labels(pairs)
    assert pairs.lookup()[values].tolist() == [[0, 10], [IGNORE, 3]]


def test_camvid_in_the_layout_of_a_folder(tmp_path: Path) -> None:
    pairs = read("camvid", write_folder(tmp_path), "val")
    assert len(pairs.classes) == 11
    refuse_wrong_labels(pairs)


@pytest.mark.skipif(
    "SEGMENTATION_SHARED" not in os.environ, reason="set SEGMENTATION_SHARED to a folder with data/camvid to run this"
)
def test_real_camvid() -> None:
    folder = Path(os.environ["SEGMENTATION_SHARED"]) / "data" / "camvid"
    counts = [len(read("camvid", folder, split)) for split in ("train", "val", "test")]
    assert counts == [367, 101, 233]
    pairs = read("camvid", folder, "val")
    refuse_wrong_labels(pairs, quiet=True)
    assert read_image(pairs.rows[0].image).shape == (360, 480, 3)


def table(rows: Sequence[Pair]) -> hf.Dataset:
    """Rows with embedded images as a table, the labels in the column `annotation`."""

    def column(sources: Iterable[object]) -> list[dict[str, object]]:
        return [{"bytes": source.content, "path": None} for source in sources if isinstance(source, Embedded)]

    columns = {"image": column(row.image for row in rows), "annotation": column(row.labels for row in rows)}
    return hf.Dataset.from_dict(columns, features=hf.Features(dict.fromkeys(columns, hf.Image())))


def test_a_data_set_of_the_hub(tmp_path: Path) -> None:
    """A local folder of parquet stands for a repository: the same call of `datasets` reads both."""
    drawn = read("scenes", None, "val").rows[:4]
    rows = table(drawn)
    (tmp_path / "data").mkdir()
    rows.to_parquet(str(tmp_path / "data" / "train-00000-of-00001.parquet"))
    rows.to_parquet(str(tmp_path / "data" / "validation-00000-of-00001.parquet"))
    (tmp_path / "id2label.json").write_text('{"1": "b", "0": "a", "2": "c"}')
    for split in ("train", "val"):
        pairs = read(f"hub:{tmp_path}", None, split)
        assert pairs.classes.names == ("a", "b", "c")
        assert np.array_equal(labels_of(pairs.rows[2]), labels_of(drawn[2]))
    with pytest.raises(ValueError, match="holds the value .* allowed are"):
        refuse_wrong_labels(pairs)  # the scenes have more than three classes


def test_a_hub_data_set_without_label_column_is_refused(tmp_path: Path) -> None:
    hf.Dataset.from_dict({"text": ["a"]}).to_parquet(str(tmp_path / "train.parquet"))
    with pytest.raises(ValueError, match="has the columns text"):
        read(f"hub:{tmp_path}", None, "train")


def test_a_hub_data_set_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hf download --repo-type dataset"):
        read("hub:/no/such/folder", None, "train")


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [
        ("camvit", True, "did you mean 'camvid'"),
        ("camvid", False, "pass --data DIR"),
        ("camvid", True, "holds no CamVid"),
        ("folder", True, "no class list"),
    ],
)
def test_what_can_not_be_read(name: str, folder: bool, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        read(name, tmp_path if folder else None, "train")


def test_a_data_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        read("folder", tmp_path / "nowhere", "train")


def test_unknown_splits_name_the_known(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(ValueError, match="has the splits: train, val"):
        read("folder", tmp_path, "test")
    with pytest.raises(ValueError, match="'dev'"):
        read("camvid", tmp_path, "dev")


def test_files_without_partner_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "train" / "labels" / "1.png").unlink()
    with pytest.raises(ValueError, match="'1' has no labels"):
        read("folder", tmp_path, "train")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 7]], dtype=np.uint8), r"labels/1\.png holds the value 7; allowed are 0\.\.2, 255"),
        (np.zeros((1, 2, 3), dtype=np.uint8), r"labels/1\.png has 3 channels \(RGB\)"),
        (np.array([[0, 700]], dtype=np.uint16), r"holds the value 700"),
    ],
)
def test_wrong_labels_name_the_file(values: np.ndarray, words: str, tmp_path: Path) -> None:
    write_folder(tmp_path)
    label = tmp_path / "train" / "labels" / "1.png"
    write_pair(tmp_path / "train" / "images" / "1.jpg", label, values, size=(2, 1))
    with pytest.raises(ValueError, match=words):
        refuse_wrong_labels(read("folder", tmp_path, "train"))


def test_sizes_that_differ_name_the_file(tmp_path: Path) -> None:
    write_folder(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "train" / "images" / "2.jpg")
    with pytest.raises(ValueError, match=r"2\.png is 2 x 3 pixels but its image .*2\.jpg is 9 x 9"):
        refuse_wrong_labels(read("folder", tmp_path, "train"))


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_files_that_are_no_images_are_named(kind: str, tmp_path: Path) -> None:
    write_folder(tmp_path)
    file = next((tmp_path / "train" / kind).glob("0.*"))
    file.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=rf"{file.name} can't be read"):
        refuse_wrong_labels(read("folder", tmp_path, "train"))


def test_a_cut_label_file_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path, np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8))
    file = tmp_path / "train" / "labels" / "0.png"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"0\.png is damaged"):
        refuse_wrong_labels(read("folder", tmp_path, "train"))


def test_check_looks_at_its_part_only(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "train" / "labels" / "2.png").write_bytes(b"bad")
    pairs = read("folder", tmp_path, "train")
    refuse_wrong_labels(pairs, range(0, 2))
    with pytest.raises(ValueError, match=r"2\.png"):
        refuse_wrong_labels(pairs, range(2, 3))


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("sky\ntraffic light\n", ("sky", "traffic light"), None),
        ("0 sky\n1 traffic light\n255 void\n", ("sky", "traffic light"), None),
        ("0 sky 1 2 3\n1 traffic light 4 5 6\n\n255 void 0 0 0\n", ("sky", "traffic light"), (1, 2, 3)),
    ],
)
def test_class_lists(text: str, names: tuple[str, ...], first: tuple[int, int, int] | None, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(text)
    classes = read_classes(tmp_path / "classes.txt")
    assert classes.names == names
    assert first is None or classes.palette[0] == first


def test_class_lists_that_do_not_count_from_0_are_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("1 sky\n2 road\n")
    with pytest.raises(ValueError, match="line 1 .* has index 1, expected 0"):
        read_classes(tmp_path / "classes.txt")


def test_classes_are_checked() -> None:
    with pytest.raises(ValueError, match="'a'"):
        Classes.coloured(["a", "a"])
    with pytest.raises(ValueError, match="as many colours"):
        Classes(("a", "b"), ((0, 0, 0),))
    with pytest.raises(ValueError, match="1 to 255"):
        Classes.coloured([])
    assert len(set(Classes.coloured([str(i) for i in range(171)]).palette)) == 171


@pytest.mark.slow
def test_the_embedded_scenes_need_nothing() -> None:
    pairs = read("scenes", None, "train")
    assert isinstance(pairs, Pairs)
    assert len(pairs) >= 200
    assert pairs.mapping == plain_mapping(pairs.classes)
    refuse_wrong_labels(pairs, range(0, 20))


NEW = """
from core.datasets.dataset import DataSet, Licence
from core.datasets.samples import Pairs, from_files, plain_mapping
from core.images.classes import Classes

CLASSES = Classes.coloured(["land", "water"])


def read(folder, split):
    image = folder / f"{split}.png"
    return Pairs(from_files([image], [folder / f"{split}-labels.png"]), CLASSES, plain_mapping(CLASSES))


DATASET = DataSet(
    "lakes", "lakes from above", "download lakes from example.org", read, Licence("Lakes", "Anyone may.", "https://example.org/terms"),
    CLASSES, {"train": (1,), "val": (1,)},
)
"""


def test_a_new_data_set_touches_its_module_and_the_tuple(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lakes.py").write_text(NEW)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("lakes")
    monkeypatch.setattr(datasets, "DATASETS", (*datasets.DATASETS, module.DATASET))
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        write_pair(tmp_path / f"{split}.png", tmp_path / f"{split}-labels.png", np.array([[0, 1]], dtype=np.uint8))

    assert read("lakes", tmp_path, "val").classes.names == ("land", "water")
    with pytest.raises(ValueError, match="did you mean 'lakes'"):
        read("lake", tmp_path, "val")
    assert main(["list"]) == 0
    assert "lakes: lakes from above\n    train 1, val 1\n    download lakes from example.org" in capsys.readouterr().out
    assert main(["check", "lakes", str(tmp_path), "--processes", "0"]) == 0
    assert capsys.readouterr().out.endswith("ready\n")
    recipe = replace(tiny.recipe(), data=Data("lakes", num_classes=2))
    assert _classes(recipe) == module.CLASSES
    about = About(module.CLASSES, Protocol(), to_json(recipe), {}, "0123abc")
    publication = Publication("org/lakes", next(iter(papers.every())), recipe, demo_network(0), about, {}, ())
    assert _metadata(publication).license_link == "https://example.org/terms"


@pytest.mark.slow
def test_data_in_files_does_not_load_the_tables_of_the_hub() -> None:
    code = (
        "import sys, core.datasets as d; d.read('scenes', None, 'val'); "
        "print({'datasets', 'pandas', 'pyarrow'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=tiny.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
