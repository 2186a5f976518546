"""The blocks of a bzip2 file from any place on, so that several tasks can read one file.

bzip2 compresses blocks of up to 900 kB by themselves; each begins with the same 48 bits, at any bit of any byte, and
carries a checksum. One block, with a stream's header before it and a stream's end behind it, is a bzip2 stream that the
standard library reads. It makes no difference whether a file is one stream, as `pages-articles`, or many, as
`pages-articles-multistream`: no index is needed.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import BinaryIO

from curation.errors import InputError

BLOCK, END = 0x314159265359, 0x177245385090  # the marks before a block, and before a stream's checksum
HEADER = int.from_bytes(b"BZh9")
BITS = 48
CHECKSUM = 32
READ = 1 << 20
MAX_BLOCK = 2 << 20  # compressed: what does not shrink grows by little

Mark = tuple[int, bool]  # a bit's place, and whether a block begins there


def blocks_from(stream: BinaryIO, start: int, path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks that begin at or after byte `start` of an open bzip2 file: where each begins, and its data.

    Raises InputError, naming the file, at a block that is damaged or cut off; those before it are yielded.
    """
    stream.seek(start)
    buffer, base = b"", start
    while True:
        data = stream.read(READ)
        buffer += data
        marks = list(_marks(buffer))
        begin = next((place for place, is_block in marks if is_block), None)
        used = 0
        while begin is not None:
            block, following = _block(buffer, begin, [mark for mark in marks if mark[0] > begin])
            if block is None:
                break
            yield base + begin // 8, block
            used = following
            begin = next((place for place, is_block in marks if is_block and place >= following), None)
        if begin is not None and (not data or len(buffer) - begin // 8 > 2 * MAX_BLOCK):
            raise InputError(
                f"cannot read {path} to its end: the block at byte {base + begin // 8} is cut off or damaged"
            )
        if not data:
            return
        # a mark may lie across the end of the buffer
        keep = begin // 8 if begin is not None else max(used // 8, len(buffer) - BITS // 8)
        buffer, base = buffer[keep:], base + keep


def _marks(buffer: bytes) -> Iterator[Mark]:
    """Yield all marks in their order. Five of a mark's bytes are whole, however it is shifted."""
    found = []
    for mark, is_block in ((BLOCK, True), (END, False)):
        for shift in range(8):
            bits = (mark << (8 - shift)).to_bytes(7)  # the first byte holds `shift` bits of what is before the mark
            whole = bits[1:6]
            at = buffer.find(whole, 1)
            while at >= 0:
                around = int.from_bytes(buffer[at - 1 : at + 6].ljust(7, b"\0"))
                if (around >> (8 - shift)) & ((1 << BITS) - 1) == mark and at + 5 + bool(shift) <= len(buffer):
                    found.append(((at - 1) * 8 + shift, is_block))
                at = buffer.find(whole, at + 1)
    return iter(sorted(found))


def _block(buffer: bytes, begin: int, marks: list[Mark]) -> tuple[bytes | None, int]:
    """Return the data of the block that begins at a bit, and the bit behind it; None while its end is not in sight.

    The bits of a mark may also stand inside a block, by chance: then the block ends at a later mark.
    """
    for end, _ in marks:
        if end - begin > MAX_BLOCK * 8:
            break
        bits = int.from_bytes(buffer[begin // 8 : -(-end // 8)]) >> (-end % 8) & ((1 << (end - begin)) - 1)
        checksum = (bits >> (end - begin - BITS - CHECKSUM)) & ((1 << CHECKSUM) - 1) if end - begin > 80 else 0
        size = 32 + (end - begin) + BITS + CHECKSUM
        whole = ((((HEADER << (end - begin)) | bits) << BITS | END) << CHECKSUM) | checksum
        try:
            return bz2.decompress((whole << (-size % 8)).to_bytes(-(-size // 8))), end
        except (OSError, ValueError):
            continue
    return None, begin
