"""Bounds that are checked on the bytes of an image, before a decoder spends time or memory on them.

Decoders are fast and exact on pictures; a few bytes can still ask for minutes or gigabytes. Each bound is far beyond
what encoders write.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from curation.images.codec.heif import HEIF, has_heif
from curation.images.failures import DecodeError

# Formats that decoders may read, by their first bytes. Pillow's other readers (PostScript, PSD, icons …) never see
# downloaded bytes.
SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF": re.compile(rb".{4}ftypavi[fs]", re.DOTALL),
    "HEIF": re.compile(rb".{4}ftyp(?:he[iv][cxms]|m[is]f1.{4}(?:.{4}){0,8}?hei[cx])", re.DOTALL),
}
FORMATS = tuple(name for name in SIGNATURES if name != "HEIF")  # that Pillow reads by itself

FREE_PIXELS = 16_000_000  # up to here, a picture of one color may have any number of bytes
MAX_PIXELS_PER_BYTE = 1000  # above; a white PNG has 344, a white JPEG 85
MAX_SCANS = 100  # of a progressive JPEG; encoders write about 10
SCANS_AT_FULL_SIZE = 16  # scans of an image of `max_pixels`; smaller ones may have more
MAX_SEGMENTS = 10_000  # of a JPEG before its first scan
MAX_CHUNKS = 100_000  # of a PNG
MAX_TEXT = 1 << 20  # bytes of all text and color profiles of a PNG, decompressed

MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
SOS, EOI, WITHOUT_LENGTH = 0xDA, 0xD9, frozenset({0x01, *range(0xD0, 0xDA)})
TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})


def readable_formats() -> tuple[str, ...]:
    """Return all formats that can be read here: HEIF only if its package is installed."""
    return (*FORMATS, HEIF) if has_heif() else FORMATS


def kind_of(data: bytes) -> str | None:
    """Return the format that the first bytes of a file tell, or None."""
    return next((name for name, signature in SIGNATURES.items() if signature.match(data)), None)


def check_bytes(data: bytes, formats: Sequence[str], max_pixels: int) -> bytes:
    """Return the bytes to decode: `data`, without text and color profiles beyond `MAX_TEXT`.

    Raises DecodeError for a format that is not in `formats`, for more segments, chunks or scans than pictures have, and
    for a WebP whose size is out of bounds: its decoder would allocate all pixels when it is opened.
    """
    kind = kind_of(data)
    if kind is not None and kind not in formats:
        raise DecodeError("format_refused")
    if kind == "PNG":
        return _without_oversized_text(data)
    if kind == "JPEG":
        _check_segments(data)
    if kind == "WEBP" and (size := _webp_size(data)):
        check_pixels(*size, len(data), max_pixels)
    return data


def check_pixels(width: int, height: int, length: int, max_pixels: int) -> None:
    """Raise DecodeError if an image has too many pixels, or far too many for a file of `length` bytes."""
    pixels = width * height
    if pixels > max_pixels:
        raise DecodeError("too_many_pixels")
    if pixels > FREE_PIXELS and pixels > MAX_PIXELS_PER_BYTE * length:
        raise DecodeError("decompression_bomb")


def check_scans(data: bytes, pixels: int, max_pixels: int) -> None:
    """Raise DecodeError if a JPEG of this many pixels has too many scans, each of which the decoder applies to them."""
    allowed = min(MAX_SCANS, SCANS_AT_FULL_SIZE * max_pixels // max(1, pixels))
    if _count_sos(data) <= allowed:  # an upper limit: thumbnails in metadata have scans too
        return
    scans = 0
    for marker in _markers(data):
        scans += marker == SOS
        if scans > allowed:
            raise DecodeError("too_many_parts")


def _count_sos(data: bytes) -> int:
    """Return how often the two bytes of an SOS marker occur; `bytes.count` takes six times as long."""
    pairs = (np.frombuffer(data, "<u2", (len(data) - start) // 2, start) for start in (0, 1) if len(data) > start + 1)
    return sum(int(np.count_nonzero(words == SOS << 8 | 0xFF)) for words in pairs)


def _markers(data: bytes) -> Iterator[int]:
    """Yield the markers of a JPEG up to its end, without those inside segments. Raises DecodeError for too many."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        found = MARKER.search(data, position)
        if found is None or found[1][0] == EOI:
            return
        yield found[1][0]
        position = found.end()
        if found[1][0] not in WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
    raise DecodeError("too_many_parts")


def _check_segments(data: bytes) -> None:
    """Raise DecodeError if a JPEG has too many segments, or bytes of filling, before its first scan."""
    position = 2
    for _ in range(MAX_SEGMENTS):
        head = data[position : position + 4]
        if len(head) < 4 or head[0] != 0xFF or head[1] == SOS:
            return
        if head[1] == 0xFF:
            position += 1
        elif head[1] == 0 or head[1] in WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + max(2, int.from_bytes(head[2:], "big"))
    raise DecodeError("too_many_parts")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the first chunk of a WebP file (RFC 9649); None if it has none."""
    name, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if name == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if name == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8 ":
        width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
        return width & 0x3FFF, height & 0x3FFF
    return None


def _without_oversized_text(data: bytes) -> bytes:
    """Return a PNG without the texts and color profiles that exceed `MAX_TEXT` in total; raise DecodeError for floods.

    Nothing that is shown depends on them, and Pillow refuses a picture with such a chunk.
    """
    parts: list[bytes] = []
    start, position, left = 0, 8, MAX_TEXT
    for _ in range(MAX_CHUNKS):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            return b"".join([*parts, data[start:]]) if parts else data
        name = data[position + 4 : position + 8]
        if name in TEXT_CHUNKS:
            size = _text_size(name, data[position + 8 : end - 4], left)
            if size <= left:
                left -= size
            else:
                parts.append(data[start:position])
                start = end
        position = end
    raise DecodeError("too_many_parts")


def _text_size(name: bytes, body: bytes, limit: int) -> int:
    """Return the size of a text or profile, decompressed; more than `limit` if it exceeds it or cannot be read."""
    if name == b"tEXt" or limit < 0:
        return len(body)
    _, _, rest = body.partition(b"\0")
    if name == b"iTXt":
        compressed, method, rest = rest[:1] == b"\1", rest[1:2], rest[2:]
        rest = rest.split(b"\0", 2)[-1]
        if not compressed:
            return len(rest)
    else:
        method, rest = rest[:1], rest[1:]
    if method != b"\0":
        return limit + 1
    try:
        return len(zlib.decompressobj().decompress(rest, limit + 1))
    except zlib.error:
        return len(body)  # shown as empty
