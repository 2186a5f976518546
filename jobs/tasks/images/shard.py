"""The task that joins one bucket of curated rows with their images into shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.io.storage import Storage
from curation.lake.files import DataFile, WrittenFile
from curation.lake.parquet_read import read_batches, with_columns
from curation.lake.schemas import PICTURE_COLUMNS, SCHEMAS, written_schema
from curation.lake.tombstones import Tombstones
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.images.splits import Slice, read_slices

ROWS_AT_ONCE = 256


class BuiltShard(msgspec.Struct):
    """The written shards of a bucket, their rows by language, and how many curated rows are not in them and why."""

    files: list[WrittenFile]
    langs: dict[str, int]
    tombstone: int
    without_image: int
    duplicates: dict[str, int]


@dataclass(frozen=True)
class BuildShard:
    """Joins one bucket's curated rows with their images, in curated order.

    `images` are the files of each bucket, and `duplicates` those of the table of this name that may name its images,
    which are left out.
    With `scores`, shards have the scores of the images, null in files of runs without filters.
    """

    storage: Storage
    images: Sequence[Sequence[DataFile]]
    duplicates: Sequence[Sequence[DataFile]]
    tombstones: Tombstones
    shard_bytes: int
    writers: WriterFactory
    scores: bool = False

    def __call__(self, index: int, slices: Sequence[Slice]) -> BuiltShard:
        """Return the written shards."""
        curated = read_slices(self.storage, slices, SCHEMAS["curated"].names)
        usable = curated.filter(self.tombstones.keep_mask(curated))
        images = self._images(index)
        positions = pc.index_in(usable["image_id"], images["image_id"])
        with_image, positions = usable.filter(pc.is_valid(positions)), positions.drop_null()
        removed = self._removed(index, with_image["image_id"])
        is_kept = pc.is_null(removed)
        rows, positions = with_image.filter(is_kept), positions.filter(is_kept)
        schema = written_schema("shards", scores=self.scores)
        with self.writers("shards", index, file_bytes=self.shard_bytes, schema=schema) as writer:
            for start in range(0, rows.num_rows, ROWS_AT_ONCE):
                part = rows.slice(start, ROWS_AT_ONCE)
                joined = images.take(positions.slice(start, ROWS_AT_ONCE))
                for name in self._columns:
                    part = part.append_column(name, joined[name])
                writer.write(part)
        return BuiltShard(
            files=writer.files,
            langs=Counter(rows["lang"].to_pylist()),
            tombstone=curated.num_rows - usable.num_rows,
            without_image=usable.num_rows - with_image.num_rows,
            duplicates=Counter(removed.drop_null().to_pylist()),
        )

    @property
    def _columns(self) -> list[str]:
        """Return the columns that are taken from `images`."""
        return [*(name for name, _ in PICTURE_COLUMNS), *(["scores"] if self.scores else [])]

    def _removed(self, index: int, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return why each image is a duplicate; null for those that are none."""
        schema = pa.schema([SCHEMAS["duplicates"].field(name) for name in ("image_id", "reason")])
        batches = [
            batch.filter(pc.is_in(batch["image_id"], ids))
            for file in self.duplicates[index]
            for batch in read_batches(self.storage, file.path, schema.names)
        ]
        rows = pa.Table.from_batches(batches, schema)
        return rows["reason"].take(pc.index_in(ids, rows["image_id"]))

    def _images(self, index: int) -> pa.Table:
        """Return the fetched images of a bucket."""
        schema = pa.schema([SCHEMAS["images"].field(name) for name in ("image_id", "status", *self._columns)])
        batches = [
            batch.filter(pc.equal(batch["status"], "ok"))
            for file in self.images[index]
            for batch in read_batches(self.storage, file.path, schema.names, ROWS_AT_ONCE)
        ]
        return pa.Table.from_batches([with_columns(batch, schema) for batch in batches], schema)
