"""COCO-Stuff 10k, version 1.1: 10,000 photographs of COCO, 80 kinds of things and 91 of stuff, 9000 / 1000.

Caesar, Uijlings and Ferrari, CVPR 2018. The layout as downloaded (cocostuff-10k-v1.1.zip):

    images/NAME.jpg
    annotations/NAME.mat                    the field S; decoded by `prepare`
    annotations/NAME.png                    or S, unchanged, as an 8-bit image
    imageLists/{train,test}.txt             one NAME a line

The ids in S: 0 is unlabeled and ignored; 1 to 91 are things, of which 11 are in no annotation and have no class; 92 to
182 are stuff. So there are 171 classes, in the order of the ids. Ids without a class are refused, and so is 255: they
are the marks of files that count otherwise, such as the pixel maps of the 164,000 images of COCO-Stuff (id - 1, with
255 for unlabeled; their annotations differ too) or labels renumbered from 1 to 171.

The names are those of labels.txt of github.com/nightrome/cocostuff. The colours are ours.
"""

from pathlib import Path

import numpy as np

from core.datasets.dataset import DataSet, Licence
from core.datasets.prepare import Decoding, Plan, command, prepared, prepared_rows
from core.datasets.samples import Pairs, from_files
from core.datasets.sets.devkit import names_in
from core.datasets.sets.matlab import read_field, small
from core.images.classes import IGNORE, Classes

SOURCE = "download COCO-Stuff 10k from github.com/nightrome/cocostuff10k (cocostuff-10k-v1.1.zip)"

UNLABELED = 0

_NAMES = """
    person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, street sign,
    stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, hat,
    backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite,
    baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, plate, wine glass, cup, fork, knife,
    spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, mirror, dining table, window, desk, toilet, door, tv, laptop, mouse, remote, keyboard,
    cell phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase, scissors, teddy bear,
    hair drier, toothbrush, hair brush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage,
    cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff,
    dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog,
    food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal,
    mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform,
    playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper,
    snow, solid-other, stairs, stone, straw, structural-other, table, tent, textile-other, towel, tree, vegetable,
    wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops,
    window-blind, window-other, wood
"""

ID_NAMES = tuple(" ".join(name.split()) for name in _NAMES.split(","))
"""The names of the ids 1 to 182."""

NEVER_ANNOTATED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush."""

IDS = tuple(identity for identity in range(1, 183) if identity not in NEVER_ANNOTATED)
"""The ids of the classes, in the order of the labels."""

CLASSES = Classes.coloured([ID_NAMES[identity - 1] for identity in IDS])

FROM_IDS = {UNLABELED: IGNORE, **{identity: label for label, identity in enumerate(IDS)}}


def read(folder: Path, split: str) -> Pairs:
    """Read a split.

    Raises:
        ValueError: if a list or a file is missing, or the annotations are not prepared.
    """
    ready = prepared(folder, DATASET.name)
    if ready is not None:
        return Pairs(prepared_rows(ready, split), CLASSES, FROM_IDS)
    names = names_in(folder / "imageLists" / f"{split}.txt", SOURCE)
    labels = [folder / "annotations" / f"{name}.png" for name in names]
    raw = [path for path in labels if not path.is_file() and path.with_suffix(".mat").is_file()]
    if raw:
        raise ValueError(
            f"{len(raw)} annotations of the split {split} are .mat files, {raw[0].with_suffix('.mat')} the first: "
            f"{command(DATASET.name, folder)}"
        )
    return Pairs(from_files([folder / "images" / f"{name}.jpg" for name in names], labels), CLASSES, FROM_IDS)


def plan(folder: Path) -> Plan:
    """What `prepare` does: the field S of each annotation.

    Raises:
        ValueError: if a list is missing.
    """
    splits: dict[str, list[tuple[Path, Path | Decoding]]] = {}
    for split in DATASET.counts:
        splits[split] = []
        for name in names_in(folder / "imageLists" / f"{split}.txt", SOURCE):
            file = folder / "annotations" / f"{name}.mat"
            splits[split].append((folder / "images" / f"{name}.jpg", Decoding(name, file, decode, file)))
    return Plan(DATASET.name, folder, splits)


def decode(file: Path) -> np.ndarray:
    """The ids of a photograph.

    Raises:
        ValueError: if it is no such file.
    """
    return small(read_field(file, ("S",)))


DATASET = DataSet(
    "coco_stuff10k",
    "photographs, 80 things and 91 kinds of stuff, 171 classes",
    SOURCE,
    read,
    Licence(
        "COCO-Stuff 10k",
        "Annotations under CC BY 4.0; images under the terms of Flickr, each with its own licence.",
        "https://github.com/nightrome/cocostuff10k",
    ),
    CLASSES,
    {"train": (9000,), "test": (1000,)},
    plan=plan,
    to_prepare="the annotations (.mat)",
)
