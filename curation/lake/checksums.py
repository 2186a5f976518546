"""Checksums of a data file, stored in the file itself, between its rows and its Parquet footer.

    "PAR1", the rows as pages                                     what Parquet readers read by offset
    CRC-32 of every block of 256 KiB of the bytes above           4 bytes each
    size of the bytes above · CRC-32 of the rest of the file · CRC-32 of this section · MARK
    the footer, its length, "PAR1"                                what Parquet readers read first

Other readers skip the section, because a footer refers to its pages by offset. The page checksums of the Parquet format
cover neither the headers of pages nor the footer; these checksums cover every byte that a reader uses. They need no
other file and no table log, so whoever knows the path of a file can check what it reads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from operator import eq
from typing import Final

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32

BLOCK_BYTES: Final = 256 << 10
MARK: Final = b"\x93worldcurate\r\n\x1a\n"
_LENGTH: Final = struct.Struct("<I4s")  # the last bytes of a Parquet file: length of the footer, mark
_SIZES: Final = struct.Struct("<QI")  # size of the rows, checksum of the footer
_CRC: Final = struct.Struct("<I")
_END_BYTES: Final = _SIZES.size + _CRC.size + len(MARK)  # of the section, after the checksums of the blocks

Bytes = bytes | bytearray | memoryview
Sums = npt.NDArray[np.uint32]


class BlockSums:
    """Computes the checksums of the blocks of a stream of bytes."""

    def __init__(self) -> None:
        self.size = 0
        self._sums: list[int] = []
        self._crc = 0

    def update(self, data: Bytes) -> None:
        """Add the next bytes."""
        view = memoryview(data).cast("B")
        while len(view):
            part = view[: BLOCK_BYTES - self.size % BLOCK_BYTES]
            self._crc = crc32(part, self._crc)
            self.size += len(part)
            if self.size % BLOCK_BYTES == 0:
                self._sums.append(self._crc)
                self._crc = 0
            view = view[len(part) :]

    def section(self, footer: Bytes) -> bytes:
        """Return the section of a file with these rows and this footer, which extends to the end of the file."""
        sums = [*self._sums, self._crc] if self.size % BLOCK_BYTES else self._sums
        covered = np.array(sums, "<u4").tobytes() + _SIZES.pack(self.size, crc32(footer))
        return covered + _CRC.pack(crc32(covered)) + MARK


@dataclass(frozen=True)
class FileSums:
    """The checksums of one data file: those of its blocks, the size of its rows, and that of its footer."""

    blocks: Sums
    rows_size: int
    footer: int

    @classmethod
    def parse(cls, tail: Bytes, size: int) -> FileSums | None:
        """Return the checksums of a file of `size` bytes; None if it was written without any.

        `tail` are the last bytes of the file, `tail_size` of them. Raises ValueError if they are damaged.
        """
        view = memoryview(tail)
        end = len(view) - footer_size(view)
        mark = bytes(view[max(0, end - len(MARK)) : end])
        if end == len(view) or mark != MARK:
            if MARK in bytes(view):
                raise ValueError("its last bytes do not give the place of its footer")
            if sum(map(eq, mark, MARK)) > len(MARK) // 2:
                raise ValueError("the mark of its checksums has changed")
            return None
        own_crc = end - len(MARK) - _CRC.size
        rows_size, footer = _SIZES.unpack_from(view, own_crc - _SIZES.size)
        start = end - _END_BYTES - 4 * block_count(rows_size)
        if start < 0 or len(view) - start != size - rows_size:
            raise ValueError("it does not have the size with which it was written")
        if crc32(view[start:own_crc]) != _CRC.unpack_from(view, own_crc)[0]:
            raise ValueError("its list of checksums does not match its own checksum")
        if crc32(view[end:]) != footer:
            raise ValueError("its footer does not match its checksum")
        return cls(np.frombuffer(view, "<u4", block_count(rows_size), start), rows_size, footer)

    def check(self, offset: int, data: Bytes) -> None:
        """Raise ValueError unless the blocks from `offset` on, where a block starts, match their checksums."""
        view = memoryview(data)
        for start in range(0, len(view), BLOCK_BYTES):
            if crc32(view[start : start + BLOCK_BYTES]) != self.blocks[(offset + start) // BLOCK_BYTES]:
                raise ValueError(f"its block at byte {offset + start} does not match its checksum")


def footer_size(tail: Bytes) -> int:
    """Return the size of a Parquet footer, with its length and mark, from a file's last bytes; 0 if there is none."""
    if len(tail) < _LENGTH.size:
        return 0
    length, mark = _LENGTH.unpack(bytes(tail[-_LENGTH.size :]))
    return length + _LENGTH.size if mark == b"PAR1" and length + _LENGTH.size <= len(tail) else 0


def tail_size(end: Bytes, size: int) -> int:
    """Return how many of the last bytes of a file of `size` bytes hold its section and footer.

    `end` are the last bytes of the file, at least eight if it has as many.
    """
    length = _LENGTH.unpack(bytes(end[-_LENGTH.size :]))[0] if len(end) >= _LENGTH.size else 0
    return min(size, length + _LENGTH.size + _END_BYTES + 4 * block_count(size))


def block_count(size: int) -> int:
    """Return the number of blocks in this many bytes."""
    return -(-size // BLOCK_BYTES)
