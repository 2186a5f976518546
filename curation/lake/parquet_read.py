"""Reads data files in batches, by row range or by value, and counts values from the footer.

Every function raises DamagedLakeError if the file is missing or its bytes have changed (see
`curation.lake.checked_file`). Files are read in the calling thread: a thread of pyarrow that still holds a Python
object when the interpreter ends aborts the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.io.storage import Storage
from curation.lake.checked_file import open_parquet


def read_batches(
    storage: Storage, path: str, columns: list[str] | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Yield a data file's rows in order, in batches of `rows`, with one row group in memory."""
    with open_parquet(storage, path) as file:
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)


def read_rows(storage: Storage, path: str, start: int, stop: int, columns: list[str] | None = None) -> pa.Table:
    """Return rows `start` to `stop` of a data file, reading only the row groups that contain them."""
    with open_parquet(storage, path) as file:
        first, groups, offset = None, [], 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if offset < stop and offset + rows > start:
                first = offset if first is None else first
                groups.append(group)
            offset += rows
        table = file.read_row_groups(groups, columns=columns, use_threads=False)
        return table.slice(start - (first or 0), stop - start)


def read_row_groups(
    storage: Storage, path: str, start: int, stop: int, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Yield rows `start` to `stop` of a data file in order, with one row group in memory."""
    with open_parquet(storage, path) as file:
        offset = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            first, last = max(start - offset, 0), min(stop - offset, rows)
            if first < last:
                yield file.read_row_group(group, columns=columns, use_threads=False).slice(first, last - first)
            offset += rows


def with_columns(rows: pa.RecordBatch | pa.Table, schema: pa.Schema) -> pa.RecordBatch | pa.Table:
    """Return rows as `schema` has them; columns that their file does not have are null."""
    for field in schema:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names).cast(schema)


def count_values(storage: Storage, path: str, column: str) -> int:
    """Return the number of values in a column of a data file, read from the file's footer.

    A nested column is named by its path, such as `texts.list.element.text`; the values of its leaves are counted.
    """
    with open_parquet(storage, path) as file:
        metadata = file.metadata
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    chunks = (group.column(index) for group in groups for index in range(group.num_columns))
    filled = (chunk for chunk in chunks if chunk.path_in_schema == column and chunk.num_values)
    return sum(chunk.statistics.num_values for chunk in filled)  # an empty chunk has no statistics


def find_rows(
    storage: Storage, path: str, filters: Mapping[str, Sequence[Any]], columns: list[str] | None = None
) -> pa.Table:
    """Return the rows of a data file in which every column named in `filters` has one of the values given there.

    Row groups whose statistics exclude all of these values are not read, which helps if the file is sorted. Columns
    that the file does not have are left out.
    """
    with open_parquet(storage, path) as file:
        groups = [group for group in range(file.num_row_groups) if _may_match(file.metadata.row_group(group), filters)]
        needed = None if columns is None else [*columns, *(name for name in filters if name not in columns)]
        table = file.read_row_groups(groups, columns=needed, use_threads=False)
    for name, values in filters.items():
        table = table.filter(pc.is_in(table[name], pa.array(values, table.schema.field(name).type)))
    return table if columns is None else table.select([name for name in columns if name in table.column_names])


def read_matching(
    storage: Storage, path: str, column: str, values: pa.Array, columns: list[str] | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a data file whose `column` has one of the values, in order, with one row group in memory.

    Of row groups without such a row, only this column is read. Batches come from at most `rows` rows of the file.
    """
    with open_parquet(storage, path) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=[column], use_threads=False)[column]
            if pc.any(pc.is_in(ids, values)).as_py():
                for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
                    yield batch.filter(pc.is_in(batch[column], values))


def _may_match(group: Any, filters: Mapping[str, Sequence[Any]]) -> bool:
    """Return whether a row group may contain a matching value in every filtered column, by its statistics."""
    for index in range(group.num_columns):
        column = group.column(index)
        values, statistics = filters.get(column.path_in_schema), column.statistics
        if values is None or statistics is None or not statistics.has_min_max:
            continue
        if not any(statistics.min <= value <= statistics.max for value in values):
            return False
    return True
