"""Checksums of Arrow files that are kept for later runs, between their batches and their footer.

Readers find batches by offset, so they ignore the checksum. A kept file is compared with it before Arrow reads the
file, because Arrow may crash on damaged bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc

from curation.io.storage import Storage

CHUNK: Final = 4 << 20
_END: Final = struct.Struct("<i6s")  # the last bytes of an Arrow file: length of the footer, mark
_SECTION: Final = struct.Struct("<I4s")  # checksum of all other bytes, mark
_MARK: Final = b"WCcr"


@contextmanager
def write_kept(sink: Any, schema: pa.Schema, options: pa.ipc.IpcWriteOptions) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """Open a writer of an Arrow file that gets a checksum when the block ends."""
    summed = _SummedSink(sink)
    with pa.ipc.new_file(pa.PythonFile(summed, mode="w"), schema, options=options) as writer:
        yield writer
        summed.hold()
    summed.end()


def is_intact(storage: Storage, path: str) -> bool:
    """Return whether a kept file has the bytes with which it was written. Raises InputError if it cannot be read."""
    with storage.open_input(path) as source:
        size = source.size()
        source.seek(max(0, size - _END.size))
        end = source.read()
        footer = _footer_size(end)
        start = size - footer - _SECTION.size
        if not footer or start < 0:
            return False
        source.seek(0)
        crc = 0
        for offset in range(0, start, CHUNK):
            crc = zlib.crc32(source.read(min(CHUNK, start - offset)), crc)
        section, rest = source.read(_SECTION.size), source.read()
        return bool(_SECTION.unpack(section) == (zlib.crc32(rest, crc), _MARK))


def _footer_size(end: bytes) -> int:
    """Return the size of an Arrow footer, with its length and mark, from a file's last bytes; 0 if there is none."""
    length, mark = _END.unpack(end[-_END.size :]) if len(end) >= _END.size else (-1, b"")
    return length + _END.size if mark == b"ARROW1" and length >= 0 else 0


class _SummedSink:
    """A writable file that passes bytes on and inserts their checksum before the footer."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._crc = 0
        self._held: bytearray | None = None
        self.closed = False

    def write(self, data: bytes) -> int:
        if self._held is not None:
            self._held += data
        else:
            self._crc = zlib.crc32(data, self._crc)
            self._sink.write(data)
        return len(data)

    def hold(self) -> None:
        """Hold what is written from now on, up to the footer, until `end`."""
        self._held = bytearray()

    def end(self) -> None:
        """Write what is held, with the checksum before the footer."""
        held, self._held = bytes(self._held or b""), None
        start = len(held) - _footer_size(held)
        self._sink.write(held[:start] + _SECTION.pack(zlib.crc32(held, self._crc), _MARK) + held[start:])

    def flush(self) -> None:
        self._sink.flush()

    def close(self) -> None:
        self.closed = True  # whoever opened the sink closes it
