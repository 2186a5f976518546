"""The image transform of training: a random resized crop whose rectangle depends only on a seed.

A JPEG is decoded by libjpeg-turbo at the smallest scale (1, 1/2, 1/4 or 1/8, which its inverse transform gives for
less work than the full size) at which the crop still has the pixels of the result. The crop is then resized
bicubically with antialiasing on uint8, by the vector code that torch has for it. Other formats, JPEGs in CMYK and those
with EXIF data, which may turn them, are decoded by Pillow. The decoders and the resize release the GIL.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch

from training.data.transforms import Pixels, decode

AREA = (0.9, 1.0)  # Meta CLIP: random resized crop of 90-100% of the area
ASPECT = (3 / 4, 4 / 3)
TRIES = 10
DIVISORS = (8, 4, 2)  # libjpeg-turbo has vector code for these scales, not for those between, which also look worse

_EXIF = re.compile(rb"Exif\0\0")


class CropBox(NamedTuple):
    """A rectangle in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def scaled(self, x: float, y: float) -> CropBox:
        """Return the rectangle in an image scaled by these factors, at least one pixel wide and high."""
        left, top = int(self.left * x), int(self.top * y)
        return CropBox(left, top, max(left + 1, round(self.right * x)), max(top + 1, round(self.bottom * y)))


def random_crop(data: bytes | memoryview, seed: int, result: Pixels, area: tuple[float, float] = AREA) -> None:
    """Write a random crop of an encoded image, resized, to `result` (side, side, 3), such as an image of a batch.

    The result depends only on image, seed, side and the smallest and largest share of the area. Raises InputError if
    the image cannot be decoded.
    """
    cropped = _crop_jpeg(data, seed, len(result), area)
    if cropped is None:
        image = np.array(decode(data))
        height, width = image.shape[:2]
        cropped = _cut(image, random_box(width, height, seed, area))
    _resize(cropped, result)


def _crop_jpeg(data: bytes | memoryview, seed: int, size: int, area: tuple[float, float]) -> Pixels | None:
    """Return the crop at the smallest scale that has `size` pixels; None if Pillow must decode the image."""
    if bytes(data[:2]) != b"\xff\xd8" or _EXIF.search(data):
        return None
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(data)
        if color_space not in ("YCbCr", "Gray", "RGB"):
            return None
        box = random_box(width, height, seed, area)
        divisor = scale_divisor(min(box.right - box.left, box.bottom - box.top), size)
        image = simplejpeg.decode_jpeg(data, min_width=-(-width // divisor), min_height=-(-height // divisor))
    except ValueError:  # damaged: Pillow reads some of these images and names the defects of the others
        return None
    return _cut(image, box.scaled(image.shape[1] / width, image.shape[0] / height))


def scale_divisor(side: int, size: int) -> int:
    """Return by how much to scale an image down so that a side of the crop still has `size` pixels, if it has."""
    return next((divisor for divisor in DIVISORS if side // divisor >= size), 1)


def _cut(image: Pixels, box: CropBox) -> Pixels:
    return image[box.top : box.bottom, box.left : box.right]


def _resize(image: Pixels, result: Pixels) -> None:
    """Resize an image bicubically with antialiasing, as Pillow does, into the memory of the result.

    It calls the operator of `torch.nn.functional.interpolate`, which gives no access to the operator's `out`.
    """
    channels_first, out = (torch.from_numpy(array).permute(2, 0, 1)[None] for array in (image, result))
    torch.ops.aten._upsample_bicubic2d_aa.out(channels_first, result.shape[:2], False, None, None, out=out)


def random_box(width: int, height: int, seed: int, area: tuple[float, float] = AREA) -> CropBox:
    """Return the rectangle of a random resized crop (Szegedy et al., arXiv 1409.4842, section 6).

    Area, between two shares of the image, and aspect ratio (on a logarithmic scale) are drawn until the rectangle fits
    into the image. If no try fits, the result is the largest centered rectangle with an allowed ratio.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(TRIES):
        share, log_aspect, x, y = rng.random(4)
        pixels = width * height * (area[0] + share * (area[1] - area[0]))
        low, high = map(math.log, ASPECT)
        aspect = math.exp(low + log_aspect * (high - low))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return CropBox(left, top, left + w, top + h)
    aspect = min(max(width / height, ASPECT[0]), ASPECT[1])
    w, h = max(1, round(min(width, height * aspect))), max(1, round(min(height, width / aspect)))
    left, top = (width - w) // 2, (height - h) // 2
    return CropBox(left, top, left + w, top + h)
