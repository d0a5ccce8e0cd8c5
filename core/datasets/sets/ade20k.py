"""ADE20K in the form of the scene parsing challenge of 2016: all kinds of scenes, 150 classes, 20,210 / 2000.

Zhou et al., CVPR 2017 and IJCV 2019. DIR is ADEChallengeData2016 or the folder that holds it, or the full release
(ADE20K_2021_17_01), which `prepare` brings to the 150 classes (`core.datasets.sets.ade20k_full`). The layout as
downloaded (ADEChallengeData2016.zip), the split `train` in training/ and `val` in validation/:

    ADEChallengeData2016/images/{training,validation}/NAME.jpg
    ADEChallengeData2016/annotations/{training,validation}/NAME.png         0 = other, ignored; 1 to 150

    release_test/testing/NAME.jpg                               the split `test` (release_test.zip), without labels

The value i is the label i - 1. The value 255 is refused: it is the mark of files whose labels were shifted already.

Names are the first of those that objectInfo150.txt of the data set gives each class, in its order; colours are those of
color150.mat (both also in github.com/CSAILVision/semantic-segmentation-pytorch). What the server takes is in the README
of github.com/CSAILVision/sceneparsing.
"""

from pathlib import Path

from core.datasets.dataset import DataSet, Licence, Server
from core.datasets.prepare import Plan, command, prepared, prepared_rows
from core.datasets.samples import Pair, Pairs, from_files
from core.datasets.sets import ade20k_full
from core.images.classes import IGNORE, Classes

SPLITS = {"train": "training", "val": "validation"}
"""The folder of each split."""

SOURCE = "download ADE20K from data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"

TEST_SOURCE = "download the test images from data.csail.mit.edu/places/ADEchallenge/release_test.zip"

_NAMES = """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
    table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
    armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard,
    chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway,
    case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower,
    book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine,
    hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television, airplane, dirt track,
    apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain,
    conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike,
    cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen,
    blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor,
    bulletin board, shower, radiator, glass, clock, flag
"""

_COLOURS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652
    8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0
    ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff
    8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff
    00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff
    ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff
    00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070
    5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500
    0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff
    b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""

CLASSES = Classes(
    tuple(" ".join(name.split()) for name in _NAMES.split(",")),
    tuple((int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)) for text in _COLOURS.split()),
)

MAPPING = {0: IGNORE, **{1 + label: label for label in range(len(CLASSES))}}


def read(folder: Path, split: str) -> Pairs:
    """Read a split.

    Raises:
        ValueError: if its images or labels are missing, or it is the full release, unprepared.
    """
    nested = folder / "ADEChallengeData2016"
    root = nested if nested.is_dir() else folder
    if split == "test":
        return Pairs(_test(root), CLASSES, MAPPING, labelled=False)
    images = sorted((root / "images" / SPLITS[split]).glob("*.jpg"))
    if not images:
        return Pairs(_full(folder, root, split), CLASSES, MAPPING)
    labels = root / "annotations" / SPLITS[split]
    if not labels.is_dir():
        raise ValueError(f"there is no folder {labels}; {SOURCE}")
    return Pairs(from_files(images, [labels / f"{path.stem}.png" for path in images]), CLASSES, MAPPING)


def plan(folder: Path) -> Plan:
    """What `prepare` does: 150 classes of the full release.

    Raises:
        ValueError: if it is not there.
    """
    root = ade20k_full.find(folder)
    if root is None:
        raise ValueError(
            f"there is no ADE20K_2021_17_01/images/ADE in {folder}, and ADEChallengeData2016 needs no preparing; "
            f"{ade20k_full.SOURCE}"
        )
    return Plan(DATASET.name, root, {split: ade20k_full.split(root, part) for split, part in SPLITS.items()})


def _test(root: Path) -> list[Pair]:
    places = (root / "release_test" / "testing", root.parent / "release_test" / "testing", root / "images" / "testing")
    images = next((files for place in places if (files := sorted(place.glob("*.jpg")))), None)
    if images is None:
        raise ValueError(f"there are no images {places[0]}/*.jpg; {TEST_SOURCE}")
    return from_files(images, None)


def _full(folder: Path, root: Path, split: str) -> list[Pair]:
    """A split of the full release, where the challenge's is not there."""
    full = ade20k_full.find(folder) if not (root / "annotations").is_dir() else None
    ready = prepared(folder, DATASET.name) or (full and prepared(full, DATASET.name))
    if ready:
        return prepared_rows(ready, split)
    if full is not None:
        raise ValueError(f"{full} is the full release of ADE20K, with all its classes: {command(DATASET.name, folder)}")
    raise ValueError(
        f"there are no images {root}/images/{SPLITS[split]}/*.jpg; pass the folder ADEChallengeData2016 or "
        f"ADE20K_2021_17_01. {SOURCE}"
    )


DATASET = DataSet(
    "ade20k",
    "all kinds of scenes, 150 classes",
    f"{SOURCE}; {TEST_SOURCE}; {ade20k_full.SOURCE}",
    read,
    Licence(
        "ADE20K",
        "Images for non-commercial research and education only; annotations under BSD-3-Clause.",
        "https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
    ),
    CLASSES,
    {"train": (20210,), "val": (2000,), "test": (3352,)},
    extra=("test",),
    plan=plan,
    to_prepare="the full release ADE20K_2021_17_01, with 150 of its classes",
    server=Server("sceneparsing.csail.mit.edu", tuple(range(1, len(CLASSES) + 1))),
)
