"""The task that joins one bucket of curated rows with their images into shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.io.storage import Storage
from curation.lake.files import DataFile, WrittenFile
from curation.lake.parquet_read import read_batches, with_columns
from curation.lake.schemas import PICTURE_COLUMNS, SCHEMAS, written_schema
from curation.lake.tombstones import Tombstones
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.images.splits import Slice, part_of, read_slices

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

    The images are read part by part, as `FetchParts` wrote them: the parts are in curated order, the images in a part
    are not. The images of one part, of at most `MAX_FETCH_ROWS` rows, are in memory at a time.

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
        stored = self._images(self.images[index], [])
        with_image = usable.filter(pc.is_in(usable["image_id"], stored["image_id"]))
        removed = self._removed(index, with_image["image_id"])
        rows, start = with_image.filter(pc.is_null(removed)), 0
        schema = written_schema("shards", scores=self.scores)
        with self.writers("shards", index, file_bytes=self.shard_bytes, schema=schema) as writer:
            for pictures in self._pictures(index, rows["image_id"]):
                part = rows.slice(start, pictures.num_rows)
                start += pictures.num_rows
                for name in self._columns:
                    part = part.append_column(name, pictures[name])
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

    def _pictures(self, index: int, ids: pa.ChunkedArray) -> Iterator[pa.Table]:
        """Yield the columns of the images of a bucket with these ids, in their order, `ROWS_AT_ONCE` at a time."""
        held, start = [], 0
        for _, files in groupby(sorted(self.images[index], key=part_of), part_of):
            images = self._images(list(files), self._columns)
            positions = pc.index_in(ids.slice(start), images["image_id"])
            here = pc.index(pc.is_valid(positions), False).as_py()  # how many of the next ids are in this part
            stop = start + here if here >= 0 else len(ids)
            first = start
            while start < stop:
                rows = min(stop, start - start % ROWS_AT_ONCE + ROWS_AT_ONCE) - start
                held.append(images.take(positions.slice(start - first, rows)))
                start += rows
                if start % ROWS_AT_ONCE == 0 or start == len(ids):
                    yield pa.concat_tables(held).combine_chunks()
                    held = []
            del images  # before those of the next part are read

    def _images(self, files: Sequence[DataFile], columns: Sequence[str]) -> pa.Table:
        """Return the ids and some other columns of the fetched images in some files."""
        schema = pa.schema([SCHEMAS["images"].field(name) for name in ("image_id", "status", *columns)])
        batches = [
            batch.filter(pc.equal(batch["status"], "ok"))
            for file in files
            for batch in read_batches(self.storage, file.path, schema.names, ROWS_AT_ONCE)
        ]
        return pa.Table.from_batches([with_columns(batch, schema) for batch in batches], schema)
