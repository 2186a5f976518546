"""Choose samples by columns of annotations: those with a value, and within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.errors import UsageError
from curation.io.storage import Storage
from curation.lake.checked_file import open_parquet
from curation.lake.schemas import ANNOTATIONS
from training.data.tables.annotations import Annotations

Mask = npt.NDArray[np.bool_]

SMALLER: Final = {"frames": "frame_times"}  # a column that has a value wherever a large one has one
TYPES: Final = {name: kind for columns in ANNOTATIONS.values() for name, kind in columns}


class Interval(NamedTuple):
    """Numbers from a bound up to, and without, another one; None: there is no such bound."""

    at_least: float | None = None
    below: float | None = None


def check_intervals(intervals: Mapping[str, Interval]) -> None:
    """Raise UsageError if a column with bounds has no numbers. Columns that do not exist are not its business."""
    for column, interval in intervals.items():
        if column in TYPES and any(bound is not None for bound in interval) and not pa.types.is_floating(TYPES[column]):
            numbers = ", ".join(name for name, kind in TYPES.items() if pa.types.is_floating(kind))
            raise UsageError(f"select.{column}: it has no numbers: leave out the bounds, or choose among {numbers}")


def columns_to_read(intervals: Mapping[str, Interval]) -> list[str]:
    """Return the columns of annotations that tell which samples have values within bounds."""
    return [SMALLER.get(column, column) for column in intervals]


def selected_rows(
    annotations: Annotations, intervals: Mapping[str, Interval], storage: Storage, pool: Executor
) -> list[Mask]:
    """Return for each row group of the annotated files which rows have all values, within their bounds.

    Raises DamagedLakeError if a file is missing or damaged.
    """
    wanted = {SMALLER.get(column, column): interval for column, interval in intervals.items()}
    masks: list[Mask] = []
    for kind, columns in annotations.columns.items():
        of_kind = {column: wanted[column] for column in columns}
        found = pool.map(lambda path, of_kind=of_kind: _of_file(storage, path, of_kind), annotations.files[kind])
        groups = [group for file in found for group in file]
        masks = [mask & group for mask, group in zip(masks, groups, strict=True)] if masks else groups
    return masks


def _of_file(storage: Storage, path: str, intervals: Mapping[str, Interval]) -> list[Mask]:
    with open_parquet(storage, path) as file:
        return [_of_group(file, number, intervals) for number in range(file.num_row_groups)]


def _of_group(file: pq.ParquetFile, number: int, intervals: Mapping[str, Interval]) -> Mask:
    group = file.metadata.row_group(number)
    chunks = [group.column(position) for position in range(group.num_columns)]
    full = {chunk.path_in_schema.partition(".")[0] for chunk in chunks if _has_no_null(chunk)}
    unknown = [name for name, interval in intervals.items() if name not in full or interval != Interval()]
    mask = np.ones(group.num_rows, bool)
    if unknown:
        table = file.read_row_group(number, columns=unknown)
        for name in unknown:
            mask &= _within(table[name], intervals[name])
    return mask


def _has_no_null(chunk: pq.ColumnChunkMetaData) -> bool:
    return bool(chunk.is_stats_set and chunk.statistics.has_null_count and chunk.statistics.null_count == 0)


def _within(values: pa.ChunkedArray, interval: Interval) -> Mask:
    """Return which values exist and are in an interval, whose bounds are rounded as the values are."""
    parts = [pc.is_valid(values)]
    if interval.at_least is not None:
        parts.append(pc.greater_equal(values, pa.scalar(interval.at_least, values.type)))
    if interval.below is not None:
        parts.append(pc.less(values, pa.scalar(interval.below, values.type)))
    masks = [pc.fill_null(part, False).to_numpy() for part in parts]
    within: Mask = np.logical_and.reduce(masks)
    return within
