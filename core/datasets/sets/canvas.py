"""The canvas of an embedded scene: a viewer in a street, the light, and shapes painted in metres.

x is metres to the right, y metres up, z metres ahead. Every shape has a number, and the canvas holds numbers: one
table turns them into classes, another into colours, so labels and image agree in every pixel.
"""

from typing import no_type_check

import numpy as np
from PIL import Image, ImageDraw

from core.images.classes import Classes

CLASSES = Classes((
    "road", "pavement", "building", "pole", "sign", "vegetation", "grass", "sky", "person", "car"
), (
    (128, 64, 128), (244, 105, 200), (110, 110, 125), (205, 190, 160), (240, 210, 40),
    (70, 130, 50), (160, 235, 140), (95, 165, 220), (220, 40, 70), (30, 40, 160),
))  # fmt: skip
ROAD, PAVEMENT, BUILDING, POLE, SIGN, VEGETATION, GRASS, SKY, PERSON, CAR = range(len(CLASSES))
SKIES = np.array([  # zenith and horizon: blue, overcast, hazy, dusk, nightfall
    [(85, 145, 220), (190, 210, 230)], [(140, 145, 155), (190, 190, 190)], [(160, 155, 150), (225, 215, 200)],
    [(110, 105, 145), (240, 170, 115)], [(60, 75, 110), (140, 135, 140)],
])  # fmt: skip
PLANTS = np.array([(75, 115, 50), (160, 110, 55), (135, 130, 85), (150, 150, 148)])  # summer, autumn, drought, frost

Spot = tuple[float, float]  # x, z on the ground


@no_type_check  # by the tests: its methods run some thousand times in a scene
class Scene:
    """A street in the making: the viewer, the light, and numbered shapes on a canvas; number 0 is the sky."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng, self.height, self.width = rng, height, width
        uniform = rng.uniform
        self.x, self.elevation = uniform(-4, 4), uniform(2.2, 4.2)  # the viewer, in metres
        self.horizon, self.centre = uniform(0.34, 0.54) * height, uniform(0.35, 0.65) * width  # the rest in pixels
        self.focal, self.bend = uniform(0.95, 1.35) * height, uniform(-0.25, 0.25) * height

        self.sun = uniform(-1.5, 1.5)  # how far to the right a shadow falls, per metre of height
        self.darkness, self.visibility = uniform(0.05, 0.5), uniform(70, 400)
        self.zenith, self.haze = SKIES[rng.integers(len(SKIES))] + uniform(-14, 14, (2, 3))
        self.gain = uniform(0.8, 1.3) * uniform(0.93, 1.07, 3)
        self.clouds, self.noise, self.blur = uniform(0, 30), uniform(2, 6), uniform(0, 0.5)

        self.stone = self.grey(70, 180, 12)
        self.foliage = (PLANTS[rng.integers(len(PLANTS))] + uniform(-25, 25, 3)) * uniform(0.7, 1.25)

        self.canvas, self.shadows = Image.new("I", (width, height)), Image.new("L", (width, height))
        self.brush, self.shadow_brush = ImageDraw.Draw(self.canvas), ImageDraw.Draw(self.shadows)
        self.shapes: list[tuple[int, float, np.ndarray]] = [(SKY, 0.0, np.zeros(3))]  # class, distance, colour

    def grey(self, low: float, high: float, tint: float) -> np.ndarray:
        """Return a grey between `low` and `high` whose channels are off by up to `tint`."""
        return self.rng.uniform(low, high) + self.rng.uniform(-tint, tint, 3)

    def vivid(self) -> np.ndarray:
        """Return the colour of a thing made by people: muted more often than bright."""
        return self.grey(25, 225, 28) if self.rng.random() < 0.65 else self.rng.uniform(15, 230, 3)

    def pane(self) -> np.ndarray:
        """Return the colour of glass: somewhere between dark and the sky that it mirrors."""
        return 35 + self.rng.uniform(0, 0.9) * (self.haze - 35)

    def shape(self, kind: int, colour: np.ndarray, z: float = 0.0) -> int:
        """Return the number of a new shape."""
        self.shapes.append((kind, z, colour))
        return len(self.shapes) - 1

    def point(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Return the pixel of a point in metres. Far away, the street bends."""
        scale = self.focal / max(z, 1.0)
        far = max(0.0, 1 - self.elevation * scale / (self.height - self.horizon))
        return self.centre + self.bend * far * far + (x - self.x) * scale, self.horizon + (self.elevation - y) * scale

    def polygon(self, number: int, *corners: tuple[float, float, float]) -> None:
        """Paint the polygon between points in metres."""
        self.brush.polygon([self.point(*corner) for corner in corners], fill=number)

    def wall(self, number: int, start: Spot, end: Spot, low: float, high: float) -> None:
        """Paint the upright rectangle that stands between two spots."""
        (u, v), (w, t) = self.point(start[0], 0, start[1]), self.point(end[0], 0, end[1])
        near, far = self.focal / max(start[1], 1.0), self.focal / max(end[1], 1.0)
        corners = (u, v - low * near), (w, t - low * far), (w, t - high * far), (u, v - high * near)
        self.brush.polygon(corners, fill=number)

    def disc(self, number: int, x: float, y: float, z: float, radius: float, rise: float) -> None:
        """Paint the upright ellipse around a point that reaches `radius` to the sides and `rise` up and down."""
        (u, v), scale = self.point(x, y, z), self.focal / max(z, 1.0)
        box = u - radius * scale, v - rise * scale, u + radius * scale, v + rise * scale
        self.brush.ellipse(box, fill=number)

    def post(self, number: int, x: float, z: float, height: float, thickness: float) -> None:
        """Paint an upright post, at least one pixel wide."""
        ends = self.point(x, 0, z), self.point(x, height, z)
        self.brush.line(ends, fill=number, width=max(1, round(thickness * self.focal / z)))

    def strip(self, number: int, left: float, right: float, near: float = 2.0, far: float = 400.0) -> None:
        """Paint the part of the ground between two lines along the street."""
        stops = [near, *(z for z in (3, 5, 7, 10, 14, 20, 30, 50, 90, 180) if near < z < far), far]
        self.polygon(number, *((left, 0, z) for z in stops), *((right, 0, z) for z in reversed(stops)))

    def block(self, kind: int, colour: np.ndarray, x: Spot, y: Spot, z: Spot) -> tuple[int, int, float]:
        """Paint a box; return the numbers of its front and of its visible side, and where that side is."""
        flank = x[0] if x[0] > self.x else x[1]
        lit = 1 + 0.5 * self.sun * self.darkness * (1 if flank == x[0] else -1)
        front, side, top = (self.shape(kind, colour * light, z[0]) for light in (1.0, lit, 1.15))
        self.wall(side, (flank, z[0]), (flank, z[1]), *y)
        if y[1] < self.elevation:
            self.polygon(top, (x[0], y[1], z[0]), (x[1], y[1], z[0]), (x[1], y[1], z[1]), (x[0], y[1], z[1]))
        self.wall(front, (x[0], z[0]), (x[1], z[0]), *y)
        return front, side, flank

    def shadow(self, x: float, z: float, half: float, length: float, height: float) -> None:
        """Darken the ground under and beside a thing; only what lies on the ground is darkened."""
        left, right = x - half + min(0.0, self.sun * height), x + half + max(0.0, self.sun * height)
        corners = (left, z), (right, z), (right, z + length), (left, z + length)
        self.shadow_brush.polygon([self.point(u, 0, v) for u, v in corners], fill=255)
