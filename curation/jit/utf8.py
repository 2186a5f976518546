"""UTF-8 of Arrow arrays, to code points and back, in compiled loops; nothing outside a text is ever read."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from curation.jit.compiler import Bytes, Codes, Int, Offsets, inlined

BLANK: Final = 0x20
_OUTSIDE: Final = 0xFFFD  # what broken UTF-8 is read as


def string_buffers(texts: pa.Array) -> tuple[Bytes, Offsets]:
    """Return the UTF-8 bytes of a string array and where each string begins (and the last ends), without a copy."""
    wide = pa.types.is_large_string(texts.type)
    _, places, data = texts.buffers()
    kind = np.dtype(np.int64 if wide else np.int32)
    if not len(texts):
        return np.frombuffer(b"", np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(places, kind, len(texts) + 1, texts.offset * kind.itemsize).astype(np.int64)
    return np.frombuffer(data if data is not None else b"", np.uint8), offsets


@inlined
def next_code(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the code point at a place and the place behind it, which is at most `end`."""
    code = np.uint32(data[at])
    at += 1
    if code < 0x80:
        return code, at
    more = 1 if code < 0xE0 else 2 if code < 0xF0 else 3
    if code < 0xC0 or at + more > end:
        return np.uint32(_OUTSIDE), at
    code = np.uint32(code & (0x3F >> more))
    for _ in range(more):
        code = np.uint32(code << 6 | data[at] & 0x3F)
        at += 1
    return (code if code < 0x110000 else np.uint32(_OUTSIDE)), at


@inlined
def decode(data: Bytes, start: Int, end: Int, codes: Codes) -> Int:
    """Write the code points of `data[start:end]` and return their number; nothing outside is read."""
    size = 0
    at = start
    while at < end:
        codes[size], at = next_code(data, at, end)
        size += 1
    return size


@inlined
def encode(code: Int, data: Bytes, place: Int) -> Int:
    """Write one code point as UTF-8 and return where the next one goes."""
    if code < 0x80:
        data[place] = np.uint8(code)
        return place + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    lead = 0xC0 if more == 1 else 0xE0 if more == 2 else 0xF0
    data[place] = np.uint8(lead | code >> 6 * more)
    for step in range(more - 1, -1, -1):
        place += 1
        data[place] = np.uint8(0x80 | (code >> 6 * step & 0x3F))
    return place + 1
