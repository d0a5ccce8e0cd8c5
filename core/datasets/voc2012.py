"""PASCAL VOC 2012 segmentation: photographs, 20 kinds of objects and the background, 1464 / 1449.

Everingham et al., IJCV 2010 and 2015. DIR is VOC2012, VOCdevkit, or the folder that holds VOCdevkit. The layout as
downloaded (VOCtrainval_11-May-2012.tar):

    VOCdevkit/VOC2012/JPEGImages/NAME.jpg
    VOCdevkit/VOC2012/SegmentationClass/NAME.png            palette images: 0 background, 1 to 20, 255 = borders
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val,trainval}.txt

The split `trainaug` has 10,582 images: VOC's train and the Semantic Boundaries Dataset (SBD; Hariharan et al., ICCV
2011; 11,355 images, all among VOC's JPEGImages), without VOC's val. It needs the labels of SBD as images too:

    SegmentationClassAug/NAME.png                           in VOC2012, beside it, or beside VOCdevkit
    VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt   optional

Without trainaug.txt, the images are those of train.txt and of SegmentationClassAug that are not in val.txt. Those of
train.txt keep VOC's own labels, which ignore the borders; SBD has no ignored pixels.

The names are in the order of the development kit, and the colours are made by its rule.
"""

from pathlib import Path

from core.classes import Classes, Colour
from core.datasets.pairs import Pairs, from_files, plain_mapping

SPLITS = ("train", "val", "trainval", "trainaug")

SOURCE = "VOC 2012 is to be had at host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval_11-May-2012.tar)"


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
        ValueError: if the split is unknown, or the folder, a list or a file is missing.
    """
    if split not in SPLITS:
        raise ValueError(
            f"VOC 2012 has the splits {', '.join(SPLITS)}, got {split!r}; the labels of its test images were never "
            "published: predict them and send them to the evaluation server"
        )
    root = year_folder(folder, "VOC2012", "SegmentationClass", SOURCE)
    lists = root / "ImageSets" / "Segmentation"
    if split == "trainaug":
        names, labels = _augmented(root, lists)
    else:
        names = listed(lists / f"{split}.txt", SOURCE)
        labels = [root / "SegmentationClass" / f"{name}.png" for name in names]
    images = [root / "JPEGImages" / f"{name}.jpg" for name in names]
    return Pairs(from_files(images, labels), CLASSES, plain_mapping(CLASSES))


def _augmented(root: Path, lists: Path) -> tuple[list[str], list[Path]]:
    """The names and labels of `trainaug`."""
    places = [place / "SegmentationClassAug" for place in (root, root.parent, root.parent.parent)]
    more = next((place for place in places if place.is_dir()), None)
    if more is None:
        raise ValueError(
            f"there is no folder {places[0]} for the split trainaug; it holds the labels of the Semantic Boundaries "
            "Dataset (home.bharathh.info/pubs/codes/SBD/download.html) as images: write GTcls.Segmentation of each "
            "dataset/cls/NAME.mat to SegmentationClassAug/NAME.png"
        )
    train, val = (set(listed(lists / f"{split}.txt", SOURCE)) for split in ("train", "val"))
    if (lists / "trainaug.txt").is_file():
        names = listed(lists / "trainaug.txt", SOURCE)
    else:
        names = sorted((train | {path.stem for path in more.glob("*.png")}) - val)
    leaked = sorted(val.intersection(names))
    if leaked:
        raise ValueError(
            f"{lists / 'trainaug.txt'} has {len(leaked)} images of the split val, {leaked[0]!r} the first; "
            "remove them, or remove the list to have it made"
        )
    official = root / "SegmentationClass"
    return names, [(official if name in train else more) / f"{name}.png" for name in names]


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
