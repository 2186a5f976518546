"""Decode JPEGs with TurboJPEG, which gives the pixels of Pillow in two thirds of its time."""

from __future__ import annotations

import simplejpeg
from PIL import Image

from curation.jit.compiler import Bytes

BLOCK = 8  # of a smaller picture, several scales have the same size


def jpeg_pixels(image: Image.Image, data: bytes) -> Bytes | None:
    """Return the pixels [height, width, 3] of a JPEG at the size to which `Image.draft` has set it.

    None if Pillow must decode it: a file of several pictures, colors other than three, or data with a defect, which
    Pillow reads or names.

    Args:
        image: the opened file, not yet loaded.
        data: its bytes.
    """
    if image.format != "JPEG" or image.mode != "RGB" or min(image.size) < BLOCK:
        return None
    try:
        pixels: Bytes = simplejpeg.decode_jpeg(data, "RGB", min_width=image.width, min_height=image.height)
    except ValueError:
        return None
    return pixels if pixels.shape[1::-1] == image.size else None
