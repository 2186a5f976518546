"""The second pass of ingest: merge every bucket's groups, look images up in earlier batches, write pairs.

Merging a bucket opens every staged file. If there are many, `Combine` first merges a few hundred files into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curation.dedup.across_batches import earlier_groups, files_of_bucket, is_known
from curation.dedup.by_image import GROUPS, finish, merge_groups
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.files import DataFile, WrittenFile
from curation.occurrence import Counters
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.ingest.read import StagedGroups, bucket_numbers


@dataclass(frozen=True)
class Earlier:
    """The pairs of earlier batches, and the action for images that are among them: drop, keep or merge."""

    action: str
    batches: Mapping[str, Sequence[DataFile]]

    @property
    def run_ids(self) -> dict[str, list[str]]:
        """The runs that wrote those pairs."""
        return {batch: sorted({file.run_id for file in files}) for batch, files in self.batches.items()}

    def files(self, bucket: int, bits: int) -> list[str]:
        """Return the files that can hold images of a bucket."""
        return [
            files[index].path
            for files in self.batches.values()
            for index in files_of_bucket([file.name for file in files], bucket, bits)
        ]


class MergedBucket(msgspec.Struct):
    """The written pairs of a bucket, the change that merging made to the counters, and the number of texts written."""

    files: list[WrittenFile]
    counters: Counters
    texts: int


@dataclass(frozen=True)
class Combine:
    """Merges the groups of some staged files into one file, one bucket at a time."""

    storage: Storage
    seed: int
    max_texts: int
    bits: int
    staging: str

    def __call__(self, index: int, paths: Sequence[str]) -> StagedGroups:
        """Return the combined file with the change that merging made to the counters."""
        path, counters = join(self.staging, f"combined-{shuffle.staged_name(index)}"), Counters()

        def buckets() -> Iterator[pa.Table]:
            nonlocal counters
            for parts in shuffle.bucket_by_bucket(self.storage, paths, self.bits, bucket_numbers):
                table, change = merge_groups(parts, self.seed, self.max_texts)
                counters += change
                yield table

        shuffle.write_buckets(self.storage, path, GROUPS, buckets())
        return StagedGroups(path, counters)


@dataclass(frozen=True)
class MergeBucket:
    """Merges one bucket's groups of all files and writes its pairs."""

    storage: Storage
    staged: Sequence[str]
    seed: int
    max_texts: int
    bits: int
    writers: WriterFactory
    earlier: Earlier | None

    def __call__(self, index: int, bucket: int) -> MergedBucket:
        """Return the written files and the change that merging made to the counters."""
        parts = (shuffle.read_bucket(self.storage, path, bucket, self.bits, bucket_numbers) for path in self.staged)
        table, change = merge_groups(parts, self.seed, self.max_texts)
        if self.earlier:
            table, more = self._merge_earlier(table, self.earlier, bucket)
            change += more
        with self.writers("pairs", index) as writer:
            writer.write(finish(table))
        texts = pc.sum(pc.list_value_length(table["texts"])).as_py() or 0
        return MergedBucket(writer.files, change, texts)

    def _merge_earlier(self, table: pa.Table, earlier: Earlier, bucket: int) -> tuple[pa.Table, Counters]:
        """Apply the action to images of earlier batches; return the groups to publish, and the change of counters."""
        paths = earlier.files(bucket, self.bits)
        known = pa.array(is_known(self.storage, paths, table["image_id"]))
        again, counters = table.filter(known), Counters()
        if not again.num_rows:
            return table, counters
        counters.notes["seen_images"] = again.num_rows
        if earlier.action == "drop":
            texts, copies = _texts_and_copies(again)
            counters.kept, counters.duplicates = -texts, texts - copies
            references = pc.coalesce(again["image_url"], again["image_ref"]).to_pylist()
            counters.drop("seen_image", references)
            counters.drops["seen_image"] = copies
            return table.filter(pc.invert(known)), counters
        if earlier.action == "merge":
            before = earlier_groups(self.storage, paths, again["image_id"])
            texts, copies = _texts_and_copies(before)
            counters.notes["texts_of_earlier_batches"] = copies
            counters.read, counters.kept, counters.duplicates = copies, texts, copies - texts
            table, change = merge_groups([table, before], self.seed, self.max_texts)
            counters += change
        return table, counters


def _texts_and_copies(groups: pa.Table) -> tuple[int, int]:
    """Return how many texts groups have, and how often these occurred."""
    texts = pc.sum(pc.list_value_length(groups["texts"])).as_py() or 0
    return texts, pc.sum(pc.list_flatten(groups["copies"])).as_py() or 0
