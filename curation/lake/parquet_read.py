"""Reading data files: in batches, by row range, by value, and counts from the footer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.io.storage import Storage


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
