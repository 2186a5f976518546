"""The page views of build_metadata: every file is read once, views are summed by bucket, titles merged best first.

A page-view file covers all Wikipedias and more titles than a task may hold. Reading therefore stages partial sums in
buckets by a hash of the title (`ReadViews`); each bucket is summed over all files and ranked by Wikipedia (`SumViews`);
and the titles of a Wikipedia are merged from the ranked buckets in order, only up to the capacity of its list
(`RankedTitles`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

import msgspec

from curation.io.backend import FileStat
from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from jobs.runtime.context import Context
from jobs.runtime.ledger import LedgerRow, ledger_row
from jobs.tasks.metadata.sorted_runs import chunk_count, chunks
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.lists.build import count_views
from metadata.lists.titles import VIEWS, ViewCounters, best_titles, sum_bucket
from metadata.ngrams.rank import Ranked

BUCKET_BYTES = 64 << 20  # of page-view files as stored; the result does not depend on it
MAX_BUCKET_BITS = 9

Staged = tuple[str, int]  # a staged file and its number of record batches


def bucket_count(files: Iterable[FileStat]) -> int:
    """Return the number of buckets for the views of these files."""
    return 1 << min(MAX_BUCKET_BITS, shuffle.bucket_bits(sum(file.size for file in files), BUCKET_BYTES))


class CountedViews(msgspec.Struct):
    """The staged views of a page-view file, and its ledger row."""

    staged: Staged
    ledger: LedgerRow


class RankedBucket(msgspec.Struct):
    """Where the ranked articles of a bucket are staged, and their number by Wikipedia."""

    path: str
    articles: dict[str, int]


@dataclass(frozen=True)
class ReadViews:
    """Stages the views of one page-view file: record batch n holds a partial sum of bucket n modulo `buckets`."""

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    staging: str
    buckets: int

    def __call__(self, index: int, file: FileStat) -> CountedViews:
        """Return where the views are staged, and the ledger row of the file."""
        started, counters = time.monotonic(), ViewCounters()
        path = join(self.staging, shuffle.staged_name(index))
        partial = count_views(file.path, self._open, self.table, self.codes, counters)
        parts = (part for views in partial for part in shuffle.spread(views, "title", self.buckets))
        batches = len(shuffle.write_buckets(self.storage, path, VIEWS, parts))
        row = ledger_row(
            file, counters.error, read=counters.lines, kept=counters.kept, drops=counters.drops, started=started
        )
        return CountedViews((path, batches), row)

    def _open(self, path: str) -> BinaryIO:
        return cast("BinaryIO", self.storage.open_input(path))


@dataclass(frozen=True)
class SumViews:
    """Sums one bucket over all files and stages its articles by Wikipedia, best first."""

    storage: Storage
    staging: str
    staged: Sequence[Staged]
    buckets: int
    namespaces: Mapping[str, frozenset[str]]

    def __call__(self, bucket: int, _: int) -> RankedBucket:
        """Return where the ranked articles of each Wikipedia are staged."""
        parts = (
            table
            for path, count in self.staged
            for table in shuffle.read_buckets(self.storage, [path], range(bucket, count, self.buckets))
        )
        ranked = sum_bucket(parts, self.namespaces)
        path = join(self.staging, f"titles-{shuffle.staged_name(bucket)}")
        shuffle.write_buckets(
            self.storage, path, VIEWS, (chunk for views in ranked.values() for chunk in chunks(views))
        )
        return RankedBucket(path, {code: views.num_rows for code, views in ranked.items()})


@dataclass(frozen=True)
class RankedTitles:
    """The titles of every Wikipedia, from the buckets that `SumViews` staged."""

    storage: Storage
    buckets: Sequence[RankedBucket]

    def best(self, code: str, limits: Limits) -> Ranked:
        """Yield a Wikipedia's titles as `best_titles` ranks them."""
        distinct = sum(bucket.articles.get(code, 0) for bucket in self.buckets)
        return best_titles((self._rows(bucket, code) for bucket in self.buckets), distinct, limits)

    def _rows(self, bucket: RankedBucket, code: str) -> Iterator[tuple[str, int]]:
        start = sum(chunk_count(rows) for before, rows in bucket.articles.items() if before < code)
        batches = range(start, start + chunk_count(bucket.articles.get(code, 0)))
        yield from shuffle.read_rows(self.storage, bucket.path, batches, ("title", "views"))


def rank_titles(
    context: Context, staging: str, staged: Sequence[Staged], buckets: int, namespaces: Mapping[str, frozenset[str]]
) -> RankedTitles:
    """Rank the titles of every Wikipedia; `namespaces` are each wiki's own names of namespaces."""
    sum_views = SumViews(context.storage, staging, staged, buckets, namespaces)
    ranked = context.run_tasks("build_metadata: page views", range(buckets if staged else 0), sum_views)
    return RankedTitles(context.storage, ranked)
