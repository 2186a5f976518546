"""Finds rows that an earlier run has annotated: with the same maker, of the same image, text and other inputs.

After a takedown or a new draw, most rows of the shards are those of before. Both tables have the same order, that of
the recipe, so the earlier rows of a work unit are in few files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.hashing import order_hash
from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet_read import read_batches, read_rows
from curation.lake.presence import file_problems
from jobs.runtime.context import Context


class FirstImage(msgspec.Struct):
    """A file of annotations and the id of its first image."""

    path: str
    image_id: str


@dataclass(frozen=True)
class FindFirst:
    """Reads the first image of a file that is not empty."""

    storage: Storage

    def __call__(self, _: int, file: DataFile) -> FirstImage:
        """Return the file with its first image."""
        return FirstImage(file.path, read_rows(self.storage, file.path, 0, 1, ["image_id"])["image_id"][0].as_py())


@dataclass(frozen=True)
class EarlierRows:
    """The files of earlier annotations, in the order of the rows.

    Attributes:
        seed: seed of the order.
        files: the files; without any, no row is found.
    """

    storage: Storage
    seed: int = 0
    files: Sequence[FirstImage] = ()

    @classmethod
    def of(cls, context: Context, earlier: Snapshot, seed: int) -> EarlierRows:
        """Return the rows of published annotations, of the files that are as large as published."""
        lost = file_problems(context.storage, earlier.files)
        files = [file for file in earlier.files if file.rows and file.path not in lost]
        return cls(
            context.storage, seed, context.run_tasks("annotate: earlier rows", files, FindFirst(context.storage))
        )

    def find(self, ids: pa.Array, hashes: pa.Array, schema: pa.Schema) -> tuple[pa.Table, pa.Array]:
        """Return earlier rows of some images, which are in order, and for each image the number of its row.

        The number is null if there is none with these inputs.
        """
        parts = [schema.empty_table()]
        for path in self._candidates(ids):
            batches = read_batches(self.storage, path, schema.names)
            found = (batch.filter(pc.is_in(batch["image_id"], ids)) for batch in batches)
            parts += [pa.Table.from_batches([batch]).cast(schema) for batch in found]
        rows = pa.concat_tables(parts).combine_chunks()
        numbers = pc.index_in(ids, rows["image_id"].combine_chunks())
        same = pc.equal(rows["input_hash"].combine_chunks().take(numbers), hashes)
        return rows, pc.if_else(same, numbers, pa.scalar(None, numbers.type))

    def _candidates(self, ids: pa.Array) -> Iterator[str]:
        """Yield the files that may have rows of images which are in order."""
        if len(ids) and self.files:
            starts = [self._rank(file.image_id) for file in self.files]
            first, last = self._rank(ids[0].as_py()), self._rank(ids[-1].as_py())
            for number in range(max(0, bisect_right(starts, first) - 1), bisect_right(starts, last)):
                yield self.files[number].path

    def _rank(self, image_id: str) -> tuple[int, str]:
        return order_hash(self.seed, image_id), image_id
