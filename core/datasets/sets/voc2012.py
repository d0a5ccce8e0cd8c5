"""PASCAL VOC 2012 segmentation: photographs, 20 kinds of objects and the background, 1464 / 1449 / 1456.

Everingham et al., IJCV 2010 and 2015. DIR is VOC2012, VOCdevkit, or the folder that holds VOCdevkit. The layout as
downloaded (VOCtrainval_11-May-2012.tar):

    VOCdevkit/VOC2012/JPEGImages/NAME.jpg
    VOCdevkit/VOC2012/SegmentationClass/NAME.png            palette images: 0 background, 1 to 20, 255 = borders
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val,trainval}.txt

The split `test` has 1,456 images without public labels (VOC2012test.tar, in the same folders, with test.txt).

The split `trainaug` has 10,582 images: VOC's train and the Semantic Boundaries Dataset (SBD; 11,355 images, all among
VOC's JPEGImages), without VOC's val. It needs the labels of SBD, as downloaded (`core.datasets.sets.sbd`; `prepare`
decodes them) or as images:

    SegmentationClassAug/NAME.png                           in VOC2012, beside it, or beside VOCdevkit
    VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt   optional

Without trainaug.txt, the images are those of train.txt and of SBD that are not in val.txt. Those of train.txt keep
VOC's own labels, which ignore the borders; SBD has no ignored pixels.

The names are in the order of the development kit, and the colours are made by its rule. What the server takes is in its
section "Segmentation": comp6 is the competition for networks that saw other data too, comp5 the one for VOC alone.
"""

from collections.abc import Sequence
from pathlib import Path

from core.datasets.dataset import DataSet, Licence, Server
from core.datasets.prepare import Decoding, Plan, command, prepared, prepared_rows
from core.datasets.samples import Pair, Pairs, from_files, plain_mapping
from core.datasets.sets import sbd
from core.datasets.sets.devkit import names_in, palette, year_folder
from core.images.classes import Classes

SOURCE = "download VOC 2012 from host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval_11-May-2012.tar)"

TEST_SOURCE = "the images of the test set are in VOC2012test.tar of the evaluation server, host.robots.ox.ac.uk:8080"

NAMES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

CLASSES = Classes(NAMES, palette(len(NAMES)))


def read(folder: Path, split: str) -> Pairs:
    """Read a split.

    Raises:
        ValueError: if the folder, a list or a file is missing, or SBD is not prepared.
    """
    mapping = plain_mapping(CLASSES)
    ready = prepared(folder, DATASET.name)
    if ready == folder:
        return Pairs(prepared_rows(ready, split), CLASSES, mapping)
    needed = "JPEGImages" if split == "test" else "SegmentationClass"
    root = year_folder(folder, "VOC2012", needed, TEST_SOURCE if split == "test" else SOURCE)
    if split == "test":
        names = names_in(root / "ImageSets" / "Segmentation" / "test.txt", TEST_SOURCE)
        return Pairs(from_files(_images(root, names), None), CLASSES, mapping, labelled=False)
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
    train, val = (set(names_in(_list(root, split), SOURCE)) for split in ("train", "val"))
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
    return Plan(DATASET.name, root, {**whole, "trainaug": augmented})


def _list(root: Path, split: str) -> Path:
    return root / "ImageSets" / "Segmentation" / f"{split}.txt"


def _images(root: Path, names: Sequence[str]) -> list[Path]:
    return [root / "JPEGImages" / f"{name}.jpg" for name in names]


def _official(root: Path, split: str) -> list[tuple[Path, Path]]:
    """The images of one of VOC's own lists, and their labels."""
    names = names_in(_list(root, split), SOURCE)
    return list(zip(_images(root, names), (root / "SegmentationClass" / f"{name}.png" for name in names), strict=True))


def _labels_as_images(root: Path) -> Path | None:
    """The folder SegmentationClassAug, if there is one."""
    places = [place / "SegmentationClassAug" for place in (root, root.parent, root.parent.parent)]
    return next((place for place in places if place.is_dir()), None)


def _prepared_augmented(root: Path, folder: Path) -> list[Pair]:
    """The split `trainaug` as `prepare` left it."""
    ready = prepared(root, DATASET.name)
    if ready is not None:
        return prepared_rows(ready, "trainaug")
    if sbd.find(root) is not None:
        raise ValueError(f"{sbd.find(root)} holds SBD as .mat files: {command(DATASET.name, folder)}")
    raise ValueError(
        f"there are no labels of the Semantic Boundaries Dataset for the split trainaug, neither {root}/"
        f"SegmentationClassAug nor benchmark_RELEASE/dataset in, beside or above {root}; {sbd.SOURCE}"
    )


def _augmented(root: Path, labels: Path) -> list[tuple[Path, Path]]:
    """The images and labels of `trainaug`, with those of SBD as images."""
    train, val = (set(names_in(_list(root, split), SOURCE)) for split in ("train", "val"))
    own = _list(root, "trainaug")
    if own.is_file():
        names = names_in(own, SOURCE)
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


DATASET = DataSet(
    "voc2012",
    "photographs, 21 classes with the background",
    f"{SOURCE}; {TEST_SOURCE}; {sbd.SOURCE}",
    read,
    Licence(
        "PASCAL VOC 2012",
        "Images under the terms of Flickr; further annotations under those of the Semantic Boundaries Dataset.",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    ),
    CLASSES,
    {"train": (1464,), "val": (1449,), "trainval": (2913,), "test": (1456,), "trainaug": (10582,)},
    extra=("test", "trainaug"),
    plan=plan,
    to_prepare="the labels of SBD (.mat) for the split trainaug",
    server=Server(
        "host.robots.ox.ac.uk:8080",
        tuple(range(len(CLASSES))),
        folder="results/VOC2012/Segmentation/comp6_{split}_cls",
        palette=palette(256),
        pack="tar -czf ../results.tgz results",
    ),
)
