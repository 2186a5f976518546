"""The work units of the fetch: slices of the curated rows that make about one shard each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.io.storage import Storage
from curation.lake.files import Snapshot
from curation.lake.parquet_read import read_rows
from curation.lake.schemas import SCHEMAS


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of one data file."""

    path: str
    start: int
    stop: int


def plan_buckets(curated: Snapshot, rows_per_bucket: int) -> list[list[Slice]]:
    """Cut the curated rows, in their order, into buckets of a fixed number of rows; at least one bucket."""
    edges = np.cumsum([0, *(file.rows for file in curated.files)])
    buckets = []
    for start in range(0, max(1, curated.rows), rows_per_bucket):
        stop = min(start + rows_per_bucket, curated.rows)
        slices = [
            Slice(file.path, max(0, start - int(edge)), min(file.rows, stop - int(edge)))
            for file, edge in zip(curated.files, edges, strict=False)
            if edge < stop and edge + file.rows > start
        ]
        buckets.append(slices)
    return buckets


def read_slices(storage: Storage, slices: Sequence[Slice], columns: list[str]) -> pa.Table:
    """Return the rows of some slices of curated files, in order."""
    schema = pa.schema([SCHEMAS["curated"].field(name) for name in columns])
    parts = [read_rows(storage, part.path, part.start, part.stop, columns).cast(schema) for part in slices]
    return pa.concat_tables([schema.empty_table(), *parts])
