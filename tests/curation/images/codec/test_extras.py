"""Files are stored as they are only if they hold nothing but a picture and its colors."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageCms

from curation.images.codec.extras import has_extras
from curation.images.decode import ImageLimits, verify
from support.scenes import encoded, scene

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SECRET = b"A. Photographer, at home"
LIMITS = ImageLimits(max_side=1000)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def webp_with(name: bytes, body: bytes) -> bytes:
    """A WebP with one more chunk at its end."""
    rest = encoded(scene(), "WEBP")[12:] + name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(rest)) + b"WEBP" + rest


def jpeg_with(*segments: bytes) -> bytes:
    data = encoded(scene(), "JPEG")
    return data[:20] + b"".join(segments) + data[20:]


def png_with(*chunks: bytes, before_end: bool = False) -> bytes:
    data = encoded(scene(), "PNG")
    at = len(data) - 12 if before_end else 33
    return data[:at] + b"".join(chunks) + data[at:]


EXTRAS = {
    "PNG tEXt": png_with(png_chunk(b"tEXt", b"Author\0" + SECRET)),
    "PNG tEXt after the pixels": png_with(png_chunk(b"tEXt", b"Location\0" + SECRET), before_end=True),
    "PNG iTXt": png_with(png_chunk(b"iTXt", b"Author\0\0\0\0\0" + SECRET)),
    "PNG C2PA": png_with(png_chunk(b"caBX", SECRET)),
    "PNG unknown chunk": png_with(png_chunk(b"prIv", SECRET)),
    "PNG bytes after the end": encoded(scene(), "PNG") + SECRET,
    "JPEG comment": jpeg_with(segment(0xFE, SECRET)),
    "JPEG C2PA": jpeg_with(segment(0xEB, SECRET)),
    "JPEG EXIF-like APP1": jpeg_with(segment(0xE1, SECRET)),
    "JPEG APP2 without a profile": jpeg_with(segment(0xE2, b"MPF\0" + SECRET)),
    "JPEG thumbnail": jpeg_with(segment(0xE0, b"JFXX\0" + SECRET)),
    "JPEG bytes after the end": encoded(scene(), "JPEG") + SECRET,
    "WebP unknown chunk": webp_with(b"priv", SECRET),
    "WebP bytes after the end": encoded(scene(), "WEBP") + SECRET,
}


@pytest.mark.parametrize("label", EXTRAS)
def test_what_is_not_the_picture_is_not_stored(label):
    data = EXTRAS[label]
    assert SECRET in data
    stored = verify(data, LIMITS)
    assert SECRET not in stored.image
    assert (stored.width, stored.height) == scene().size


@pytest.mark.parametrize("label", EXTRAS)
def test_an_original_is_stored_with_everything_in_it(label):
    data = EXTRAS[label]
    assert verify(data, ImageLimits(resize="none", encode="original")).image == data


@pytest.mark.parametrize("options", [{}, {"icc_profile": SRGB}], ids=["plain", "with a profile"])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "dpi": (72, 72)}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("PNG", {"dpi": (72, 72)}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_a_file_with_a_picture_and_a_profile_only_has_no_extras(kind, how, options):
    assert not has_extras(encoded(scene(), kind, **how, **options), kind)


@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.binary(min_size=1, max_size=40), st.integers(0, 200))
def test_bytes_after_the_end_and_cut_files_count_as_extras(kind, more, cut):
    data = encoded(scene(), kind)
    assert has_extras(data + more, kind)
    assert has_extras(data[: len(data) - 1 - cut], kind)
