"""The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): labels for 11,355 photographs of VOC.

The layout as downloaded (benchmark.tgz), beside, above or in the folder of VOC:

    benchmark_RELEASE/dataset/cls/NAME.mat      GTcls.Segmentation: 0 background, 1 to 20; no ignored borders
    benchmark_RELEASE/dataset/img/NAME.jpg      the same photographs as VOC's JPEGImages

Its own lists train.txt and val.txt are not used: VOC's val is among them.
"""

from pathlib import Path

import numpy as np

from core.datasets.sets.matlab import read_field, small

SOURCE = (
    "download SBD from home.bharathh.info/pubs/codes/SBD/download.html (benchmark.tgz); many computers have it as "
    "SegmentationClassAug, a folder of PNG files, which is read too"
)

PLACES = ("benchmark_RELEASE/dataset", "VOCaug/dataset", "dataset", "")


def find(root: Path) -> Path | None:
    """The folder `dataset` of SBD in, beside or above the folder of VOC, if there is one."""
    for place in (root, root.parent, root.parent.parent):
        for name in PLACES:
            if (place / name / "cls").is_dir():
                return place / name
    return None


def decode(file: Path) -> np.ndarray:
    """The labels of a photograph.

    Raises:
        ValueError: if it is no such file.
    """
    return small(read_field(file, ("GTcls", "Segmentation")))
