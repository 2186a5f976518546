"""Convert the UTF-8 of Arrow string arrays to code points and back, in compiled loops.

Invalid UTF-8 is decoded to U+FFFD. No byte outside the given range is ever read.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from curation.jit.compiler import Bytes, Codes, Int, Offsets, jit_inline

BLANK: Final = 0x20
_REPLACEMENT: Final = 0xFFFD  # replaces invalid UTF-8


def string_buffers(texts: pa.Array) -> tuple[Bytes, Offsets]:
    """Return the UTF-8 bytes of a string array, not copied, and the start of each string with the end of the last."""
    wide = pa.types.is_large_string(texts.type)
    _, stored_offsets, data = texts.buffers()
    dtype = np.dtype(np.int64 if wide else np.int32)
    if not len(texts):
        return np.frombuffer(b"", np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(stored_offsets, dtype, len(texts) + 1, texts.offset * dtype.itemsize).astype(np.int64)
    return np.frombuffer(data if data is not None else b"", np.uint8), offsets


@jit_inline
def next_code(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the code point that starts at an offset and the offset after it, which is at most `end`."""
    code = np.uint32(data[at])
    at += 1
    if code < 0x80:
        return code, at
    continuation_bytes = 1 if code < 0xE0 else 2 if code < 0xF0 else 3
    if code < 0xC0 or at + continuation_bytes > end:
        return np.uint32(_REPLACEMENT), at
    code = np.uint32(code & (0x3F >> continuation_bytes))
    for _ in range(continuation_bytes):
        code = np.uint32(code << 6 | data[at] & 0x3F)
        at += 1
    return (code if code < 0x110000 else np.uint32(_REPLACEMENT)), at


@jit_inline
def decode(data: Bytes, start: Int, end: Int, codes: Codes) -> Int:
    """Write the code points of `data[start:end]` to `codes` and return their number."""
    size = 0
    at = start
    while at < end:
        codes[size], at = next_code(data, at, end)
        size += 1
    return size


@jit_inline
def encode(code: Int, data: Bytes, at: Int) -> Int:
    """Write one code point as UTF-8 to `data` from `at` on and return the offset after it."""
    if code < 0x80:
        data[at] = np.uint8(code)
        return at + 1
    continuation_bytes = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    lead = 0xC0 if continuation_bytes == 1 else 0xE0 if continuation_bytes == 2 else 0xF0
    data[at] = np.uint8(lead | code >> 6 * continuation_bytes)
    for step in range(continuation_bytes - 1, -1, -1):
        at += 1
        data[at] = np.uint8(0x80 | (code >> 6 * step & 0x3F))
    return at + 1
