"""Writing the data files of one partition: bounded row groups and files, the same bytes for the same rows."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.io.storage import Storage, join
from curation.lake.lake import WrittenFile
from curation.lake.layout import data_file_name

ROW_GROUP_BYTES = 32 << 20
FILE_BYTES = 256 << 20


class PartitionWriter:
    """Writes tables as `<table>/<folder>/<ordinal>.<part>-<uuid>.parquet`, a new part when a file is full.

    Names sort in the order of ordinals and rows, and a fresh uuid keeps a retried task from touching another's file.
    Row groups are cut at 32 MiB of Arrow data, files at `file_bytes` written, so the cuts depend on the rows alone.

    Args:
        storage: where to write.
        root: location of the table.
        folder: folder below it; its last part is the run id.
        ordinal: place of these rows among all units of the partition.
        schema: schema of the files.
        file_bytes: size at which a new file begins.
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
        """Add rows. Their order is kept."""
        table = table.select(self._schema.names).cast(self._schema)
        for piece in _pieces(table, ROW_GROUP_BYTES):
            if self._pending and self._pending_bytes + piece.nbytes > ROW_GROUP_BYTES:
                self._flush()
            self._pending.append(piece)
            self._pending_bytes += piece.nbytes

    def close(self) -> list[WrittenFile]:
        """Finish the last file and return all; without rows, one file that holds none."""
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
    """One Parquet file being written; hashes the bytes on their way."""

    def __init__(self, storage: Storage, root: str, name: str, schema: pa.Schema) -> None:
        self._name = name
        self._sink = _HashingSink(storage.open_output(join(root, name)))
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"), schema, compression="zstd", write_statistics=True
        )
        self._rows = 0

    @property
    def size(self) -> int:
        return self._sink.size

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        self._rows += rows.num_rows

    def close(self) -> WrittenFile:
        self._writer.close()
        self._sink.close()
        return WrittenFile(self._name, self._sink.size, self._rows, self._sink.digest.hexdigest())


class _HashingSink:
    """A writable file that counts and hashes what passes through."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.size = 0
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: bytes) -> int:
        self._sink.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._sink.flush()

    def close(self) -> None:
        if not self.closed:
            self._sink.close()
            self.closed = True


def _pieces(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Halve a table until every piece is within `limit` bytes or one row."""
    if table.num_rows <= 1 or table.nbytes <= limit:
        if table.num_rows:
            yield table
        return
    middle = table.num_rows // 2
    yield from _pieces(table.slice(0, middle), limit)
    yield from _pieces(table.slice(middle), limit)


def read_batches(
    storage: Storage, path: str, columns: list[str] | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Yield a data file's rows in order, a few thousand at a time, one row group in memory."""
    with storage.open_input(path) as source:
        yield from pq.ParquetFile(source).iter_batches(batch_size=rows, columns=columns)


def read_rows(storage: Storage, path: str, start: int, stop: int, columns: list[str] | None = None) -> pa.Table:
    """Return rows `start` to `stop` of a data file, reading only the row groups that hold them."""
    with storage.open_input(path) as source:
        file = pq.ParquetFile(source)
        first, groups, before = None, [], 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if before < stop and before + rows > start:
                first = before if first is None else first
                groups.append(group)
            before += rows
        table = file.read_row_groups(groups, columns=columns)
        return table.slice(start - (first or 0), stop - start)


def count_values(storage: Storage, path: str, column: str) -> int:
    """Return how many values a column of a data file has, of nested ones those at its leaves, by the file's footer.

    A nested column is named by its path, `texts.list.element.text`.
    """
    with storage.open_input(path) as source:
        metadata = pq.ParquetFile(source).metadata
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    columns = (group.column(place) for group in groups for place in range(group.num_columns))
    filled = (found for found in columns if found.path_in_schema == column and found.num_values)
    return sum(found.statistics.num_values for found in filled)  # an empty column has no statistics


def find_rows(
    storage: Storage, path: str, wanted: Mapping[str, Sequence[Any]], columns: list[str] | None = None
) -> pa.Table:
    """Return the rows of a data file whose columns named in `wanted` each hold one of the wanted values.

    Of a file sorted by such a column only the row groups whose statistics leave room for a wanted value are read.
    """
    with storage.open_input(path) as source:
        file = pq.ParquetFile(source)
        groups = [group for group in range(file.num_row_groups) if _may_hold(file.metadata.row_group(group), wanted)]
        needed = None if columns is None else [*columns, *(name for name in wanted if name not in columns)]
        table = file.read_row_groups(groups, columns=needed)
    for name, values in wanted.items():
        table = table.filter(pc.is_in(table[name], pa.array(values, table.schema.field(name).type)))
    return table if columns is None else table.select(columns)


def _may_hold(group: Any, wanted: Mapping[str, Sequence[Any]]) -> bool:
    """Tell whether a row group's statistics leave room for a wanted value of every column."""
    for place in range(group.num_columns):
        column = group.column(place)
        values, statistics = wanted.get(column.path_in_schema), column.statistics
        if values is None or statistics is None or not statistics.has_min_max:
            continue
        if not any(statistics.min <= value <= statistics.max for value in values):
            return False
    return True
