"""The work units of fetch_images: slices of the curated rows that make about one shard each, and parts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from curation.cli.config import ImagesSection
from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet_read import read_rows
from curation.lake.schemas import SCHEMAS

TARGET_FETCHES = 64
MIN_FETCH_ROWS, MAX_FETCH_ROWS = 64, 4096


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of one data file."""

    path: str
    start: int
    stop: int

    def __str__(self) -> str:
        return f"rows {self.start} to {self.stop} of {self.path}"


@dataclass(frozen=True)
class FetchPart:
    """Curated rows whose images are written together, and the number of their files."""

    index: int
    slices: Sequence[Slice]


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


def plan_shards(curated: Snapshot, section: ImagesSection) -> list[list[Slice]]:
    """Cut the curated rows into buckets that make about one shard each."""
    return plan_buckets(curated, max(1, section.shard_bytes // section.assumed_image_bytes))


def rows_per_fetch(rows: int) -> int:
    """Return how many of a batch's curated rows are fetched and written as one part.

    Small batches have `TARGET_FETCHES` parts, so that they use all cores. The parts of large ones have so many rows
    that the slow hosts at their end matter little, and so few that little is lost with a killed one.
    """
    return min(max(-(-rows // TARGET_FETCHES), MIN_FETCH_ROWS), MAX_FETCH_ROWS)


def plan_fetches(buckets: Sequence[Sequence[Slice]], rows: int | None) -> list[tuple[int, list[Slice]]]:
    """Cut buckets into parts of at most `rows` rows, in order; return each part with its bucket. None cuts nothing."""
    return [(bucket, part) for bucket, slices in enumerate(buckets) for part in _cut(slices, rows)]


def part_of(file: DataFile) -> int:
    """Return the number of the part that a file of `images` is from; its name starts with it."""
    return int(file.name.partition(".")[0])


def group_parts(parts: Sequence[Sequence[Slice]], fetch_rows: int, cores: int) -> list[list[FetchPart]]:
    """Return the parts that each task fetches, in order: at most `MAX_FETCH_ROWS` rows, as evenly as possible.

    The tasks of small batches have several parts, so that a core waits only once for the slow hosts at the end.
    """
    most = max(1, MAX_FETCH_ROWS // fetch_rows)
    tasks = min(len(parts), cores * -(-len(parts) // (cores * most)))
    edges = [len(parts) * task // tasks for task in range(tasks + 1)]
    return [[FetchPart(index, parts[index]) for index in range(*edge)] for edge in pairwise(edges)]


def _cut(slices: Sequence[Slice], rows: int | None) -> Iterator[list[Slice]]:
    """Yield parts of at most `rows` rows; at least one."""
    part: list[Slice] = []
    room = rows or 0
    for piece in slices:
        start = piece.start
        while rows and piece.stop - start > room:
            part.append(Slice(piece.path, start, start + room))
            yield part
            start, part, room = start + room, [], rows
        if start < piece.stop:
            part.append(Slice(piece.path, start, piece.stop))
            room -= piece.stop - start
    if part or not slices:
        yield part


def cut_by_bytes(files: Iterable[DataFile], row_bytes: Callable[[DataFile], int], limit: int) -> list[list[Slice]]:
    """Cut the rows of some files, in order, into parts of about `limit` bytes; at least one part.

    `row_bytes` estimates the bytes of a row of a file. A part has at least one row.
    """
    parts: list[list[Slice]] = [[]]
    room = limit
    for file in files:
        each, start = row_bytes(file), 0
        while start < file.rows:
            fitting = max(room // each, 0 if parts[-1] else 1)
            if not fitting:
                parts.append([])
                room = limit
                continue
            stop = min(file.rows, start + fitting)
            parts[-1].append(Slice(file.path, start, stop))
            room -= (stop - start) * each
            start = stop
    return parts


def stored_row_bytes(file: DataFile) -> int:
    """Return the bytes of a row of a file, all rows taken as equally large."""
    return -(-file.size // max(1, file.rows))


def read_slices(storage: Storage, slices: Sequence[Slice], columns: list[str]) -> pa.Table:
    """Return the rows of some slices of curated files, in order."""
    schema = pa.schema([SCHEMAS["curated"].field(name) for name in columns])
    parts = [read_rows(storage, part.path, part.start, part.stop, columns).cast(schema) for part in slices]
    return pa.concat_tables([schema.empty_table(), *parts])
