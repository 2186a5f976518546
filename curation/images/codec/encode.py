"""Encode images, or decide that the bytes of a file can be stored as they are."""

from __future__ import annotations

import io
from typing import Literal

from PIL import Image

Encoding = Literal["jpeg", "webp", "original"]
STORABLE_FORMATS = frozenset({"JPEG", "PNG", "WEBP"})
LONGEST_SIDE = {"jpeg": 65_500, "webp": 16_383, "original": 65_500}  # of libjpeg, and of RFC 9649
WEBP_METHOD = 4  # of 0 (fast) to 6 (small)

# Pillow's names for EXIF, XMP and IPTC (inside Photoshop's block) in all formats.
PERSONAL_BLOCKS = frozenset(
    {"exif", "xmp", "photoshop", "Raw profile type exif", "Raw profile type iptc", "XML:com.adobe.xmp"}
)


def is_storable(image: Image.Image, length: int) -> bool:
    """Return whether a decoded file of `length` bytes may be stored unchanged."""
    return (
        image.format in STORABLE_FORMATS
        and image.mode == "RGB"
        and not image.has_transparency_data
        and getattr(image, "n_frames", 1) == 1
        and not PERSONAL_BLOCKS & image.info.keys()
        and length <= 4 * image.width * image.height + (64 << 10)  # not inflated by data other than pixels
    )


def encoded(image: Image.Image, encoding: Encoding, quality: int) -> bytes:
    """Return the file of an RGB image, made only from its pixels."""
    sink = io.BytesIO()
    if encoding == "webp":
        image.save(sink, "WEBP", quality=quality, method=WEBP_METHOD)
    else:
        image.save(sink, "JPEG", quality=quality, subsampling="4:2:0")
    return sink.getvalue()
