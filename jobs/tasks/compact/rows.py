"""The two passes of compact: stage the rows of shards by their position in the order, then write each bucket.

The order is that of the shards of one batch, by order hash and image id. A bucket is an interval of the order hash, so
every bucket is a random sample of all rows, and the buckets one after another are in order.

Rows of a batch that follow each other are of few buckets, unless the batch is small. A staged file has only those, so
that the second pass reads about one piece per batch for each bucket. Both passes merge sorted tables part by part, so
they hold their input in memory once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.hashing import uniform_column
from curation.io.paths import join
from curation.io.storage import Storage
from curation.jit.hash_columns import u64_column
from curation.lake import shuffle
from curation.lake.files import WrittenFile
from curation.lake.parquet_read import read_row_groups, with_columns
from curation.lake.schemas import SCHEMAS
from jobs.runtime.partitions import WriterFactory
from jobs.runtime.progress import Progress
from jobs.tasks.balance.draw import in_order
from jobs.tasks.images.splits import Slice

PART_BYTES: Final = 16 << 20
ORDERED = SCHEMAS["compacted"].append(pa.field("order", pa.uint64()))


@dataclass(frozen=True)
class SourceRows:
    """Rows of shards that one task stages: the number of the work unit, and the slices of files."""

    number: int
    slices: Sequence[Slice]

    def __str__(self) -> str:
        return str(self.slices[0]) if self.slices else "no rows"


class StagedRows(msgspec.Struct):
    """A staged file with its size in bytes, its number of rows, and the buckets that it has: from the first on."""

    path: str
    size: int
    rows: int
    first: int
    buckets: int

    def batches_of(self, bucket: int) -> range:
        """Return which record batches of the file a bucket is: one or none."""
        number = bucket - self.first
        return range(number, number + 1) if 0 <= number < self.buckets else range(0)


@dataclass(frozen=True)
class StageRows:
    """Stages some rows of shards: one record batch per bucket, from the first bucket of the rows to the last."""

    storage: Storage
    seed: int
    buckets: int
    staging: str
    progress: Progress

    def __call__(self, _: int, source: SourceRows) -> StagedRows:
        """Return the staged file."""
        groups = [
            self._ordered(rows)
            for each in source.slices
            for rows in read_row_groups(self.storage, each.path, each.start, each.stop, SCHEMAS["shards"].names)
        ]
        numbers = [bucket_numbers(group["order"].to_numpy(), self.buckets) for group in groups]
        first = min((int(each[0]) for each in numbers), default=0)
        stop = max((int(each[-1]) + 1 for each in numbers), default=0)
        path = join(self.staging, shuffle.staged_name(source.number))
        rows = shuffle.write_buckets(self.storage, path, ORDERED, merge(groups, numbers, range(first, stop)))
        staged = StagedRows(path, self.storage.stat(path).size, sum(rows), first, stop - first)
        self.progress.record(source.number, staged)
        return staged

    def _ordered(self, rows: pa.Table) -> pa.Table:
        """Return rows of shards with their order hashes, in order; columns that their file lacks are null."""
        ranks = u64_column(self.seed, "order", rows["image_id"].combine_chunks())
        table = with_columns(rows.append_column("order", pa.array(ranks)), ORDERED)
        return table if (ranks[1:] > ranks[:-1]).all() else in_order(table)


def merge(tables: Sequence[pa.Table], keys: Sequence[npt.NDArray[Any]], starts: Sequence[int]) -> Iterator[pa.Table]:
    """Yield, for each of some ascending keys, the rows from this key to before the next one, in order.

    The rows of each table are in order, and their keys ascend. Rows before the first key are left out.
    """
    edges = [[*np.searchsorted(each, np.array(starts, each.dtype)).tolist(), len(each)] for each in keys]
    for part in range(len(starts)):
        cuts = [(table, cut[part], cut[part + 1]) for table, cut in zip(tables, edges, strict=True)]
        slices = [table.slice(start, stop - start) for table, start, stop in cuts if stop > start]
        if len(slices) == 1:
            yield slices[0]
        else:
            yield in_order(pa.concat_tables([ORDERED.empty_table(), *slices]))


def bucket_numbers(order: npt.NDArray[np.uint64], buckets: int) -> npt.NDArray[Any]:
    """Return the bucket of every row: the order hashes are cut into equal intervals."""
    return (uniform_column(order) * buckets).astype(np.int64)


class WrittenBucket(msgspec.Struct):
    """The written files of a bucket, and its rows by language."""

    files: list[WrittenFile]
    langs: dict[str, int]


@dataclass(frozen=True)
class WriteBucket:
    """Writes one bucket of the rows in their order; equal images keep the order of their batches."""

    storage: Storage
    staged: Sequence[StagedRows]
    file_bytes: int
    writers: WriterFactory
    progress: Progress

    def __call__(self, _: int, bucket: int) -> WrittenBucket:
        """Return the written files."""
        pieces = [
            piece
            for file in self.staged
            if (batches := file.batches_of(bucket))
            for piece in shuffle.read_buckets(self.storage, [file.path], batches)
        ]
        keys = [piece["order"].to_numpy() for piece in pieces]
        langs: Counter[str] = Counter()
        with self.writers("compacted", bucket, file_bytes=self.file_bytes) as writer:
            for rows in merge(pieces, keys, _part_starts(pieces, keys)):
                writer.write(rows.drop_columns("order"))
                langs.update(rows["lang"].to_pylist())
        written = WrittenBucket(writer.files, langs)
        self.progress.record(bucket, written)
        return written


def _part_starts(pieces: Sequence[pa.Table], keys: Sequence[npt.NDArray[np.uint64]]) -> list[int]:
    """Return the order hashes at which parts of about `PART_BYTES` of images start; they depend on the rows alone."""
    order = np.sort(np.concatenate([np.zeros(1, np.uint64), *keys]))
    size = sum(pc.sum(pc.binary_length(piece["image"])).as_py() or 0 for piece in pieces)
    starts: list[int] = np.unique(order[:: max(1, PART_BYTES * len(order) // max(1, size))]).tolist()
    return starts
