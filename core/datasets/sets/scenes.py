"""The embedded data set: street scenes drawn from a seed and an index, so that nothing has to be downloaded.

A scene is a street in perspective; x is metres to the right, y metres up, z metres ahead. The viewer, the bend of the
road, the light (sun side, shadows, haze, exposure, white balance, noise) and every object are random. Shapes are
painted from far to near on a canvas that holds their numbers, and two tables turn the numbers into classes and
colours, so labels and image agree in every pixel.

Colour does not tell the classes apart. Each draws its colour per scene or per object from a range that overlaps the
others': roads, walls, poles and skies are grey, walls and skies are blue or orange, cars, clothes and signs are
anything. Two pairs share even colour and texture within the scene and differ by context alone:

    road and pavement       one stone: the road lies between the kerbs and carries lane marks and most cars
    vegetation and grass    one foliage: a crown stands before sky or walls, grass lies on the ground

Arithmetic is +, -, *, / on numbers from PCG64, without transcendental functions, so that the same arguments give the
same scene on every machine with the same versions of numpy and PIL.
"""

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from core.datasets.dataset import DataSet, Licence
from core.datasets.samples import Pair, Pairs, plain_mapping
from core.datasets.sets.canvas import (
    BUILDING,
    CAR,
    CLASSES,
    GRASS,
    PAVEMENT,
    PERSON,
    POLE,
    ROAD,
    SIGN,
    SKY,
    VEGETATION,
    Scene,
    Spot,
)
from core.errors import require, unknown
from core.images.classes import Classes
from core.images.reading import Embedded

GROUND = np.isin(np.arange(len(CLASSES)), (ROAD, PAVEMENT, GRASS))
GRAIN = np.array([13, 13, 7, 4, 4, 12, 12, 1, 7, 4], np.float32)  # strength of each class's fine texture
BLOTCHES = np.array([9, 9, 7, 3, 3, 30, 30, 0, 6, 3], np.float32)  # strength of each class's coarse texture
SPLITS = {"train": (1, 480), "val": (2, 96), "test": (3, 96)}  # seed and default number of scenes
TILE = 512


Painter = Callable[["Scene", float, float], None]


def facade(scene: Scene, wall: int, glass: int, start: Spot, end: Spot, height: float) -> None:
    """Paint rows of windows on a wall: bands of glass, then the piers between them."""
    left, right = sorted(scene.point(x, 0, z)[0] for x, z in (start, end))
    if right - left < 6 or right < 0 or left > scene.width:
        return
    for floor in range(max(1, int((height + 1) / 3))):
        scene.wall(glass, start, end, 3 * floor + 0.9, min(3 * floor + 2.3, height - 0.4))
    run, rise = end[0] - start[0], end[1] - start[1]
    count = max(1, round((abs(run) + rise) / 2.8))
    for pier in range(count + 1):
        parts = max(0.0, (pier - 0.27) / count), min(1.0, (pier + 0.27) / count)
        left_end, right_end = ((start[0] + run * part, start[1] + rise * part) for part in parts)
        scene.wall(wall, left_end, right_end, 0.5, height)


def building(scene: Scene, x: float, z: float, length: float) -> None:
    """Paint a house whose street wall runs from z to z + length at x, away from the road."""
    colour, height = scene.grey(60, 225, 32), scene.rng.uniform(4, 13)
    outer = x + scene.rng.uniform(6, 12) * (1 if x > 0 else -1)
    left, right, middle = min(x, outer), max(x, outer), (x + outer) / 2
    if height < 8:  # a pitched roof
        ridge, back = height + scene.rng.uniform(1.5, 3), z + length
        roof, gable = scene.shape(BUILDING, scene.grey(50, 150, 30), z), scene.shape(BUILDING, colour, z)
        scene.polygon(roof, (x, height, z), (x, height, back), (middle, ridge, back), (middle, ridge, z))
        scene.polygon(gable, (x, height, z), (middle, ridge, z), (outer, height, z))
    front, flank, _ = scene.block(BUILDING, colour, (left, right), (0, height), (z, z + length))
    glass = scene.shape(BUILDING, scene.pane(), z)
    facade(scene, flank, glass, (x, z), (x, z + length), height)
    facade(scene, front, glass, (left, z), (right, z), height)
    scene.shadow(middle, z, (right - left) / 2, length, height)


def tree(scene: Scene, x: float, z: float) -> None:
    """Paint a tree, or a bush: a trunk and a crown."""
    bush = scene.rng.random() < 0.25
    height = scene.rng.uniform(0.8, 1.8) if bush else scene.rng.uniform(3.5, 8)
    radius = height * (0.55 if bush else scene.rng.uniform(0.25, 0.35))
    scene.post(scene.shape(VEGETATION, scene.grey(40, 110, 15), z), x, z, height * 0.7, 0.05 * height)
    for dx, dy, light in scene.rng.uniform(-0.7, 0.7, (5, 3)).tolist():
        leaves = scene.shape(VEGETATION, scene.foliage * (1 + 0.2 * light), z)
        scene.disc(leaves, x + dx * radius, height - radius + dy * radius, z, radius * 0.75, radius * 0.7)
    scene.shadow(x, z - radius / 2, radius, radius, height * 0.7)


def car(scene: Scene, x: float, z: float) -> None:
    """Paint a car along the street: a body and a cabin with panes, wheels and lights."""
    rng = scene.rng
    colour, height, length = scene.vivid(), rng.uniform(1.35, 2.1), rng.uniform(3.6, 4.8)
    lamp = (215, 40, 30) if rng.random() < 0.5 else (250, 250, 250)
    scene.shadow(x, z, 0.9, length, height * 0.7)
    dark, glass, lights = (scene.shape(CAR, np.array(paint), z) for paint in ((25,) * 3, scene.pane(), lamp))
    scene.wall(dark, (x - 0.8, z), (x + 0.8, z), 0, 0.4)
    _, _, flank = scene.block(CAR, colour, (x - 0.9, x + 0.9), (0.25, 0.85), (z, z + length))
    for wheel in (z + 0.4, z + length - 1):
        scene.wall(dark, (flank, wheel), (flank, wheel + 0.6), 0, 0.55)
    near, far = z + 0.12 * length, z + 0.7 * length
    _, _, flank = scene.block(CAR, colour, (x - 0.75, x + 0.75), (0.85, height), (near, far))
    scene.wall(glass, (x - 0.62, near), (x + 0.62, near), 0.92, height - 0.1)
    scene.wall(glass, (flank, near + 0.3), (flank, far - 0.2), 0.92, height - 0.1)
    for left in (x - 0.85, x + 0.5):
        scene.wall(lights, (left, z), (left + 0.35, z), 0.55, 0.75)


def person(scene: Scene, x: float, z: float) -> None:
    """Paint a person: legs in mid-step, coat, arms and head."""
    tall, step, half = scene.rng.uniform((1.4, 0.05, 0.22), (1.95, 0.3, 0.34)).tolist()
    trousers, coat = (scene.shape(PERSON, scene.vivid(), z) for _ in range(2))
    skin = scene.shape(PERSON, np.array([225, 180, 150]) * scene.rng.uniform(0.35, 1.05), z)
    scene.shadow(x, z - 0.1, 0.15, 0.5, tall)
    for foot in (x - step, x + step):
        hips = (x + 0.12, tall / 2, z), (x - 0.12, tall / 2, z)
        scene.polygon(trousers, (foot - 0.1, 0, z), (foot + 0.1, 0, z), *hips)
    scene.wall(coat, (x - half - 0.12, z), (x + half + 0.12, z), 0.55 * tall, 0.8 * tall)
    scene.wall(coat, (x - half, z), (x + half, z), 0.45 * tall, 0.85 * tall)
    scene.disc(skin, x, 0.92 * tall, z, 0.14, 0.17)


def lamp(scene: Scene, x: float, z: float) -> None:
    """Paint a lamp post whose arm reaches over the road."""
    metal, height = scene.shape(POLE, scene.grey(35, 210, 20), z), scene.rng.uniform(4, 7)
    end = x - 1.3 if x > 0 else x + 1.3
    scene.post(metal, x, z, height, scene.rng.uniform(0.2, 0.36))
    scene.wall(metal, (x, z), (end, z), height - 0.15, height + 0.1)
    scene.disc(metal, end, height - 0.1, z, 0.4, 0.15)
    scene.shadow(x, z - 0.1, 0.1, 0.4, height)


def sign(scene: Scene, x: float, z: float) -> None:
    """Paint a traffic sign, round, pointed or square, on its pole."""
    form = scene.rng.integers(3)
    height, thickness, size = scene.rng.uniform((2, 0.18, 0.5), (3.2, 0.28, 0.85)).tolist()
    scene.post(scene.shape(POLE, scene.grey(35, 210, 20), z), x, z, height, thickness)
    for reach in (size, 0.65 * size):
        number, low, high = scene.shape(SIGN, scene.vivid(), z), height - reach, height + reach
        if form == 0:
            scene.disc(number, x, height, z, reach, reach)
        elif form == 1:
            scene.polygon(number, (x - reach, low, z), (x + reach, low, z), (x, high, z))
        else:
            scene.wall(number, (x - 1.2 * reach, z), (x + 1.2 * reach, z), low, high)
    scene.shadow(x, z - 0.1, size, 0.3, height)


def ground(scene: Scene, half: float, walks: list[float], verges: list[float]) -> None:
    """Paint the road, `half` wide on either side, its pavements, verges, kerbs and marks."""
    rng = scene.rng
    road, pavement = scene.shape(ROAD, scene.stone), scene.shape(PAVEMENT, scene.stone)
    grass, kerb = scene.shape(GRASS, scene.foliage), scene.shape(PAVEMENT, scene.stone * rng.uniform(1.15, 1.4))
    for side, walk, verge in zip((-1, 1), walks, verges, strict=True):
        scene.strip(grass if rng.random() < 0.7 else pavement, 0, side * 150)
        scene.strip(grass, 0, side * (half + walk + verge))
        inner = half + (verge if rng.random() < 0.4 else 0.0)
        scene.strip(pavement, side * inner, side * (inner + walk))
        scene.strip(kerb, 0, side * (half + 0.15))
    scene.strip(road, -half, half)
    mark = scene.shape(ROAD, scene.grey(190, 235, 5))
    if rng.random() < 0.7:
        for z in np.arange(rng.uniform(3, 6), 45, 5).tolist():
            scene.strip(mark, -0.08, 0.08, z, z + 2.2)
    if rng.random() < 0.3:
        z = rng.uniform(7, 20)
        for x in np.arange(0.3 - half, half - 0.5, 1.1).tolist():
            scene.strip(mark, x, x + 0.55, z, z + 3)


def skyline(scene: Scene, z: float = 150.0) -> None:
    """Paint distant houses and woods, so that the street does not end in the sky."""
    houses, woods = scene.shape(BUILDING, scene.grey(60, 180, 25), z), scene.shape(VEGETATION, scene.foliage, z)
    for x in range(-120, 121, 12):
        radius, height = scene.rng.uniform((5, 3), (14, 22)).tolist()
        if scene.rng.random() < 0.5:
            scene.wall(houses, (x - radius, z), (x + radius, z), 0, height)
        else:
            scene.disc(woods, x, height * 0.2, z, radius, height * 0.5)


def roadside(scene: Scene, side: int, edge: float) -> None:
    """Paint houses, and trees in the gaps between them, from far to near: a park, a suburb or a town."""
    built, z = (0.15, 0.6, 0.95)[scene.rng.integers(3)], scene.rng.uniform(42, 52)
    while z > 2:
        length = scene.rng.uniform(5, 11)
        z -= length
        if scene.rng.random() < built:
            building(scene, side * edge, max(z, 1.5), length - scene.rng.uniform(0, 2))
        elif z > 4:
            for near in (z + 0.7 * length, z):
                tree(scene, side * (edge + scene.rng.uniform(1, 9)), near)


def street(scene: Scene) -> None:
    """Paint a whole scene: the ground, what lines it, then what stands on it, each from far to near."""
    rng = scene.rng
    half, walks = rng.uniform(2.6, 4.2), rng.uniform(1.8, 3.6, 2).tolist()
    verges = (rng.uniform(0.8, 4, 2) * (rng.random(2) < 0.6)).tolist()
    ground(scene, half, walks, verges)
    skyline(scene)
    things: list[tuple[float, Painter, float]] = []
    for side, walk, verge in zip((-1, 1), walks, verges, strict=True):
        roadside(scene, side, half + walk + verge)
        rows: list[tuple[float, Painter, float, float]]
        rows = [(0.8, lamp, 7, 0.7), (0.6, sign, 7, 0.9), (0.3, sign, 7, 0.9), (0.5, tree, 13, walk + verge)]
        for chance, paint, near, reach in rows:
            if rng.random() < chance:
                things.append((rng.uniform(near, 22), paint, side * (half + rng.uniform(0.4, reach))))
        for lane in (half * 0.45, half - 0.9):
            z = rng.uniform(6, 16)
            while z < 40 and rng.random() < 0.45:
                things.append((z, car, side * lane))
                z += rng.uniform(6, 14)
        for _ in range(rng.integers(4)):
            place = rng.uniform(0, half) if rng.random() < 0.25 else half + rng.uniform(0.4, walk + verge)
            things.append((rng.uniform(5.5, 16), person, side * place))
    for z, paint, x in sorted(things, key=lambda thing: -thing[0]):
        paint(scene, x, z)


@functools.cache
def tile(cell: int) -> np.ndarray:
    """Return a seamless square of smooth noise in -1..1 whose features are `cell` pixels wide."""
    values = np.random.default_rng(cell).integers(0, 256, (TILE // cell, TILE // cell)).astype(np.uint8)
    wide = Image.fromarray(np.pad(values, 2, mode="wrap")).resize((TILE + 4 * cell,) * 2, Image.Resampling.BICUBIC)
    return np.asarray(wide, np.float32)[2 * cell : -2 * cell, 2 * cell : -2 * cell] / 127.5 - 1


def texture(scene: Scene, cell: int) -> np.ndarray:
    """Return a random part of the noise, as large as the scene."""
    top, left = scene.rng.integers(0, TILE, 2)
    rows, columns = np.arange(top, top + scene.height), np.arange(left, left + scene.width)
    return tile(cell).take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")


def photograph(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the image and the labels of what has been painted: texture, shadows, haze, sky, then the lens."""
    single = functools.partial(np.asarray, dtype=np.float32)
    haze, zenith, gain = (single(colour)[:, None, None] for colour in (scene.haze, scene.zenith, scene.gain))
    numbers = np.asarray(scene.canvas)
    kinds, depths, colours = zip(*scene.shapes, strict=True)
    labels, image = np.array(kinds, np.uint8).take(numbers), single(colours).T.take(numbers, 1)  # image: c h w
    on_ground = GROUND.take(labels)

    below = single(np.arange(scene.height) - scene.horizon)[:, None]
    depth = single(depths).take(numbers)
    np.copyto(depth, scene.elevation * scene.focal / np.maximum(below, 0.5), where=on_ground, casting="same_kind")
    clear = scene.visibility / (depth + scene.visibility)
    image += GRAIN.take(labels) * texture(scene, 1) + BLOTCHES.take(labels) * texture(scene, 4)
    image *= 1 - single(scene.shadows) * on_ground * (scene.darkness / 255)
    image = haze + clear * (image - haze)
    sky = haze + np.maximum(-below / scene.horizon, 0) * (zenith - haze) + scene.clouds * texture(scene, 32)
    np.copyto(image, sky, where=labels == SKY)

    sharp = np.clip(image * gain, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    lens = Image.fromarray(np.ascontiguousarray(sharp)).filter(ImageFilter.BoxBlur(scene.blur))
    seen = single(lens) + (scene.noise * texture(scene, 1))[..., None]
    return np.clip(seen, 0, 255).astype(np.uint8), labels


def draw(
    seed: int, index: int, height: int = 128, width: int = 128
) -> tuple[UInt8[np.ndarray, "{height} {width} 3"], UInt8[np.ndarray, "{height} {width}"]]:
    """Return the image and the labels of one scene, a pure function of the arguments; no pixel is ignored.

    At another size the same scene is seen: a wider image sees more at its sides.

    Raises:
        ValueError: if `seed` or `index` is negative, or a side is shorter than 16 pixels.
    """
    if min(seed, index) < 0 or min(height, width) < 16:
        given = f"seed {seed}, index {index}, height {height}, width {width}"
        raise ValueError(f"a scene needs seed and index of 0 or more and sides of 16 pixels or more, got {given}")
    scene = Scene(np.random.default_rng((seed, index)), height, width)
    street(scene)
    return photograph(scene)


def png(pixels: np.ndarray, name: str) -> Embedded:
    """Return pixels as a file that lies in memory."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return Embedded(stream.getvalue(), name)


def scenes(split: str, count: int | None = None, size: tuple[int, int] = (128, 128)) -> Pairs:
    """Return the first scenes of a split, in memory.

    Args:
        split: "train" (480 scenes by default), "val" (96) or "test" (96).
        count: how many scenes; more than the default goes on drawing.
        size: height and width in pixels.

    Raises:
        ValueError: if there is no such split, or `count` is not positive.
    """
    if count is not None and count < 1:
        raise ValueError(f"a split holds one scene or more, got count {count}; leave it out for the default")
    return drawn(split, CLASSES, lambda seed, index: draw(seed, index, *size), count)


def drawn(
    split: str,
    classes: Classes,
    paint: Callable[[int, int], tuple[np.ndarray, np.ndarray]],
    count: int | None = None,
) -> Pairs:
    """Return the first pictures of a split, in memory.

    Args:
        split: "train" (480 pictures by default), "val" (96) or "test" (96).
        classes: of their labels.
        paint: gives the image and the labels, both h w, of a seed and an index.
        count: how many pictures.

    Raises:
        ValueError: if there is no such split.
    """
    require(split in SPLITS, unknown("split", split, SPLITS))
    seed, default = SPLITS[split]
    rows = []
    for index in range(count or default):
        image, labels = paint(seed, index)
        name = f"{split}/{index:06d}"
        rows.append(Pair(png(image, f"{name}.png"), png(labels, f"{name}-labels.png")))
    return Pairs(rows, classes, plain_mapping(classes))


@functools.cache
def read(folder: Path, split: str) -> Pairs:
    """Return a split, drawn once; nothing lies in a folder."""
    return scenes(split)


DATASET = DataSet(
    "scenes",
    "street scenes that this package draws itself, 10 classes",
    "nothing to download",
    read,
    Licence("Scenes", "Drawn by the code that trains on them, under Apache-2.0.", name="apache-2.0"),
    CLASSES,
    {split: (count,) for split, (_, count) in SPLITS.items()},
    size=(128, 128),
    unseen="a photograph: its scenes are drawn",
    in_folder=False,
)
