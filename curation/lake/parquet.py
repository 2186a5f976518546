"""Writes the data files of one partition, with bounded row groups and files, and equal bytes for equal rows.

Files contain checksums of their pages, which every Parquet reader can verify, and of all their bytes (see
`curation.lake.checksums`). They are on disk when a writer returns them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from isal.isal_zlib import crc32

from curation.io.failures import full_storage_named
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.checksums import BlockSums, footer_size
from curation.lake.files import WrittenFile
from curation.lake.layout import data_file_name

ROW_GROUP_BYTES = 32 << 20
FILE_BYTES = 256 << 20


class PartitionWriter:
    """Writes tables as `<table>/<folder>/<ordinal>.<part>-<uuid>.parquet`, starting a new part when a file is full.

    Names sort by ordinal, then by row. Each file gets a fresh uuid, so a retried task never touches another's file. Row
    groups are cut at 32 MiB of Arrow data and files at `file_bytes` written, so the cuts depend on the rows alone.

    Args:
        storage: where to write.
        root: location of the table.
        folder: folder below it; its last part is the run id.
        ordinal: position of these rows among all work units of the partition.
        schema: schema of the files.
        file_bytes: size at which a new file starts.
    """

    def __init__(
        self,
        storage: Storage,
        root: str,
        folder: str,
        ordinal: int,
        schema: pa.Schema,
        *,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self._storage = storage
        self._root = root
        self._folder = folder
        self._ordinal = ordinal
        self._schema = schema
        self._file_bytes = file_bytes
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._file: _OpenFile | None = None
        self.files: list[WrittenFile] = []

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        table = table.select(self._schema.names).cast(self._schema)
        for part in _split(table, ROW_GROUP_BYTES):
            if self._pending and self._pending_bytes + part.nbytes > ROW_GROUP_BYTES:
                self._flush()
            self._pending.append(part)
            self._pending_bytes += part.nbytes

    def write_row_group(self, table: pa.Table) -> None:
        """Append rows as one row group, whatever their size."""
        self._pending.append(table.select(self._schema.names).cast(self._schema))
        self._flush()

    def close(self) -> list[WrittenFile]:
        """Finish the last file and return all files; without rows, one empty file."""
        if self._pending or not (self.files or self._file):
            self._flush()
        self._end_file()
        return self.files

    def _flush(self) -> None:
        rows = pa.concat_tables(self._pending).combine_chunks() if self._pending else self._schema.empty_table()
        self._pending, self._pending_bytes = [], 0
        if self._file is None:
            name = data_file_name(self._ordinal, len(self.files), uuid.uuid4().hex)
            self._file = _OpenFile(self._storage, self._root, f"{self._folder}/{name}", self._schema)
        self._file.write(rows)
        if self._file.size >= self._file_bytes:
            self._end_file()

    def _end_file(self) -> None:
        if self._file is not None:
            self.files.append(self._file.close())
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()


class _OpenFile:
    """One Parquet file that is being written and hashed."""

    def __init__(self, storage: Storage, root: str, name: str, schema: pa.Schema) -> None:
        self._storage, self._name, self._path = storage, name, join(root, name)
        self._sink = _HashingSink(storage.open_output(self._path))
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            schema,
            compression="zstd",
            write_statistics=True,
            write_page_checksum=True,
        )
        self._rows = 0

    @property
    def size(self) -> int:
        return self._sink.size

    def write(self, rows: pa.Table) -> None:
        with full_storage_named(self._path):
            self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        self._rows += rows.num_rows

    def close(self) -> WrittenFile:
        with full_storage_named(self._path):
            self._sink.hold()
            self._writer.close()
            footer = self._sink.end()
        self._storage.sync(self._path)
        sink = self._sink
        return WrittenFile(self._name, sink.size, self._rows, sink.digest.hexdigest(), footer=f"{crc32(footer):08x}")


class _HashingSink:
    """A writable file that counts and hashes the bytes it passes on, and inserts the checksums before the footer."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._sums = BlockSums()
        self._held: bytearray | None = None
        self.size = 0
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: bytes) -> int:
        if self._held is not None:
            self._held += data
        else:
            self._sums.update(data)
            self._write(data)
        return len(data)

    def hold(self) -> None:
        """Hold what is written from now on, up to the footer, until `end`."""
        self._held = bytearray()

    def end(self) -> bytes:
        """Write what is held, with the checksums before the footer, and close the file; return the footer."""
        held, self._held = bytes(self._held or b""), None
        start = len(held) - footer_size(held)
        self.write(held[:start])
        footer = held[start:]
        self._write(self._sums.section(footer))
        self._write(footer)
        self.close()
        return footer

    def _write(self, data: bytes) -> None:
        self._sink.write(data)
        self.digest.update(data)
        self.size += len(data)

    def flush(self) -> None:
        self._sink.flush()

    def close(self) -> None:
        if not self.closed:
            self._sink.close()
            self.closed = True


def _split(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Yield a table in parts of at most `limit` bytes or one row, by halving it repeatedly."""
    if table.num_rows <= 1 or table.nbytes <= limit:
        if table.num_rows:
            yield table
        return
    middle = table.num_rows // 2
    yield from _split(table.slice(0, middle), limit)
    yield from _split(table.slice(middle), limit)
