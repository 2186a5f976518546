"""Writes the annotations of a file of shards: as many rows per row group as the shards have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pyarrow as pa

from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.checked_file import open_parquet
from curation.lake.files import WrittenFile
from curation.lake.schemas import annotation_schema
from jobs.runtime.partitions import WriterFactory
from jobs.runtime.progress import Progress

METADATA_KEY: Final = "worldcurate.annotation"


@dataclass(frozen=True)
class StagedShard:
    """A file of shards, and the staged files with the annotations of its rows, in order."""

    number: int
    path: str
    staged: Sequence[str]

    def __str__(self) -> str:
        return f"the annotations of {self.path}"


class WrittenShard(msgspec.Struct):
    """The written file with the annotations of a file of shards."""

    files: list[WrittenFile]


@dataclass(frozen=True)
class WriteShard:
    """Writes the annotations of one file of shards; `maker` is what made them, for the metadata of the file."""

    storage: Storage
    kind: str
    maker: Mapping[str, Any]
    writers: WriterFactory
    progress: Progress

    def __call__(self, _: int, shard: StagedShard) -> WrittenShard:
        """Return the written file."""
        schema = annotation_schema(self.kind).with_metadata({METADATA_KEY: json.dumps(self.maker, sort_keys=True)})
        with open_parquet(self.storage, shard.path) as file:
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        # one file, however large, as the shards are one
        with self.writers("annotations", shard.number, file_bytes=sys.maxsize, schema=schema) as writer:
            for group in _groups(shuffle.read_buckets(self.storage, shard.staged, range(1)), sizes, schema):
                writer.write_row_group(group)
        written = WrittenShard(writer.files)
        self.progress.record(shard.number, written)
        return written


def _groups(parts: Iterator[pa.Table], sizes: Sequence[int], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of some tables in groups of the given sizes."""
    left = schema.empty_table()
    for size in sizes:
        while left.num_rows < size:
            left = pa.concat_tables([left, next(parts).replace_schema_metadata(schema.metadata)])
        yield left.slice(0, size)
        left = left.slice(size)
