"""Draw pictures with Pillow: one object of a kind in a scene; no two are equal.

Objects are polygons in local coordinates (x right, y down, both -1..1); `Brush` rotates, scales and moves them.
Pictures are drawn at twice their size and reduced, which smooths their edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from PIL import Image, ImageDraw

from demo.scenes import SCENE_PAINTERS, Color, Draw, vary

Point = tuple[float, float]
DARK: Color = (50, 44, 48)
WHITE: Color = (250, 250, 246)
HAZE: Color = (214, 214, 214)  # blended into the scene to make the object more visible


class Brush:
    """Paints shapes given in local coordinates, rotated by `angle`, scaled by `size` and moved to `center`."""

    def __init__(self, draw: Draw, center: Point, size: float, angle: float) -> None:
        self._draw = draw
        self._center = center
        self._cos, self._sin = size * math.cos(angle), size * math.sin(angle)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """Fill a polygon."""
        (left, top), cos, sin = self._center, self._cos, self._sin
        self._draw.polygon([(left + x * cos - y * sin, top + x * sin + y * cos) for x, y in points], fill=color)

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """Fill a rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def disc(self, x: float, y: float, rx: float, color: Color, ry: float | None = None) -> None:
        """Fill an ellipse around (x, y); a circle if `ry` is omitted."""
        self.polygon(arc(x, y, rx, rx if ry is None else ry, 0, 360), color)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Return points on an elliptic arc; angles are in degrees, clockwise from the right."""
    steps = max(6, round(abs(end - start) / 12))
    angles = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _sun(brush: Brush, color: Color, rng: Random) -> None:
    rays = rng.choice((8, 10, 12))
    for i in range(rays):
        middle = 2 * math.pi * i / rays
        ends = [(0.55, middle - 0.16), (1.0, middle), (0.55, middle + 0.16)]
        brush.polygon([(r * math.cos(a), r * math.sin(a)) for r, a in ends], color)
    brush.disc(0, 0, 0.52, color)


def _moon(brush: Brush, color: Color, rng: Random) -> None:
    inner = rng.uniform(0.3, 0.5)
    brush.polygon(arc(0, 0, 0.9, 0.9, 90, 270) + arc(0, 0, inner, 0.9, 270, 90), color)


def _star(brush: Brush, color: Color, rng: Random) -> None:
    radii = (1.0, rng.uniform(0.36, 0.46))
    tips = [(radii[i % 2], math.pi * i / 5 - math.pi / 2) for i in range(10)]
    brush.polygon([(r * math.cos(a), r * math.sin(a)) for r, a in tips], color)


def _heart(brush: Brush, color: Color, rng: Random) -> None:
    depth = rng.uniform(0.85, 1.0)
    lobes = arc(-0.43, -0.3, 0.45, 0.45, 160, 360) + arc(0.43, -0.3, 0.45, 0.45, 180, 380)
    brush.polygon([*lobes, (0, depth)], color)


def _house(brush: Brush, color: Color, rng: Random) -> None:
    brush.box(-0.7, -0.1, 0.7, 0.9, vary(rng, (232, 206, 170)))
    brush.polygon([(-0.9, -0.1), (0, -0.9), (0.9, -0.1)], color)
    brush.box(-0.15, 0.35, 0.2, 0.9, DARK)
    brush.box(-0.55, 0.1, -0.28, 0.4, (120, 170, 210))
    brush.box(0.32, 0.1, 0.58, 0.4, (120, 170, 210))


def _tree(brush: Brush, color: Color, rng: Random) -> None:
    brush.box(-0.14, 0.2, 0.14, 1.0, vary(rng, (104, 70, 40)))
    for x, y in ((-0.38, 0.0), (0.38, 0.0), (0.0, -0.42), (0.0, 0.05)):
        brush.disc(x, y, rng.uniform(0.4, 0.5), color)


def _fish(brush: Brush, color: Color, rng: Random) -> None:
    brush.disc(-0.15, 0, 0.75, color, ry=rng.uniform(0.36, 0.46))
    brush.polygon([(0.45, 0), (1.0, -0.45), (1.0, 0.45)], color)
    brush.disc(-0.58, -0.1, 0.11, WHITE)
    brush.disc(-0.6, -0.1, 0.06, DARK)


def _flower(brush: Brush, color: Color, rng: Random) -> None:
    brush.box(-0.05, 0.1, 0.05, 1.0, (70, 140, 60))
    petals = rng.choice((5, 6, 7))
    for i in range(petals):
        angle = 2 * math.pi * i / petals
        brush.disc(0.38 * math.cos(angle), -0.3 + 0.38 * math.sin(angle), 0.25, color)
    brush.disc(0, -0.3, 0.22, (246, 206, 60))


def _boat(brush: Brush, color: Color, rng: Random) -> None:
    brush.polygon([(-0.95, 0.35), (0.95, 0.35), (0.6, 0.85), (-0.6, 0.85)], color)
    brush.box(-0.05, -0.95, 0.03, 0.35, DARK)
    brush.polygon([(0.1, -0.9), (0.1, 0.22), (rng.uniform(0.6, 0.8), 0.22)], WHITE)


def _apple(brush: Brush, color: Color, rng: Random) -> None:
    brush.disc(-0.28, 0.15, 0.5, color, ry=0.66)
    brush.disc(0.28, 0.15, 0.5, color, ry=0.66)
    brush.box(-0.05, -0.85, 0.05, -0.3, DARK)
    brush.disc(0.32, -0.66, 0.28, vary(rng, (80, 160, 60)), ry=0.13)


def _key(brush: Brush, color: Color, rng: Random) -> None:
    ring = arc(-0.6, 0, 0.38, 0.38, 0, 360) + arc(-0.6, 0, 0.2, 0.2, 360, 0)
    brush.polygon(ring, color)
    brush.box(-0.25, -0.09, 1.0, 0.09, color)
    for x in (0.55, 0.85):
        brush.box(x, 0.05, x + 0.12, rng.uniform(0.32, 0.42), color)


def _umbrella(brush: Brush, color: Color, rng: Random) -> None:
    brush.box(-0.05, -0.1, 0.05, 0.85, DARK)
    brush.polygon(arc(-0.15, 0.82, 0.2, 0.16, 0, 180) + arc(-0.15, 0.82, 0.1, 0.07, 180, 0), DARK)
    brush.polygon(arc(0, 0, 0.95, rng.uniform(0.8, 0.95), 180, 360), color)
    for x in (-0.63, 0.0, 0.63):
        brush.polygon(arc(x, 0.02, 0.3, 0.14, 180, 360), WHITE)


def _cat(brush: Brush, color: Color, rng: Random) -> None:
    for side in (-1, 1):
        brush.polygon([(side * 0.75, -0.05), (side * 0.65, -0.95), (side * 0.1, -0.55)], color)
    brush.disc(0, 0.1, 0.78, color, ry=0.68)
    for side in (-1, 1):
        brush.disc(side * 0.32, -0.02, 0.15, vary(rng, (170, 220, 90)))
        brush.disc(side * 0.32, -0.02, 0.06, DARK, ry=0.13)
        for y in (0.28, 0.42):
            brush.polygon([(side * 0.2, 0.32), (side, y - 0.03), (side, y + 0.03)], WHITE)
    brush.polygon([(-0.1, 0.22), (0.1, 0.22), (0, 0.36)], (226, 120, 130))


def _car(brush: Brush, color: Color, rng: Random) -> None:
    brush.polygon([(-0.6, 0.05), (-0.35, -0.42), (0.35, -0.42), (0.62, 0.05)], color)
    brush.polygon([(-0.42, 0.02), (-0.27, -0.3), (0.27, -0.3), (0.44, 0.02)], (186, 220, 236))
    brush.box(-1.0, 0.02, 1.0, 0.45, color)
    for x in (-0.55, 0.55):
        brush.disc(x, 0.45, rng.uniform(0.22, 0.27), DARK)
        brush.disc(x, 0.45, 0.1, (190, 190, 190))


KIND_PAINTERS: dict[str, tuple[Callable[[Brush, Color, Random], None], Color]] = {
    "sun": (_sun, (250, 200, 30)),
    "moon": (_moon, (252, 246, 180)),
    "star": (_star, (246, 150, 40)),
    "heart": (_heart, (244, 80, 140)),
    "house": (_house, (180, 70, 50)),
    "tree": (_tree, (40, 130, 50)),
    "fish": (_fish, (40, 100, 230)),
    "flower": (_flower, (150, 80, 220)),
    "boat": (_boat, (118, 84, 56)),
    "apple": (_apple, (196, 24, 24)),
    "key": (_key, (60, 62, 70)),
    "umbrella": (_umbrella, (20, 140, 140)),
    "cat": (_cat, (96, 88, 92)),
    "car": (_car, (160, 206, 40)),
}


def draw_picture(rng: Random, kind: str, scene: str, side: int) -> Image.Image:
    """Draw an object of a kind in a scene, `side` pixels square; position, size, angle and colors come from `rng`."""
    n = 2 * side
    image = Image.new("RGB", (n, n))
    draw = ImageDraw.Draw(image)
    SCENE_PAINTERS[scene](draw, n, rng)
    image.paste(Image.blend(image, Image.new("RGB", (n, n), HAZE), 0.5))
    _draw_clutter(draw, n, rng)
    paint, color = KIND_PAINTERS[kind]
    if rng.random() < 0.03:
        color = (rng.randint(30, 230), rng.randint(30, 230), rng.randint(30, 230))
    size = n * rng.uniform(0.34, 0.45)
    center = (n * rng.uniform(0.44, 0.56), n * rng.uniform(0.44, 0.56))
    paint(Brush(draw, center, size, math.radians(rng.gauss(0, 8))), vary(rng, color, 20), rng)
    return image.reduce(2)


def draw_banner(rng: Random, width: int, height: int) -> Image.Image:
    """Draw a logo, button or advertisement: stripes on a plain background."""
    image = Image.new("RGB", (width, height), vary(rng, (230, 230, 234)))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = rng.randrange(width), rng.randrange(height)
        draw.rectangle((x, y, x + width // 3, y + max(1, height // 6)), fill=vary(rng, (90, 110, 160), 80))
    return image


def _draw_clutter(draw: Draw, n: int, rng: Random) -> None:
    """Draw a few small random dots and lines."""
    for _ in range(rng.randint(0, 5)):
        x, y, r = rng.randrange(n), rng.randrange(n), n * rng.uniform(0.015, 0.045)
        color = (rng.randint(40, 220), rng.randint(40, 220), rng.randint(40, 220))
        if rng.random() < 0.5:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
        else:
            draw.line((x, y, x + 4 * r, y + rng.uniform(-4, 4) * r), fill=color, width=2)
