"""Tell whether a file holds anything but a picture: texts, comments, camera data, signatures, bytes after its end.

What a file may hold is listed, so that blocks nobody has heard of count as extras too.
"""

from __future__ import annotations

import re
from typing import Final

MARKER: Final = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # not stuffed bytes nor restarts, which are within scans
SOS: Final = 0xDA
EOI: Final = 0xD9
# Frames, Huffman and arithmetic tables, scans, quantization tables, number of lines, restart interval.
JPEG_PARTS: Final = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xDE)}) - {0xC8}
APPLICATION_PARTS: Final = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
PNG_PARTS: Final = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"sBIT", b"bKGD"}
)
WEBP_PARTS: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ICCP"})


def has_extras(data: bytes, kind: str | None) -> bool:
    """Return whether a JPEG, PNG or WebP holds more than its pixels and how their colors are meant.

    A file of another format, or one that is not built as its format says, counts as one with extras.
    """
    plain = {"JPEG": _is_plain_jpeg, "PNG": _is_plain_png, "WEBP": _is_plain_webp}.get(kind or "")
    return plain is None or not plain(data)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether a JPEG (ITU-T T.81, annex B) has only listed segments, and ends where its image ends."""
    position, find = 2, MARKER.match
    while found := find(data, position):
        marker, position = found[1][0], found.end()
        if marker == EOI:
            return position == len(data)
        name = APPLICATION_PARTS.get(marker)
        if marker not in JPEG_PARTS and (name is None or not data.startswith(name, position + 2)):
            return False
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
        find = MARKER.search if marker == SOS else MARKER.match
    return False


def _is_plain_png(data: bytes) -> bool:
    """Return whether a PNG has only listed chunks, and ends with the last."""
    position = 8
    while (name := data[position + 4 : position + 8]) in PNG_PARTS:
        position += 12 + int.from_bytes(data[position : position + 4], "big")
        if name == b"IEND":
            return position == len(data)
    return False


def _is_plain_webp(data: bytes) -> bool:
    """Return whether a WebP (RFC 9649) has only listed chunks, and ends with the last; odd ones are padded."""
    position = 12
    while data[position : position + 4] in WEBP_PARTS:
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return position == len(data) == 8 + int.from_bytes(data[4:8], "little")
