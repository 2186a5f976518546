"""Reading gzip files that may be damaged: every byte up to the damage, then one clear error.

A gzip file is a row of members, in a crawl one per record. What a damaged file still holds is worth keeping, so the
reader says how far its data may be trusted instead of failing as a whole.
"""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from typing import Any, BinaryIO

MAGIC = b"\x1f\x8b"
GZIP_WINDOW = zlib.MAX_WBITS | 16
BLOCK = 4 << 20  # bytes a read asks of the stream: on object stores each is a request
TAIL = 4  # bytes, the length of a WARC record's end
FEED = 16 << 10  # bytes given to zlib at once: what follows the end of a member is copied


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
        self._consumed = 0
        self.gzipped = bytes(self._block[:2]) == MAGIC
        self._inflater: Any = None
        self._input = b""
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
        data = self._inflate(size) if self.gzipped else self._take(size)
        self._position += len(data)
        self.tail = (self.tail + data)[-TAIL:]
        if not self.gzipped:
            self.trusted = self._position
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer, for `io.BufferedReader`; return the number of bytes. Raises DamagedError."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _take(self, size: int) -> bytes:
        """Return up to `size` bytes of the stream, none at its end."""
        if not self._block:
            self._block = memoryview(self._stream.read(BLOCK))
        data, self._block = bytes(self._block[:size]), self._block[size:]
        self._consumed += len(data)
        return data

    def _inflate(self, size: int) -> bytes:
        """Return up to `size` decompressed bytes, none at the end. Raises DamagedError."""
        while True:
            if self._damage:
                raise self._damage
            if (self._inflater is None or self._inflater.eof) and not self._next_member():
                return b""
            self._input = self._input or self._take(FEED)
            if not self._input:
                self.trusted = self._position
                self._damage = DamagedError(f"gzip data end early, after {self._consumed} bytes")
                continue
            before = self._inflater.copy()
            try:
                data = self._inflater.decompress(self._input, size)
            except zlib.error as error:
                self._damage = DamagedError(f"gzip data are corrupt before byte {self._consumed}: {error}")
                data = _inflate_until_error(before, self._input)
            else:
                self._input = self._inflater.unused_data or self._inflater.unconsumed_tail
                if self._inflater.eof:
                    self.trusted = self._position + len(data)
            if data:
                return bytes(data)

    def _next_member(self) -> bool:
        """Start on the next member; False at the end of the file. Zero bytes between members are padding."""
        self._input = self._input.lstrip(b"\0")
        while not self._input:
            block = self._take(FEED)
            if not block:
                return False
            self._input = block.lstrip(b"\0")
        self._inflater = zlib.decompressobj(GZIP_WINDOW)
        return True


def _inflate_until_error(inflater: Any, data: bytes) -> bytes:
    """Return what damaged data give before the inflater refuses them: fed byte by byte, as refusal gives nothing."""
    found = bytearray()
    with suppress(zlib.error):
        for i in range(len(data)):
            found += inflater.decompress(data[i : i + 1])
    return bytes(found)
