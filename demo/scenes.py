"""Draw the backgrounds of the pictures: ten scenes.

Every painter fills a square `ImageDraw` of side `n` pixels; colors and details vary with the random generator.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import ImageDraw

Color = tuple[int, int, int]
Draw = ImageDraw.ImageDraw


def vary(rng: Random, color: Color, spread: int = 18) -> Color:
    """Return the color with every channel changed by up to `spread`, clipped to 0..255."""
    red, green, blue = (min(255, max(0, channel + rng.randint(-spread, spread))) for channel in color)
    return red, green, blue


def _halves(draw: Draw, n: int, rng: Random, sky: Color, ground: Color) -> int:
    """Paint sky over ground and return the height of the horizon."""
    horizon = round(n * rng.uniform(0.5, 0.72))
    draw.rectangle((0, 0, n, horizon), fill=vary(rng, sky))
    draw.rectangle((0, horizon, n, n), fill=vary(rng, ground))
    return horizon


def _beach(draw: Draw, n: int, rng: Random) -> None:
    horizon = _halves(draw, n, rng, (168, 214, 238), (236, 218, 168))
    draw.rectangle((0, horizon - n // 8, n, horizon), fill=vary(rng, (70, 150, 196)))


def _garden(draw: Draw, n: int, rng: Random) -> None:
    horizon = _halves(draw, n, rng, (206, 232, 224), (132, 186, 100))
    for _ in range(12):
        x, y = rng.randrange(n), rng.randrange(horizon, n)
        draw.line((x, y, x + 2, y - n // 16), fill=(88, 140, 66), width=2)


def _mountains(draw: Draw, n: int, rng: Random) -> None:
    horizon = _halves(draw, n, rng, (196, 212, 228), (150, 160, 140))
    for _ in range(3):
        x, width, top = rng.randrange(n), n * rng.uniform(0.25, 0.45), n * rng.uniform(0.1, 0.35)
        gray = vary(rng, (132, 136, 148))
        draw.polygon([(x - width, horizon), (x, top), (x + width, horizon)], fill=gray)


def _city(draw: Draw, n: int, rng: Random) -> None:
    _halves(draw, n, rng, (214, 206, 204), (140, 138, 140))
    x = 0
    while x < n:
        width, top = rng.randint(n // 8, n // 4), rng.uniform(0.15, 0.5) * n
        draw.rectangle((x, top, x + width, n * 0.8), fill=vary(rng, (160, 152, 158)))
        x += width + 2


def _forest(draw: Draw, n: int, rng: Random) -> None:
    _halves(draw, n, rng, (130, 164, 132), (104, 126, 84))
    for _ in range(7):
        x = rng.randrange(n)
        draw.rectangle((x, 0, x + n // 18, n * 0.8), fill=vary(rng, (96, 104, 76)))


def _snow(draw: Draw, n: int, rng: Random) -> None:
    _halves(draw, n, rng, (216, 224, 234), (244, 246, 250))
    for _ in range(30):
        x, y, r = rng.randrange(n), rng.randrange(n), n / 60
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))


def _night(draw: Draw, n: int, rng: Random) -> None:
    _halves(draw, n, rng, (74, 82, 150), (86, 90, 122))
    for _ in range(20):
        x, y = rng.randrange(n), rng.randrange(n // 2)
        draw.rectangle((x, y, x + 1, y + 1), fill=(220, 220, 200))


def _table(draw: Draw, n: int, rng: Random) -> None:
    _halves(draw, n, rng, (232, 222, 206), (168, 120, 78))
    for i in range(4):
        y = n * (0.76 + i * 0.07)
        draw.line((0, y, n, y), fill=(138, 94, 58), width=2)


def _rain(draw: Draw, n: int, rng: Random) -> None:
    _halves(draw, n, rng, (150, 160, 176), (112, 120, 130))
    for _ in range(28):
        x, y = rng.randrange(n), rng.randrange(n)
        draw.line((x, y, x - n // 30, y + n // 10), fill=(186, 198, 216), width=1)


def _desert(draw: Draw, n: int, rng: Random) -> None:
    horizon = _halves(draw, n, rng, (244, 214, 170), (216, 158, 92))
    x = rng.randrange(n)
    draw.ellipse((x - n // 2, horizon - n // 10, x + n // 2, horizon + n // 3), fill=vary(rng, (206, 146, 84)))


SCENE_PAINTERS: dict[str, Callable[[Draw, int, Random], None]] = {
    "beach": _beach,
    "garden": _garden,
    "mountains": _mountains,
    "city": _city,
    "forest": _forest,
    "snow": _snow,
    "night": _night,
    "table": _table,
    "rain": _rain,
    "desert": _desert,
}
