"""The lists part of build_metadata: each Wikipedia's source list, and a key's entries from those that merge into it.

Most keys have one source list, `other` nearly half of all. So that no task holds more than two, however many merge:

    MakeList      makes one Wikipedia's list, and stages it in its key's buckets by a hash of the entry form
    MergeBucket   merges one bucket of a key that has several: all spellings of a form are in it
    WriteEntries  merges a key's one bucket, or its sorted buckets lazily, and writes its entries

How many buckets a key has follows from how many Wikipedias it has and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from math import ceil

import pyarrow as pa

from curation.io.storage import Storage, join
from curation.lake import shuffle
from curation.lake.lake import DataFile, WrittenFile
from curation.lake.parquet import read_batches
from curation.lake.schemas import SCHEMAS
from jobs.runtime.run_tasks import Result, RunTasks, file_results
from jobs.runtime.stage import WriterFactory
from jobs.tasks.metadata.ngrams import RankedGrams
from jobs.tasks.metadata.sorted_runs import SortedRows, merge_sorted, write_sorted
from jobs.tasks.metadata.titles import RankedTitles
from metadata.limits import Limits
from metadata.lists.build import source_list
from metadata.lists.merge import (
    FORMED,
    MERGED,
    Entry,
    columns_of,
    digest_lines,
    entries_table,
    formed,
    merge_formed,
)
from metadata.lists.statistics import statistics

LISTS = 2  # whose entries one bucket holds on average; the result does not depend on it
BLOCK = 1 << 16  # entries that are written at a time

Bucket = tuple[str, int]  # a key and one of its buckets
Keys = Mapping[str, Sequence[str]]  # the Wikipedias that are built of every key, in the order in which they merge


@dataclass(frozen=True)
class MakeList:
    """Makes one Wikipedia's source list and stages it in buckets.

    `lemmas` are staged files whose record batch n holds the lemmas of Wikipedia n of `codes`; `made` the files of
    those lists that an earlier build made.
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

    def __call__(self, index: int, code: str) -> Iterator[Result]:
        """Yield the written list, what each source gave it, and where it is staged."""
        entries = self._read(self.made[code]) if code in self.made else self._make(code)
        with self.writers("source_lists", index, folder=f"wikipedia={code}") as writer:
            writer.write(_list_table(entries))
        yield from file_results("source_lists", in_partition(writer.files, wikipedia=code))
        path = join(self.staging, f"list-{shuffle.staged_name(index)}")
        shuffle.write_buckets(self.storage, path, FORMED, shuffle.spread(formed(entries), "form", self.buckets[code]))
        yield Result("list", stats={"code": code, "path": path, "sources": statistics(entries, self.limits[code])})

    def _read(self, files: Iterable[DataFile]) -> list[Entry]:
        return [
            Entry(row["entry"], row["origin"], row["score"])
            for file in files
            for batch in read_batches(self.storage, file.path)
            for row in batch.to_pylist()
        ]

    def _make(self, code: str) -> list[Entry]:
        place, limits = self.codes.index(code), self.limits[code]
        lemmas = shuffle.read_buckets(self.storage, self.lemmas, range(place, place + 1))
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

    def __call__(self, index: int, unit: Bucket) -> Iterator[Result]:
        """Yield where the bucket's merged entries lie, sorted."""
        key, bucket = unit
        merged = merge_formed(shuffle.read_buckets(self.storage, self.lists[key], range(bucket, bucket + 1)))
        path = join(self.staging, f"merged-{shuffle.staged_name(index)}")
        rows = write_sorted(self.storage, path, pa.table(columns_of(merged, MERGED.names), schema=MERGED))
        yield Result("merged", stats={"key": key, "rows": rows})


@dataclass(frozen=True)
class WriteEntries:
    """Writes the entries of one key, from its merged buckets or, where it has one, from its staged lists."""

    storage: Storage
    lists: Mapping[str, Sequence[str]]
    merged: Mapping[str, Sequence[SortedRows]]
    writers: WriterFactory

    def __call__(self, index: int, key: str) -> Iterator[Result]:
        """Yield the written entries, how many there are by origin, and their digest."""
        digest, origins, count = sha256(), Counter[str](), 0
        with self.writers("entries", index, folder=f"lang={key}") as writer:
            for entries in self._blocks(key):
                writer.write(entries_table(entries, count))
                digest.update(digest_lines(entries))
                origins.update(entry.origin for entry in entries)
                count += len(entries)
        yield from file_results("entries", in_partition(writer.files, lang=key))
        yield Result("key", stats={"lang": key, "entries": count, "digest": digest.hexdigest(), "merged": origins})

    def _blocks(self, key: str) -> Iterator[list[Entry]]:
        if key not in self.merged:
            yield merge_formed(shuffle.read_buckets(self.storage, self.lists[key], range(1)))
            return
        rows = merge_sorted(self.storage, self.merged[key], MERGED.names, key=lambda row: row[0])
        while block := [Entry(name, origin, score, tuple(also)) for name, origin, score, also in islice(rows, BLOCK)]:
            yield block


def bucket_counts(keys: Keys) -> dict[str, int]:
    """Return over how many buckets the list of each Wikipedia is spread."""
    return {code: ceil(len(codes) / LISTS) for codes in keys.values() for code in codes}


def merge_keys(
    run: RunTasks, storage: Storage, staging: str, keys: Keys, lists: Mapping[str, str], writers: WriterFactory
) -> list[Result]:
    """Merge the staged lists, `lists` by Wikipedia, into the entries of every key, and write these."""
    staged = {key: [lists[code] for code in codes] for key, codes in keys.items()}
    buckets = bucket_counts(keys)
    counts = {key: buckets[codes[0]] for key, codes in keys.items()}
    units = [(key, bucket) for key, count in counts.items() if count > 1 for bucket in range(count)]
    merged: dict[str, list[SortedRows]] = {}
    for result in run("build_metadata: merging", units, MergeBucket(storage, staging, staged)):
        merged.setdefault(result.stats["key"], []).append(tuple(result.stats["rows"]))
    return run("build_metadata: entries", list(keys), WriteEntries(storage, staged, merged, writers))


def in_partition(files: Iterable[WrittenFile], **partition: str) -> Iterator[WrittenFile]:
    """Yield written files marked with the part of their partition that this commit's other files do not share."""
    return (replace(file, partition=partition) for file in files)


def _list_table(entries: Sequence[Entry]) -> pa.Table:
    schema = SCHEMAS["source_lists"]
    return pa.table([range(len(entries)), *columns_of(entries, schema.names[1:])], schema=schema)
