"""Generated pictures for tests of decoding."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def scene(width: int = 48, height: int = 36, seed: int = 0) -> Image.Image:
    """A smooth colorful image without symmetry."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of an image as a file."""
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()
