"""Cityscapes: 5,000 street scenes of 2048 x 1024 pixels from 50 cities, 19 classes, 2975 / 500 / 1525.

Cordts et al., CVPR 2016. The layout as downloaded (leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip):

    leftImg8bit/{train,val,test}/CITY/NAME_leftImg8bit.png
    gtFine/{train,val,test}/CITY/NAME_gtFine_labelIds.png           ids -1 to 33
    gtFine/{train,val,test}/CITY/NAME_gtFine_labelTrainIds.png      optional, by csCreateTrainIdLabelImgs: 0 to 18, 255

and for the split `train_coarse`, 19,998 images with coarse labels (leftImg8bit_trainextra.zip and gtCoarse.zip):

    leftImg8bit/train_extra/CITY/NAME_leftImg8bit.png
    gtCoarse/train_extra/CITY/NAME_gtCoarse_labelIds.png

Splits that consist of others: `trainval`, 3,475 images; `train+coarse`, both training sets as one, 22,973 images,
those with fine labels first; `trainval+coarse`, 23,473.

Either kind of label file gives the same classes; train ids are taken where every image of the split has them. The
labels of the test split are not public: its files hold ids that are all ignored, and are read as they are.

Names, ids and colours are those of `cityscapesscripts.helpers.labels` of github.com/mcordts/cityscapesScripts, whose
`getPrediction` (evalPixelLevelSemanticLabeling) finds the prediction for an image by CITY_SEQUENCE_FRAME*.png.
"""

from pathlib import Path

from core.datasets.dataset import DataSet, Licence, Server
from core.datasets.samples import Pairs, from_files, plain_mapping
from core.images.classes import IGNORE, Classes

SOURCE = (
    "download Cityscapes, after registration, from cityscapes-dataset.com (leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip; for the coarse labels leftImg8bit_trainextra.zip and gtCoarse.zip)"
)

SPLITS = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    "test": ("test", "gtFine"),
    "train_coarse": ("train_extra", "gtCoarse"),
}
"""The folder of the images of each split, and the kind of its labels."""

TOGETHER = {
    "trainval": ("train", "val"),
    "train+coarse": ("train", "train_coarse"),
    "trainval+coarse": ("train", "val", "train_coarse"),
}
"""Splits that consist of others."""

PUBLISHED = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
"""Name, id and colour of the classes that are evaluated, in the order of their train ids."""

CLASSES = Classes(tuple(name for name, _, _ in PUBLISHED), tuple(colour for _, _, colour in PUBLISHED))

LAST_ID = 33

FROM_IDS = {
    **dict.fromkeys((*range(LAST_ID + 1), IGNORE), IGNORE),
    **{identity: label for label, (_, identity, _) in enumerate(PUBLISHED)},
}
"""From ids to train ids. The id -1 of license plates is 255 in 8 bits."""


def read(folder: Path, split: str) -> Pairs:
    """Read a split.

    Raises:
        ValueError: if its images or labels are missing.
    """
    files = [pair for part in TOGETHER.get(split, (split,)) for pair in _files(folder, part)]
    images = [image for image, _ in files]
    train_ids = [stem.with_name(f"{stem.name}_labelTrainIds.png") for _, stem in files]
    if all(path.is_file() for path in train_ids):
        return Pairs(from_files(images, train_ids), CLASSES, plain_mapping(CLASSES))
    ids = [stem.with_name(f"{stem.name}_labelIds.png") for _, stem in files]
    return Pairs(from_files(images, ids), CLASSES, FROM_IDS)


def _files(folder: Path, split: str) -> list[tuple[Path, Path]]:
    """The images of a split that is no union, and what the names of their label files begin with."""
    part, kind = SPLITS[split]
    images = sorted((folder / "leftImg8bit" / part).glob("*/*_leftImg8bit.png"))
    if not images:
        package = "trainextra" if split == "train_coarse" else "trainvaltest"
        raise ValueError(
            f"there are no images {folder}/leftImg8bit/{part}/CITY/*_leftImg8bit.png; pass the folder that holds "
            f"leftImg8bit/ and {kind}/, from leftImg8bit_{package}.zip of cityscapes-dataset.com"
        )
    labels = folder / kind / part
    if not labels.is_dir():
        package = "gtCoarse.zip" if kind == "gtCoarse" else "gtFine_trainvaltest.zip"
        raise ValueError(f"there is no folder {labels}; it is in {package} of cityscapes-dataset.com")
    return [(path, labels / path.parent.name / path.name.replace("_leftImg8bit.png", f"_{kind}")) for path in images]


DATASET = DataSet(
    "cityscapes",
    "street scenes of 50 cities, 19 classes, fine and coarse labels",
    SOURCE,
    read,
    Licence(
        "Cityscapes",
        "For non-commercial purposes, such as research and teaching, after registration; images may not be passed on.",
        "https://www.cityscapes-dataset.com/license/",
    ),
    CLASSES,
    {"train": (2975,), "val": (500,), "test": (1525,), "train_coarse": (19998,)},
    extra=("train_coarse",),
    unions=tuple(TOGETHER),
    size=(2048, 1024),
    unseen="night, winter or bad weather",
    server=Server(
        "cityscapes-dataset.com/submit",
        tuple(identity for _, identity, _ in PUBLISHED),
        cut="_leftImg8bit",
        ending="_labelIds",
    ),
)
