"""Stored images as pixels, for models."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError
from curation.images.precheck import readable_formats

LIMITS: Final = ImageLimits(resize="none", encode="original", with_pixels=True, formats=readable_formats())

PixelArray = npt.NDArray[np.uint8]


def decode_stored(image: bytes | None) -> PixelArray | None:
    """Return the pixels [height, width, 3] of a stored image, upright and in sRGB; None if it cannot be decoded."""
    try:
        stored = verify(image or b"", LIMITS)
    except (DecodeError, MemoryError):
        return None
    return stored.pixels.array() if stored.pixels else None
