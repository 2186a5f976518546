"""Encode images, or decide that the bytes of a file can be stored as they are."""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image

from curation.images.codec.extras import has_extras

Encoding = Literal["jpeg", "webp", "original"]
STORABLE_FORMATS = frozenset({"JPEG", "PNG", "WEBP"})
LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383, "original": 65_500}  # of libjpeg, and of RFC 9649
WEBP_METHOD = 4  # of 0 (fast) to 6 (small)


def is_storable(image: Image.Image, data: bytes) -> bool:
    """Return whether a decoded file with the bytes `data` may be stored unchanged."""
    return (
        image.format in STORABLE_FORMATS
        and image.mode == "RGB"
        and not image.has_transparency_data
        and getattr(image, "n_frames", 1) == 1
        and len(data) <= 4 * image.width * image.height + (64 << 10)  # not inflated by data other than pixels
        and not has_extras(data, image.format)
    )


def encoded(image: Image.Image, encoding: Encoding, quality: int) -> bytes:
    """Return the file of an RGB image, made only from its pixels."""
    sink = io.BytesIO()
    if encoding == "webp":
        image.save(sink, "WEBP", quality=quality, method=WEBP_METHOD)
    else:
        image.save(sink, "JPEG", quality=quality, subsampling="4:2:0")
    return sink.getvalue()
