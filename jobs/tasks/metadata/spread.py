"""The task of merge_metadata that stages a published list of entries for merging with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.files import DataFile
from curation.lake.parquet_read import read_batches
from metadata.lists.merge import ENTRY_FORMS, Entry, entry_forms


@dataclass(frozen=True)
class SpreadList:
    """Stages the entries of one language in buckets by a hash of the normalized entry.

    Each spelling becomes an entry of its own. The first spelling in code-point order stays the entry, and no alias
    comes before its entry.
    """

    storage: Storage
    staging: str
    buckets: int

    def __call__(self, index: int, files: Sequence[DataFile]) -> str:
        """Return the path of the staged list."""
        entries = [
            Entry(spelling, row["origin"], row["score"])
            for file in files
            for batch in read_batches(self.storage, file.path)
            for row in batch.to_pylist()
            for spelling in (row["entry"], *row["aliases"])
        ]
        path = join(self.staging, f"list-{shuffle.staged_name(index)}")
        shuffle.write_buckets(
            self.storage, path, ENTRY_FORMS, shuffle.spread(entry_forms(entries), "form", self.buckets)
        )
        return path
