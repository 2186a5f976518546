"""The lists of build_metadata: the source list of each Wikipedia, and each key's entries merged from its source lists.

Most keys have one source list, but `other` has nearly half of all. So that no task holds more than two lists:

    MakeList      makes the list of one Wikipedia and stages it in its key's buckets by a hash of the normalized entry
    MergeBucket   merges one bucket of a key that has several; it contains all spellings of an entry
    WriteEntries  merges a key's only bucket, or its sorted buckets lazily, and writes its entries

The number of buckets of a key depends on its number of Wikipedias and does not affect the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from math import ceil

import msgspec
import pyarrow as pa

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from curation.lake.files import DataFile, WrittenFile
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS
from jobs.runtime.context import Context
from jobs.runtime.partitions import WriterFactory
from jobs.tasks.metadata.ngrams import RankedGrams
from jobs.tasks.metadata.sorted_runs import SortedRows, merge_sorted, write_sorted
from jobs.tasks.metadata.titles import RankedTitles
from metadata.limits import Limits
from metadata.lists.build import source_list
from metadata.lists.merge import (
    ENTRY_FORMS,
    MERGED,
    Entry,
    digest_lines,
    entries_table,
    entry_columns,
    entry_forms,
    merge_entry_forms,
)
from metadata.lists.statistics import SourceStatistics, statistics

LISTS = 2  # per bucket, on average; the result does not depend on it
BLOCK = 1 << 16  # entries written at a time

Bucket = tuple[str, int]  # a key and one of its buckets
Keys = Mapping[str, Sequence[str]]  # the built Wikipedias of every key, in the order in which they merge


class MadeList(msgspec.Struct):
    """The written source list of a Wikipedia, where it is staged for merging, and its sources (see `statistics`)."""

    code: str
    files: list[WrittenFile]
    staged: str
    sources: dict[str, SourceStatistics]


class MergedBucket(msgspec.Struct):
    """Where the merged entries of one bucket of a key are staged, sorted."""

    key: str
    rows: SortedRows


class WrittenEntries(msgspec.Struct):
    """The written entries of a key, their number and number by origin, and the digest of the list."""

    key: str
    files: list[WrittenFile]
    entries: int
    by_origin: dict[str, int]
    digest: str


@dataclass(frozen=True)
class MakeList:
    """Makes the source list of one Wikipedia and stages it in buckets.

    `lemmas` are staged files whose record batch n holds the lemmas of Wikipedia n of `codes`; `made` are the files of
    the lists that an earlier build made.
    """

    storage: Storage
    staging: str
    buckets: Mapping[str, int]
    limits: Mapping[str, Limits]
    made: Mapping[str, Sequence[DataFile]]
    codes: Sequence[str]
    lemmas: Sequence[str]
    grams: RankedGrams
    titles: RankedTitles
    writers: WriterFactory

    def __call__(self, index: int, code: str) -> MadeList:
        """Return the written list, the statistics of its sources, and where it is staged."""
        entries = self._read(self.made[code]) if code in self.made else self._make(code)
        with self.writers("source_lists", index, folder=f"wikipedia={code}") as writer:
            writer.write(_list_table(entries))
        path = join(self.staging, f"list-{shuffle.staged_name(index)}")
        shuffle.write_buckets(
            self.storage, path, ENTRY_FORMS, shuffle.spread(entry_forms(entries), "form", self.buckets[code])
        )
        files = in_partition(writer.files, wikipedia=code)
        return MadeList(code, files, path, statistics(entries, self.limits[code]))

    def _read(self, files: Iterable[DataFile]) -> list[Entry]:
        return [
            Entry(row["entry"], row["origin"], row["score"])
            for file in files
            for batch in read_batches(self.storage, file.path)
            for row in batch.to_pylist()
        ]

    def _make(self, code: str) -> list[Entry]:
        index, limits = self.codes.index(code), self.limits[code]
        lemmas = shuffle.read_buckets(self.storage, self.lemmas, range(index, index + 1))
        unigrams, bigrams = self.grams.best(code, limits)
        return source_list(
            limits,
            lemmas=(lemma for part in lemmas for lemma in part["lemma"].to_pylist()),
            unigrams=unigrams,
            bigrams=bigrams,
            titles=self.titles.best(code, limits),
        )


@dataclass(frozen=True)
class MergeBucket:
    """Merges one bucket of a key's source lists, which are staged in `lists` in the order in which they merge."""

    storage: Storage
    staging: str
    lists: Mapping[str, Sequence[str]]

    def __call__(self, index: int, unit: Bucket) -> MergedBucket:
        """Return where the bucket's merged entries are staged, sorted."""
        key, bucket = unit
        merged = merge_entry_forms(shuffle.read_buckets(self.storage, self.lists[key], range(bucket, bucket + 1)))
        path = join(self.staging, f"merged-{shuffle.staged_name(index)}")
        rows = write_sorted(self.storage, path, pa.table(entry_columns(merged, MERGED.names), schema=MERGED))
        return MergedBucket(key, rows)


@dataclass(frozen=True)
class WriteEntries:
    """Writes the entries of one key, from its merged buckets, or from its staged lists if it has one bucket."""

    storage: Storage
    lists: Mapping[str, Sequence[str]]
    merged: Mapping[str, Sequence[SortedRows]]
    writers: WriterFactory

    def __call__(self, index: int, key: str) -> WrittenEntries:
        """Return the written entries, their number by origin, and the digest of the list."""
        digest, origins, count = sha256(), Counter[str](), 0
        with self.writers("entries", index, folder=f"lang={key}") as writer:
            for entries in self._blocks(key):
                writer.write(entries_table(entries, count))
                digest.update(digest_lines(entries))
                origins.update(entry.origin for entry in entries)
                count += len(entries)
        return WrittenEntries(key, in_partition(writer.files, lang=key), count, origins, digest.hexdigest())

    def _blocks(self, key: str) -> Iterator[list[Entry]]:
        if key not in self.merged:
            yield merge_entry_forms(shuffle.read_buckets(self.storage, self.lists[key], range(1)))
            return
        rows = merge_sorted(self.storage, self.merged[key], MERGED.names, key=lambda row: row[0])
        while block := [Entry(name, origin, score, tuple(also)) for name, origin, score, also in islice(rows, BLOCK)]:
            yield block


def bucket_counts(keys: Keys) -> dict[str, int]:
    """Return the number of buckets for the list of each Wikipedia."""
    return {code: ceil(len(codes) / LISTS) for codes in keys.values() for code in codes}


def merge_keys(
    context: Context, staging: str, keys: Keys, lists: Mapping[str, str], writers: WriterFactory
) -> list[WrittenEntries]:
    """Merge the staged lists, `lists` by Wikipedia, into the entries of every key, and write these."""
    staged = {key: [lists[code] for code in codes] for key, codes in keys.items()}
    buckets = bucket_counts(keys)
    counts = {key: buckets[codes[0]] for key, codes in keys.items()}
    units = [(key, bucket) for key, count in counts.items() if count > 1 for bucket in range(count)]
    merged: dict[str, list[SortedRows]] = {}
    merge = MergeBucket(context.storage, staging, staged)
    for bucket in context.run_tasks("build_metadata: merging", units, merge):
        merged.setdefault(bucket.key, []).append(bucket.rows)
    write = WriteEntries(context.storage, staged, merged, writers)
    return context.run_tasks("build_metadata: entries", list(keys), write)


def in_partition(files: Iterable[WrittenFile], **partition: str) -> list[WrittenFile]:
    """Return written files with those keys of their partition that differ within one commit."""
    return [replace(file, partition=partition) for file in files]


def _list_table(entries: Sequence[Entry]) -> pa.Table:
    schema = SCHEMAS["source_lists"]
    return pa.table([range(len(entries)), *entry_columns(entries, schema.names[1:])], schema=schema)
