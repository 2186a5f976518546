"""Compose pictures: artwork of any size, position and rotation on a scene of the demo."""

from __future__ import annotations

import io
from random import Random

from PIL import Image, ImageDraw

from demo.scenes import SCENE_PAINTERS
from proof.artwork import Artwork
from proof.settings import SiteRates

QUALITY = 90


def compose(rng: Random, artwork: Artwork, scene: str, rates: SiteRates) -> Image.Image:
    """Return a square picture of `rates.side` pixels: the artwork in a scene; the generator draws all other choices."""
    n = 2 * rates.side  # the scene is drawn at twice the size and reduced, which smooths its edges
    image = Image.new("RGB", (n, n))
    SCENE_PAINTERS[scene](ImageDraw.Draw(image), n, rng)
    image = image.reduce(2)
    side = round(rates.side * rng.uniform(*rates.size))
    small = artwork.picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small = small.rotate(rng.uniform(-rates.angle, rates.angle), Image.Resampling.BICUBIC)
    left, top = (rng.randint(0, rates.side - side) for _ in range(2))
    image.paste(small, (left, top), small)
    return image


def encode(image: Image.Image) -> bytes:
    """Return a picture as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
