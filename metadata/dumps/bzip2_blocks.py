"""Read the blocks of a bzip2 file from any offset, so that several tasks can read one file.

bzip2 compresses blocks of up to 900 kB independently. Each block starts with the same 48 bits, at any bit of any byte,
and has a checksum. One block between a stream header and a stream end is a bzip2 stream that the standard library
reads. A file may be one stream, such as `pages-articles`, or many, such as `pages-articles-multistream`; no index is
needed.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import BinaryIO

from curation.errors import InputError

BLOCK, END = 0x314159265359, 0x177245385090  # the marks before a block and before the checksum of a stream
HEADER = int.from_bytes(b"BZh9")
BITS = 48
CHECKSUM = 32
READ = 1 << 20
MAX_BLOCK = 2 << 20  # compressed; incompressible data grows by little

Mark = tuple[int, bool]  # the offset of a mark in bits, and whether a block starts there


def iter_blocks(stream: BinaryIO, start: int, path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks that start at or after byte `start` of an open bzip2 file: the offset and data of each.

    Raises InputError, which names the file, at a damaged or truncated block, after yielding the blocks before it.
    """
    stream.seek(start)
    buffer, base = b"", start
    while True:
        data = stream.read(READ)
        buffer += data
        marks = list(_marks(buffer))
        first = next((bit for bit, is_block in marks if is_block), None)
        used = 0
        while first is not None:
            block, end = _block(buffer, first, [mark for mark in marks if mark[0] > first])
            if block is None:
                break
            yield base + first // 8, block
            used = end
            first = next((bit for bit, is_block in marks if is_block and bit >= end), None)
        if first is not None and (not data or len(buffer) - first // 8 > 2 * MAX_BLOCK):
            raise InputError(
                f"cannot read {path} to its end: the block at byte {base + first // 8} is truncated or damaged"
            )
        if not data:
            return
        # the end of the buffer may split a mark
        keep = first // 8 if first is not None else max(used // 8, len(buffer) - BITS // 8)
        buffer, base = buffer[keep:], base + keep


def _marks(buffer: bytes) -> Iterator[Mark]:
    """Yield all marks by offset. At every shift, five bytes of a mark are whole bytes, so `bytes.find` can search."""
    found = []
    for mark, is_block in ((BLOCK, True), (END, False)):
        for shift in range(8):
            bits = (mark << (8 - shift)).to_bytes(7)  # the first `shift` bits precede the mark
            whole = bits[1:6]
            at = buffer.find(whole, 1)
            while at >= 0:
                around = int.from_bytes(buffer[at - 1 : at + 6].ljust(7, b"\0"))
                if (around >> (8 - shift)) & ((1 << BITS) - 1) == mark and at + 5 + bool(shift) <= len(buffer):
                    found.append(((at - 1) * 8 + shift, is_block))
                at = buffer.find(whole, at + 1)
    return iter(sorted(found))


def _block(buffer: bytes, start: int, marks: list[Mark]) -> tuple[bytes | None, int]:
    """Return the data of the block that starts at a bit, and the bit after it; None if its end is not in the buffer.

    The bits of a mark may occur inside a block by chance; the block then ends at a later mark.
    """
    for end, _ in marks:
        if end - start > MAX_BLOCK * 8:
            break
        bits = int.from_bytes(buffer[start // 8 : -(-end // 8)]) >> (-end % 8) & ((1 << (end - start)) - 1)
        checksum = (bits >> (end - start - BITS - CHECKSUM)) & ((1 << CHECKSUM) - 1) if end - start > 80 else 0
        size = 32 + (end - start) + BITS + CHECKSUM
        whole = ((((HEADER << (end - start)) | bits) << BITS | END) << CHECKSUM) | checksum
        try:
            return bz2.decompress((whole << (-size % 8)).to_bytes(-(-size // 8))), end
        except (OSError, ValueError):
            continue
    return None, start
