"""Read gzip files that may be damaged: every byte before the damage, then one clear error.

A gzip file is a sequence of members, in a crawl one per record. The readable part of a damaged file is worth keeping,
so the reader reports how many of its bytes can be trusted instead of rejecting the file.

Two inflaters share the work. ISA-L is about twice as fast as zlib, but on an error it loses the bytes it has inflated,
and its state cannot be copied; zlib can be fed byte by byte. So each member starts with ISA-L and its compressed bytes
stay in the block. A member that is damaged, or too long to hold, is inflated again with zlib, which alone decides
whether it is damaged.
"""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from typing import Any, BinaryIO

from isal import isal_zlib

MAGIC = b"\x1f\x8b"
GZIP_WINDOW = zlib.MAX_WBITS | 16
BLOCK = 4 << 20  # bytes requested from the stream at once
TAIL = 4  # bytes: the length of the end of a WARC record
FEED = 16 << 10  # bytes inflated at once: those after the end of a member are copied
REPLAY = 1 << 20  # compressed bytes of a member that are held for zlib


class DamagedError(OSError):
    """The data of an input file ends early or fails its checksum."""


class GzipStream(io.RawIOBase):
    """The decompressed bytes of an open binary file; a file that is not gzip passes through unchanged.

    `trusted` counts the decompressed bytes without a known defect: those of members with a correct checksum, and all
    bytes before the end of a truncated or uncompressed file. `tail` holds the last few bytes returned. `read` raises
    DamagedError after it has returned everything before the damage. The constructor reads the first block and passes
    on the errors of the stream.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._block = memoryview(stream.read(BLOCK))
        self._at = 0  # index in the block of the next byte to inflate
        self._before = 0  # bytes of the file before the block
        self.gzipped = bytes(self._block[:2]) == MAGIC
        self._inflater: Any = None
        self._fast = False  # whether the inflater is ISA-L's; if so, its member stays in the block
        self._member_at = 0  # index in the block of the member's first byte
        self._member_position = 0  # decompressed bytes before the member
        self._skip = 0  # bytes of the member that were returned before zlib restarted it
        self._damage: DamagedError | None = None
        self._position = 0
        self.tail = b""
        self.trusted = 0

    def readable(self) -> bool:
        """Return True: this is a stream to read from."""
        return True

    def tell(self) -> int:
        """Return the number of bytes returned so far."""
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Return at least one and at most `size` bytes, none at the end. Raises DamagedError."""
        if size < 0:
            return self.readall()
        if size == 0:
            return b""
        data = self._inflate(size) if self.gzipped else self._plain(size)
        self._position += len(data)
        self.tail = data[-TAIL:] if len(data) >= TAIL else (self.tail + data)[-TAIL:]
        if not self.gzipped:
            self.trusted = self._position
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer, for `io.BufferedReader`; return the number of bytes. Raises DamagedError."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _plain(self, size: int) -> bytes:
        """Return up to `size` bytes of the file unchanged, none at its end."""
        data = bytes(self._block[self._at : self._at + size]) if self._fill_block() else b""
        self._at += len(data)
        return data

    def _fill_block(self) -> bool:
        """Read the next block after the end of this one; False at the end of the file. Keep ISA-L's member."""
        if self._at == len(self._block):
            first = self._member_at if self._fast else self._at
            carried = self._block[first:]
            self._block = memoryview(b"".join((carried, self._stream.read(BLOCK))))
            self._before, self._member_at, self._at = self._before + first, 0, len(carried)
        return self._at < len(self._block)

    def _inflate(self, size: int) -> bytes:
        """Return up to `size` decompressed bytes, none at the end. Raises DamagedError."""
        while True:
            if self._damage:
                raise self._damage
            if (self._inflater is None or self._inflater.eof) and not self._next_member():
                return b""
            if self._fast and self._at - self._member_at > REPLAY:
                self._restart_member()
            if not self._fill_block():
                if self._fast:
                    self._restart_member()
                    continue
                self.trusted = self._position
                self._damage = DamagedError(f"gzip data ends early, after {self._before + self._at} bytes")
                continue
            data = self._inflate_fast(size) if self._fast else self._inflate_slowly(size)
            if self._skip:
                data, self._skip = data[self._skip :], max(0, self._skip - len(data))
            if self._inflater.eof:
                self._fast = False
                self.trusted = self._position + len(data)
            if data:
                return data

    def _inflate_fast(self, size: int) -> bytes:
        piece = self._block[self._at : self._at + FEED]
        try:
            data = self._inflater.decompress(piece, size)
        except isal_zlib.error:  # type: ignore[misc]  # its stub does not declare it as an exception
            self._restart_member()
            return b""
        self._at += len(piece) - len(self._inflater.unused_data or self._inflater.unconsumed_tail)
        return bytes(data)

    def _inflate_slowly(self, size: int) -> bytes:
        piece = self._block[self._at : self._at + FEED]
        before = self._inflater.copy()
        try:
            data = self._inflater.decompress(piece, size)
        except zlib.error as error:
            end = self._before + self._at + len(piece)
            self._damage = DamagedError(f"gzip data is corrupt before byte {end}: {error}")
            return _inflate_until_error(before, bytes(piece))
        self._at += len(piece) - len(self._inflater.unused_data or self._inflater.unconsumed_tail)
        return bytes(data)

    def _restart_member(self) -> None:
        """Inflate the member again with zlib, from its first byte."""
        self._inflater, self._fast = zlib.decompressobj(GZIP_WINDOW), False
        self._at, self._skip = self._member_at, self._position - self._member_position

    def _next_member(self) -> bool:
        """Start the next member; False at the end of the file. Zero bytes between members are padding."""
        while self._fill_block() and not self._block[self._at]:
            piece = bytes(self._block[self._at : self._at + FEED])
            self._at += len(piece) - len(piece.lstrip(b"\0"))
        if not self._fill_block():
            return False
        self._inflater, self._fast = isal_zlib.decompressobj(GZIP_WINDOW), True
        self._member_at, self._member_position, self._skip = self._at, self._position, 0
        return True


def _inflate_until_error(inflater: Any, data: bytes) -> bytes:
    """Return the bytes that can be inflated before the damage; feed single bytes, since a failed call returns none."""
    inflated = bytearray()
    with suppress(zlib.error):
        for i in range(len(data)):
            inflated += inflater.decompress(data[i : i + 1])
    return bytes(inflated)
