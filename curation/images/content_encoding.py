"""Unpacks response bodies that are compressed although the request asked for plain ones."""

from __future__ import annotations

import zlib

from curation.images.failures import FetchError

MAX_RATIO = 64  # unpacked bytes per received byte; images are compressed already
FREE_BYTES = 64 << 10  # unpacked bytes of any ratio
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # recognizes either header


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the content of a body with this Content-Encoding (RFC 9110, section 8.4.1): gzip, deflate or none.

    Raises FetchError: `content_encoding` for any other encoding, for several of them and for damaged bodies,
    `too_large` above `max_bytes`, `encoding_bomb` above `MAX_RATIO` times the received bytes.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return body
    if name not in {"gzip", "x-gzip", "deflate"}:
        raise FetchError("content_encoding")
    allowed = max(FREE_BYTES, MAX_RATIO * len(body))
    raw = name == "deflate" and not _has_zlib_header(body)  # some servers send deflate without its header
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if raw else GZIP_OR_ZLIB)
    try:
        content = unpacker.decompress(body, min(allowed, max_bytes) + 1)
    except zlib.error as error:
        raise FetchError("content_encoding") from error
    if len(content) > max_bytes:
        raise FetchError("too_large")
    if len(content) > allowed:
        raise FetchError("encoding_bomb")
    if not unpacker.eof:
        raise FetchError("content_encoding")
    return content


def _has_zlib_header(body: bytes) -> bool:
    """Return whether bytes start with a zlib header (RFC 1950, section 2.2)."""
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
