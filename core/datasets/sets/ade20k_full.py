"""The full release of ADE20K (ADE20K_2021_17_01), brought to the 150 classes of the scene parsing challenge.

The layout as downloaded (ade20k.csail.mit.edu, after registration):

    ADE20K_2021_17_01/images/ADE/{training,validation}/KIND/SCENE/NAME.jpg
    ADE20K_2021_17_01/images/ADE/{training,validation}/KIND/SCENE/NAME_seg.png      class = red // 10 * 256 + green

The release has more training images than the challenge: those numbered up to 20,210 are the challenge's, whose names
are ADE_train_00000001 to ADE_train_00020210. Images and labels keep their own size, where the challenge reduced the
larger ones to a shorter side of 512 pixels; so its labels and these differ at the borders.

A class of the challenge is the class of the release with the same name, as github.com/facebookresearch/MaskFormer
numbers them; "door" unites "door" and "double door", as its entry in objectInfo150.txt says.
"""

import re
from pathlib import Path

import numpy as np

from core.datasets.prepare import Decoding
from core.images.reading import read_coded_labels

IDS = (
    *(2978, 312, 2420, 976, 2855, 447, 2131, 165, 3055, 1125, 350, 2377, 1831, 838, 774, 2684, 1610, 1910, 687, 471),
    *(401, 2994, 1735, 2473, 2329, 1276, 2264, 1564, 2178, 913, 57, 2272, 907, 724, 2138, 2985, 1395, 155, 2053, 689),
    *(137, 266, 581, 2380, 491, 627, 2212, 2388, 2423, 943, 2096, 1121, 1788, 2530, 2185, 420, 1948, 1869, 2251, 2531),
    *(2128, 294, 239, 212, 571, 2793, 978, 236, 1240, 181, 629, 2598, 1744, 1374, 591, 2679, 223, 123, 47, 1282, 327),
    *(2821, 1451, 2880, 2828, 480, 77, 2616, 247, 2733, 14, 738, 38, 1936, 1401, 120, 868, 1702, 249, 308, 1969, 2526),
    *(2928, 2337, 1023, 609, 389, 2989, 1930, 2668, 2586, 131, 146, 3016, 2739, 95, 1563, 642, 1708, 103, 1002, 2569),
    *(2704, 2833, 1551, 1981, 29, 187, 1393, 747, 2254, 206, 2262, 1260, 2243, 2932, 2836, 2850, 64, 894, 1858, 3109),
    *(1919, 1583, 318, 2356, 2046, 1098, 530, 954),
)
"""The classes of the release that are those of the challenge, in the challenge's order."""

DOUBLE_DOOR, DOOR = 783, 15

LAST = 20_210
"""The number of the last training image of the challenge."""

TABLE = np.zeros(26 * 256, dtype=np.uint8)
TABLE[list(IDS)] = range(1, 1 + len(IDS))
TABLE[DOUBLE_DOOR] = DOOR

SOURCE = "download the full data set, after registration, from ade20k.csail.mit.edu (ADE20K_2021_17_01)"


def find(folder: Path) -> Path | None:
    """The folder of the full release from itself or the folder that holds it."""
    roots = [folder, *sorted(folder.glob("ADE20K_2021_*"))]
    return next((root for root in roots if (root / "images" / "ADE").is_dir()), None)


def decode(file: Path) -> np.ndarray:
    """The labels of a scene as the challenge counts: 0 = other, 1 to 150."""
    pixels = read_coded_labels(file)
    return TABLE[pixels[..., 0].astype(np.int64) // 10 * 256 + pixels[..., 1]]


def split(root: Path, part: str) -> list[tuple[Path, Path | Decoding]]:
    """The images of the folder `part` that the challenge has too, in its order, and their labels."""
    images = [path for path in (root / "images" / "ADE" / part).rglob("ADE_*.jpg") if _in_challenge(path.stem)]
    sources = {path: path.with_name(f"{path.stem}_seg.png") for path in sorted(images, key=lambda path: path.name)}
    return [(image, Decoding(image.stem, source, decode, source)) for image, source in sources.items()]


def _in_challenge(stem: str) -> bool:
    match = re.fullmatch(r"ADE_(train|val)_(\d+)", stem)
    return match is not None and (match[1] == "val" or int(match[2]) <= LAST)
