"""The tasks of the balance job: sample the pairs of matches files, then write them in the curated order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
import pyarrow as pa

from curation.balance.keep_model import KeepProbabilities
from curation.balance.sampling import choose_and_draw
from curation.io.host_cache import checked_file
from curation.io.paths import join
from curation.io.storage import Storage
from curation.jit.hash_columns import u64_column
from curation.lake import shuffle
from curation.lake.files import DataFile, WrittenFile
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones
from jobs.runtime.partitions import WriterFactory

ORDERED = SCHEMAS["curated"].append(pa.field("order", pa.uint64()))


class DrawnFile(msgspec.Struct):
    """The staged pairs of one file of matches, and its counters; `langs` counts the curated pairs by language."""

    staged: str
    images: int
    tombstone: int
    curated: int
    not_drawn: int
    langs: dict[str, int]


@dataclass(frozen=True)
class DrawFile:
    """Draws the pairs of one file of matches and stages the selected ones by their position in the curated order."""

    storage: Storage
    model: tuple[str, str]
    tombstones: Tombstones
    seed: int
    selection: str
    bits: int
    staging: str

    def __call__(self, index: int, file: DataFile) -> DrawnFile:
        """Return the staged file and the counters of its draw."""
        model = load_model(self.storage, *self.model)
        images = usable_images = 0
        langs: Counter[str] = Counter()
        parts = [ORDERED.empty_table()]
        for batch in read_batches(self.storage, file.path):
            usable = batch.filter(self.tombstones.keep_mask(batch))
            images, usable_images = images + batch.num_rows, usable_images + usable.num_rows
            table = choose_and_draw(usable, model, self.seed, self.selection)
            counts = table["lang"].value_counts()
            langs.update(dict(zip(*(counts.field(name).to_pylist() for name in ("values", "counts")), strict=True)))
            ranks = u64_column(self.seed, "order", table["image_id"].combine_chunks())
            parts.append(table.append_column("order", pa.array(ranks)).cast(ORDERED))
        table = in_order(pa.concat_tables(parts))
        buckets = table["order"].to_numpy() >> np.uint64(64 - self.bits) if self.bits else np.zeros(table.num_rows)
        path = join(self.staging, shuffle.staged_name(index))
        shuffle.write_buckets(self.storage, path, ORDERED, shuffle.split_sorted(table, buckets, 1 << self.bits))
        return DrawnFile(
            path, images, images - usable_images, table.num_rows, usable_images - table.num_rows, dict(langs)
        )


@dataclass(frozen=True)
class WriteBucket:
    """Writes one bucket of the curated rows in their order."""

    storage: Storage
    staged: Sequence[str]
    writers: WriterFactory

    def __call__(self, index: int, bucket: int) -> list[WrittenFile]:
        """Return the written files."""
        rows = in_order(pa.concat_tables(shuffle.read_buckets(self.storage, self.staged, range(bucket, bucket + 1))))
        with self.writers("curated", index) as writer:
            writer.write(rows.drop_columns("order"))
        return writer.files


@lru_cache(maxsize=1)
def load_model(storage: Storage, path: str, sha256: str) -> KeepProbabilities:
    """Return the keep probabilities of a run, checked and mapped into memory once per worker process.

    Raises InputError if the file is missing or differs from the one that the driver wrote.
    """
    return KeepProbabilities.open(checked_file(storage, path, sha256))


def in_order(table: pa.Table) -> pa.Table:
    """Sort by order hash, then image id."""
    return table.sort_by([("order", "ascending"), ("image_id", "ascending")])
