"""The two passes of compact: stage the rows of shards by their position in the order, then write each bucket.

The order is that of the shards of one batch, by order hash and image id. A bucket is an interval of the order hash, so
every bucket is a random sample of all rows, and the buckets one after another are in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.hashing import uniform_column
from curation.io.paths import join
from curation.io.storage import Storage
from curation.jit.hash_columns import u64_column
from curation.lake import shuffle
from curation.lake.files import WrittenFile
from curation.lake.parquet_read import read_row_groups, with_columns
from curation.lake.schemas import SCHEMAS
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.balance.draw import in_order
from jobs.tasks.compact.progress import Progress
from jobs.tasks.images.splits import Slice

ORDERED = SCHEMAS["compacted"].append(pa.field("order", pa.uint64()))


@dataclass(frozen=True)
class SourceRows:
    """Rows of shards that one task stages: the number of the work unit, and the slices of files."""

    number: int
    slices: Sequence[Slice]

    def __str__(self) -> str:
        return str(self.slices[0]) if self.slices else "no rows"


class StagedRows(msgspec.Struct):
    """A staged file with its size in bytes, and its number of rows."""

    path: str
    size: int
    rows: int


@dataclass(frozen=True)
class StageRows:
    """Stages some rows of shards: record batch n holds those of bucket n, in their order."""

    storage: Storage
    seed: int
    buckets: int
    staging: str
    progress: Progress

    def __call__(self, _: int, source: SourceRows) -> StagedRows:
        """Return the staged file."""
        parts = [ORDERED.empty_table()]
        for each in source.slices:
            groups = read_row_groups(self.storage, each.path, each.start, each.stop, SCHEMAS["shards"].names)
            parts += map(self._ordered, groups)
        table = in_order(pa.concat_tables(parts))
        numbers = bucket_numbers(table["order"].to_numpy(), self.buckets)
        path = join(self.staging, shuffle.staged_name(source.number))
        shuffle.write_buckets(self.storage, path, ORDERED, shuffle.split_sorted(table, numbers, self.buckets))
        staged = StagedRows(path, self.storage.stat(path).size, table.num_rows)
        self.progress.record(source.number, staged)
        return staged

    def _ordered(self, rows: pa.Table) -> pa.Table:
        """Return rows of shards with their order hashes; columns that their file lacks are null."""
        ranks = u64_column(self.seed, "order", rows["image_id"].combine_chunks())
        return with_columns(rows.append_column("order", pa.array(ranks)), ORDERED)


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
    staged: Sequence[str]
    file_bytes: int
    writers: WriterFactory
    progress: Progress

    def __call__(self, _: int, bucket: int) -> WrittenBucket:
        """Return the written files."""
        table = in_order(shuffle.read_table(self.storage, self.staged, range(bucket, bucket + 1), ORDERED))
        with self.writers("compacted", bucket, file_bytes=self.file_bytes) as writer:
            writer.write(table.drop_columns("order"))
        written = WrittenBucket(writer.files, Counter(table["lang"].to_pylist()))
        self.progress.record(bucket, written)
        return written
