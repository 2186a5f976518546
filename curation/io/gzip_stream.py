"""Reading gzip files that may be damaged: every byte up to the damage, then one clear error.

A gzip file is a row of members, in a crawl one per record. What a damaged file still holds is worth keeping, so the
reader says how far its data may be trusted instead of failing as a whole.

Two inflaters share the work. ISA-L is about twice as fast as zlib but keeps nothing of what it inflated before an
error, and cannot be copied; zlib can be fed byte by byte. So members begin with ISA-L, their compressed bytes stay in
the block, and a member that is damaged, or too long to keep, is done again with zlib, which alone decides what damage
is.
"""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from typing import Any, BinaryIO

from isal import isal_zlib

MAGIC = b"\x1f\x8b"
GZIP_WINDOW = zlib.MAX_WBITS | 16
BLOCK = 4 << 20  # bytes a read asks of the stream: on object stores each is a request
TAIL = 4  # bytes, the length of a WARC record's end
FEED = 16 << 10  # bytes inflated at once: what follows the end of a member is copied
REPLAY = 1 << 20  # compressed bytes of a member kept for zlib


class DamagedError(OSError):
    """The data of an input file end early or fail their check."""


class Gunzip(io.RawIOBase):
    """The decompressed bytes of an open binary file; a file that is not gzip passes through as it is.

    `trusted` counts the decompressed bytes that nothing speaks against: those of members whose checksum held, and all
    that came before the end of a truncated or uncompressed file. `tail` holds the last few bytes given out. `read`
    raises DamagedError once everything before the damage has been given out. The constructor reads the first block
    and raises what the stream raises.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._block = memoryview(stream.read(BLOCK))
        self._at = 0  # place in the block of the next byte to inflate
        self._before = 0  # bytes of the file before the block
        self.gzipped = bytes(self._block[:2]) == MAGIC
        self._inflater: Any = None
        self._fast = False  # whether the inflater is ISA-L's, whose member stays in the block
        self._member = 0  # place in the block where the member began
        self._began = 0  # position at which it began
        self._skip = 0  # bytes of the member given out before zlib began it again
        self._damage: DamagedError | None = None
        self._position = 0
        self.tail = b""
        self.trusted = 0

    def readable(self) -> bool:
        """Return True: this is a stream to read from."""
        return True

    def tell(self) -> int:
        """Return the number of bytes given out so far."""
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
        """Return up to `size` bytes of the file as they are, none at its end."""
        data = bytes(self._block[self._at : self._at + size]) if self._more() else b""
        self._at += len(data)
        return data

    def _more(self) -> bool:
        """Have bytes of the file in the block; False at its end. A member in ISA-L's hands stays in the block."""
        if self._at == len(self._block):
            first = self._member if self._fast else self._at
            kept = self._block[first:]
            self._block = memoryview(b"".join((kept, self._stream.read(BLOCK))))
            self._before, self._member, self._at = self._before + first, 0, len(kept)
        return self._at < len(self._block)

    def _inflate(self, size: int) -> bytes:
        """Return up to `size` decompressed bytes, none at the end. Raises DamagedError."""
        while True:
            if self._damage:
                raise self._damage
            if (self._inflater is None or self._inflater.eof) and not self._next_member():
                return b""
            if self._fast and self._at - self._member > REPLAY:
                self._begin_again()
            if not self._more():
                if self._fast:
                    self._begin_again()
                    continue
                self.trusted = self._position
                self._damage = DamagedError(f"gzip data end early, after {self._before + self._at} bytes")
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
        except isal_zlib.error:  # type: ignore[misc]  # an exception, which its stub does not say
            self._begin_again()
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
            self._damage = DamagedError(f"gzip data are corrupt before byte {end}: {error}")
            return _inflate_until_error(before, bytes(piece))
        self._at += len(piece) - len(self._inflater.unused_data or self._inflater.unconsumed_tail)
        return bytes(data)

    def _begin_again(self) -> None:
        """Inflate the member again, with zlib, from its first byte."""
        self._inflater, self._fast = zlib.decompressobj(GZIP_WINDOW), False
        self._at, self._skip = self._member, self._position - self._began

    def _next_member(self) -> bool:
        """Start on the next member; False at the end of the file. Zero bytes between members are padding."""
        while self._more() and not self._block[self._at]:
            piece = bytes(self._block[self._at : self._at + FEED])
            self._at += len(piece) - len(piece.lstrip(b"\0"))
        if not self._more():
            return False
        self._inflater, self._fast = isal_zlib.decompressobj(GZIP_WINDOW), True
        self._member, self._began, self._skip = self._at, self._position, 0
        return True


def _inflate_until_error(inflater: Any, data: bytes) -> bytes:
    """Return what damaged data give before the inflater refuses them: fed byte by byte, as refusal gives nothing."""
    found = bytearray()
    with suppress(zlib.error):
        for i in range(len(data)):
            found += inflater.decompress(data[i : i + 1])
    return bytes(found)
