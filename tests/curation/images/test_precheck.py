"""A few bytes never cost a decoder minutes or gigabytes, and every valid picture passes the bounds."""

from __future__ import annotations

import io
import resource
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.images.decode import ImageLimits, verify
from curation.images.failures import DecodeError
from curation.images.precheck import FORMATS, MAX_TEXT

LIMITS = ImageLimits(max_side=64)
PNG_START = b"\x89PNG\r\n\x1a\n"


def scene(width: int = 48, height: int = 36) -> Image.Image:
    coarse = Image.fromarray(np.random.default_rng(width).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(kind: str, image: Image.Image | None = None, **options) -> bytes:
    sink = io.BytesIO()
    (image or scene()).save(sink, kind, **options)
    return sink.getvalue()


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks: bytes, after: bool = False) -> bytes:
    """A PNG with chunks before or after its pixels."""
    data = encoded("PNG")
    position = len(data) - 12 if after else 33
    return data[:position] + b"".join(chunks) + data[position:]


def webp_claiming(width: int, height: int, kind: bytes) -> bytes:
    """The header of a WebP of this size, with almost no data."""
    if kind == b"VP8L":
        body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(9)
    elif kind == b"VP8X":
        body = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body += b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    else:
        body = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(12)
    return b"RIFF" + struct.pack("<I", len(body) + 12) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def reason_of(data: bytes, limits: ImageLimits = LIMITS) -> str | None:
    try:
        verify(data, limits)
    except DecodeError as error:
        return error.reason
    return None


def progressive_with(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded("JPEG", scene(400, 300), progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * scans + data[-2:]


# Bounds


@pytest.mark.parametrize("kind", [b"VP8L", b"VP8X", b"VP8 "])
@given(st.integers(4100, 16383), st.integers(4100, 16383))
@settings(max_examples=20, deadline=None)
def test_a_webp_of_a_few_bytes_is_refused_by_its_header_before_memory_is_taken(kind, width, height):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(webp_claiming(width, height, kind)) in {"too_many_pixels", "decompression_bomb"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_a_large_picture_needs_bytes_for_its_pixels(kind):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    small = encoded(kind, Image.new("RGB", (1000, 1000), "white"), **lossless)
    assert reason_of(small) is None
    header = struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0)
    assert reason_of(PNG_START + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(60))) == "decompression_bomb"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_white_page_is_kept(kind):
    assert reason_of(encoded(kind, Image.new("RGB", (5000, 4000), "white"))) is None


@pytest.mark.parametrize("scans", [95, 200, 4000])
def test_a_jpeg_with_more_scans_than_encoders_write_is_refused_at_once(scans):
    began = time.process_time()
    assert reason_of(progressive_with(scans)) == "too_many_parts"
    assert time.process_time() - began < 0.5


def test_fewer_scans_are_allowed_the_more_pixels_an_image_has():
    data = progressive_with(20)
    assert reason_of(data) is None
    assert reason_of(data, ImageLimits(max_pixels=400 * 300)) == "too_many_parts"


@pytest.mark.parametrize("options", [{"progressive": True}, {}, {"progressive": True, "subsampling": 0}])
def test_scan_marks_inside_metadata_are_not_scans(options):
    comment = b"\xff\xda" * 2000
    assert reason_of(encoded("JPEG", comment=comment, **options)) is None
    assert reason_of(encoded("JPEG", **options) + comment * 30) is None


@pytest.mark.parametrize(
    "filling", [b"\xff\xe5\x00\x02", b"\xff\xfe\x00\x02", b"\xff", b"\xff\x00", b"\xff\xd0"], ids=bytes.hex
)
def test_a_jpeg_of_nothing_but_segments_or_filling_is_refused_at_once(filling):
    data = encoded("JPEG")
    began = time.process_time()
    assert reason_of(data[:2] + filling * 1_000_000 + data[2:]) == "too_many_parts"
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("name", [b"abCd", b"tEXt", b"tIME"])
def test_a_png_of_nothing_but_chunks_is_refused_at_once(name):
    began = time.process_time()
    assert reason_of(png_with(*[chunk(name, b"a\0b")] * 200_000)) == "too_many_parts"
    assert time.process_time() - began < 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_other_frames_of_an_animation_cost_nothing(kind):
    frames = [scene(8, 8 + number % 2) for number in range(2)]
    data = encoded(kind, frames[0].resize((8, 8)), save_all=True, append_images=[f.resize((8, 8)) for f in frames] * 50)
    began = time.process_time()
    assert reason_of(data) is None
    assert time.process_time() - began < 0.5


def test_a_gif_of_a_hundred_thousand_frames_costs_its_first():
    data = encoded("GIF", Image.new("P", (2, 2)))
    frame = data[data.index(b"\x2c", 13) : -1]
    began = time.process_time()
    assert reason_of(data[:-1] + frame * 100_000 + b";") is None
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("kind", FORMATS)
def test_only_configured_formats_are_decoded(kind):
    others = tuple(name for name in FORMATS if name != kind)
    assert reason_of(encoded(kind)) is None
    assert reason_of(encoded(kind), ImageLimits(formats=(kind,))) is None
    assert reason_of(encoded(kind), ImageLimits(formats=others)) == "format_refused"
    assert reason_of(b"<svg/>", ImageLimits(formats=(kind,))) == "not_an_image"


@given(st.sampled_from(FORMATS), st.data())
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_bytes_after_a_signature_give_an_image_or_a_reason(kind, data):
    body = encoded(kind)
    cut = data.draw(st.integers(0, len(body)))
    rest = data.draw(st.binary(max_size=200) | st.sampled_from([b"\xff" * 200, b"\xff\xda" * 100, bytes(300)]))
    reason_of(body[:cut] + rest)


# Text and color profiles


def text_chunk(name: bytes, size: int, *, packed: bool = True) -> bytes:
    text = b"caption " * (size // 8)
    if name == b"tEXt":
        return chunk(name, b"Comment\0" + text)
    if name == b"iTXt":
        return chunk(name, b"Comment\0" + bytes([packed, 0]) + b"en\0x\0" + (zlib.compress(text) if packed else text))
    return chunk(name, b"Comment\0\0" + zlib.compress(text))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP"]),
            st.sampled_from([8, 5000, MAX_TEXT - 100, MAX_TEXT + 8, 3 * MAX_TEXT, 30 * MAX_TEXT]),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_picture_with_texts_and_profiles_of_any_size_is_kept_without_the_large_ones(texts, after):
    chunks = [text_chunk(name, size, packed=packed) for name, size, packed in texts]
    stored = verify(png_with(*chunks, after=after), LIMITS)
    assert (stored.width, stored.height) == (48, 36)
    pixels = np.asarray(Image.open(io.BytesIO(stored.image)).convert("RGB"), dtype=int)
    assert np.abs(pixels - np.asarray(scene())).mean() < 8  # a JPEG where the texts are larger than the pixels
    assert len(stored.image) < len(encoded("PNG")) + 100_000


def test_a_small_color_profile_is_stored_with_the_picture():
    data = png_with(text_chunk(b"iCCP", 5000))
    assert verify(data, LIMITS).image == data


def test_many_packed_texts_are_not_all_unpacked():
    data = png_with(*[text_chunk(b"zTXt", MAX_TEXT - 100)] * 5000)
    began = time.process_time()
    assert reason_of(data) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_a_large_color_profile_does_not_cost_the_picture(kind):
    profile = bytes(range(256)) * 12_000
    stored = verify(encoded(kind, icc_profile=profile), LIMITS)
    assert (stored.width, stored.height) == (48, 36)
    assert len(stored.image) < 100_000


@pytest.mark.parametrize("body", [b"Comment\0\1junk", b"Comment\0\0junk", b"Comment", b""])
@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_a_text_that_cannot_be_unpacked_does_not_cost_the_picture(name, body):
    assert verify(png_with(chunk(name, body)), LIMITS).width == 48
