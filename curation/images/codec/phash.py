"""The perceptual hash of an image: 64 bits that hardly change when it is resized or encoded again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from curation.images.codec.resample import resample

# The 8 lowest frequencies of the DCT-II over 32 samples in units of 2^-14. With integers, every machine gets the same
# bits, and a uniform image has exact zeros where floating point would leave noise.
_SAMPLES, _FREQUENCIES = 32, 8
_ANGLES = np.outer(np.arange(_FREQUENCIES), 2 * np.arange(_SAMPLES) + 1) * np.pi / (2 * _SAMPLES)
_DCT: npt.NDArray[np.int64] = np.rint(np.cos(_ANGLES) * (1 << 14)).astype(np.int64)


def phash(image: Image.Image) -> str:
    """Return the 64-bit perceptual hash of an image as 16 hex digits; near-duplicates differ in few bits.

    The image is reduced to 32x32 in gray (Lanczos) and transformed by a two-dimensional DCT-II. Each bit represents one
    of the 8x8 lowest frequencies, row by row, and is set if the coefficient is above their median. This is the DCT hash
    of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), including the lowest
    frequency, as in the package ImageHash.
    """
    gray = np.asarray(image.convert("L"))[:, :, None]
    small = resample(gray, (_SAMPLES, _SAMPLES))[:, :, 0]
    low = (_DCT @ small.astype(np.int64) @ _DCT.T).ravel()
    middle = np.partition(low, [low.size // 2 - 1, low.size // 2])[low.size // 2 - 1 : low.size // 2 + 1]
    return np.packbits(2 * low > middle.sum()).tobytes().hex()  # faster than np.median, and the same
