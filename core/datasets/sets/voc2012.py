"""PASCAL VOC 2012 segmentation: photographs, 20 kinds of objects and the background, 1464 / 1449 / 1456.

Everingham et al., IJCV 2010 and 2015. DIR is VOC2012, VOCdevkit, or the folder that holds VOCdevkit. The layout as
downloaded (VOCtrainval_11-May-2012.tar):

    VOCdevkit/VOC2012/JPEGImages/NAME.jpg
    VOCdevkit/VOC2012/SegmentationClass/NAME.png            palette images: 0 background, 1 to 20, 255 = borders
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val,trainval}.txt

The split `test` has 1,456 images without public labels (VOC2012test.tar, in the same folders, with test.txt).

The split `trainaug` has 10,582 images: VOC's train and the Semantic Boundaries Dataset (SBD; 11,355 images, all among
VOC's JPEGImages), without VOC's val. It needs the labels of SBD, as downloaded (`core.datasets.sbd`; `prepare` decodes
them) or as images:

    SegmentationClassAug/NAME.png                           in VOC2012, beside it, or beside VOCdevkit
    VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt   optional

Without trainaug.txt, the images are those of train.txt and of SBD that are not in val.txt. Those of train.txt keep
VOC's own labels, which ignore the borders; SBD has no ignored pixels.

The names are in the order of the development kit, and the colours are made by its rule.
"""

from collections.abc import Sequence
from pathlib import Path

import datasets

from core.datasets.about import About
from core.datasets.prepare import Decoding, Plan, command, prepared, prepared_rows
from core.datasets.samples import Pairs, from_files, plain_mapping
from core.datasets.sets import sbd
from core.images.classes import Classes, Colour

SPLITS = ("train", "val", "trainval", "trainaug", "test")

SOURCE = "VOC 2012 is to be had at host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval_11-May-2012.tar)"

TEST_SOURCE = "the images of the test set are in VOC2012test.tar of the evaluation server, host.robots.ox.ac.uk:8080"

NAME = "voc2012"

ABOUT = About(
    "photographs, 21 classes with the background",
    f"{SOURCE}; {TEST_SOURCE}; {sbd.SOURCE}",
    {"train": (1464,), "val": (1449,), "trainval": (2913,), "test": (1456,), "trainaug": (10582,)},
    extra=("test", "trainaug"),
    prepare="the labels of SBD (.mat) for the split trainaug",
)


def palette(count: int) -> tuple[Colour, ...]:
    """The colours of VOC for the labels 0 to count - 1.

    The bits of a label are dealt to red, green and blue in turn, the lowest first, and fill each from its highest bit
    down: 1 is (128, 0, 0), 2 is (0, 128, 0), 8 is (64, 0, 0).
    """

    def channel(label: int, first: int) -> int:
        return sum((label >> (3 * place + first) & 1) << (7 - place) for place in range(8))

    return tuple((channel(label, 0), channel(label, 1), channel(label, 2)) for label in range(count))


NAMES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

CLASSES = Classes(NAMES, palette(len(NAMES)))


def read(folder: Path, split: str) -> Pairs:
    """Read a split.

    Raises:
        ValueError: if the split is unknown, the folder, a list or a file is missing, or SBD is not prepared.
    """
    if split not in SPLITS:
        raise ValueError(f"VOC 2012 has the splits {', '.join(SPLITS)}, got {split!r}")
    mapping = plain_mapping(CLASSES)
    ready = prepared(folder, NAME)
    if ready == folder:
        return Pairs(prepared_rows(ready, split), CLASSES, mapping)
    needed = "JPEGImages" if split == "test" else "SegmentationClass"
    root = year_folder(folder, "VOC2012", needed, TEST_SOURCE if split == "test" else SOURCE)
    if split == "test":
        names = listed(root / "ImageSets" / "Segmentation" / "test.txt", TEST_SOURCE)
        return Pairs(from_files(_images(root, names), None), CLASSES, mapping)
    if split != "trainaug":
        return Pairs(from_files(*zip(*_official(root, split), strict=True)), CLASSES, mapping)
    as_images = _labels_as_images(root)
    if as_images is None:
        return Pairs(_prepared_augmented(root, folder), CLASSES, mapping)
    return Pairs(from_files(*zip(*_augmented(root, as_images), strict=True)), CLASSES, mapping)


def plan(folder: Path) -> Plan:
    """What `prepare` does: the labels of SBD.

    Raises:
        ValueError: if VOC or SBD is missing.
    """
    root = year_folder(folder, "VOC2012", "SegmentationClass", SOURCE)
    files = sbd.find(root)
    if files is None:
        raise ValueError(
            f"there is no benchmark_RELEASE/dataset/cls in, beside or above {root}, and nothing else of VOC 2012 needs "
            f"preparing; {sbd.SOURCE}"
        )
    train, val = (set(listed(_list(root, split), SOURCE)) for split in ("train", "val"))
    names = sorted((train | {path.stem for path in (files / "cls").glob("*.mat")}) - val)
    augmented: list[tuple[Path, Path | Decoding]] = []
    for name in names:
        source = files / "cls" / f"{name}.mat"
        image = root / "JPEGImages" / f"{name}.jpg"
        augmented.append(
            (image, root / "SegmentationClass" / f"{name}.png")
            if name in train
            else (image if image.is_file() else files / "img" / image.name, Decoding(name, source, sbd.decode, source))
        )
    whole = {split: _official(root, split) for split in ("train", "val", "trainval") if _list(root, split).is_file()}
    return Plan(NAME, root, {**whole, "trainaug": augmented})


def _list(root: Path, split: str) -> Path:
    return root / "ImageSets" / "Segmentation" / f"{split}.txt"


def _images(root: Path, names: Sequence[str]) -> list[Path]:
    return [root / "JPEGImages" / f"{name}.jpg" for name in names]


def _official(root: Path, split: str) -> list[tuple[Path, Path]]:
    """The images of one of VOC's own lists, and their labels."""
    names = listed(_list(root, split), SOURCE)
    return list(zip(_images(root, names), (root / "SegmentationClass" / f"{name}.png" for name in names), strict=True))


def _labels_as_images(root: Path) -> Path | None:
    """The folder SegmentationClassAug, if there is one."""
    places = [place / "SegmentationClassAug" for place in (root, root.parent, root.parent.parent)]
    return next((place for place in places if place.is_dir()), None)


def _prepared_augmented(root: Path, folder: Path) -> datasets.Dataset:
    """The split `trainaug` as `prepare` left it."""
    ready = prepared(root, NAME)
    if ready is not None:
        return prepared_rows(ready, "trainaug")
    if sbd.find(root) is not None:
        raise ValueError(f"{sbd.find(root)} holds SBD as .mat files: {command(NAME, folder)}")
    raise ValueError(
        f"there are no labels of the Semantic Boundaries Dataset for the split trainaug, neither {root}/"
        f"SegmentationClassAug nor benchmark_RELEASE/dataset in, beside or above {root}; {sbd.SOURCE}"
    )


def _augmented(root: Path, labels: Path) -> list[tuple[Path, Path]]:
    """The images and labels of `trainaug`, with those of SBD as images."""
    train, val = (set(listed(_list(root, split), SOURCE)) for split in ("train", "val"))
    own = _list(root, "trainaug")
    if own.is_file():
        names = listed(own, SOURCE)
    else:
        names = sorted((train | {path.stem for path in labels.glob("*.png")}) - val)
    leaked = sorted(val.intersection(names))
    if leaked:
        raise ValueError(
            f"{own} has {len(leaked)} images of the split val, {leaked[0]!r} the first; "
            "remove them, or remove the list to have it made"
        )
    official = root / "SegmentationClass"
    files = [(official if name in train else labels) / f"{name}.png" for name in names]
    return list(zip(_images(root, names), files, strict=True))


def year_folder(folder: Path, year: str, needed: str, source: str) -> Path:
    """Find the folder of a year, with `needed` in it, from that folder, VOCdevkit, or the folder above.

    Raises:
        ValueError: if none of them has it.
    """
    roots = (folder, folder / year, folder / "VOCdevkit" / year)
    for root in roots:
        if (root / needed).is_dir():
            return root
    raise ValueError(
        f"there is no folder {roots[-1] / needed} nor {roots[1] / needed} nor {roots[0] / needed}; {source}"
    )


def listed(listing: Path, source: str) -> list[str]:
    """The names in a list: of each line the first word, without folder and ending.

    Raises:
        ValueError: if there is no such list or it is empty.
    """
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list {listing} is missing or empty; {source}")
    return names
