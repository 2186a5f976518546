"""The page-view part of build_metadata: every file read once, its views summed by buckets, titles merged best first.

A page-view file holds all Wikipedias and more titles than a task may hold, so reading stages partial sums in buckets by
a hash of the title (`ReadViews`), each bucket is summed over all files and ranked by Wikipedia (`SumViews`), and a
Wikipedia's titles come out of the ranked buckets in order (`RankedTitles`), only as far as its list asks for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from curation.io.storage import FileStat, Storage, join
from curation.lake import shuffle
from jobs.runtime.ledger import ledger_result
from jobs.runtime.run_tasks import Result, RunTasks
from jobs.tasks.metadata.sorted_runs import chunk_count, chunks
from metadata.languages import LanguageTable
from metadata.limits import Limits
from metadata.lists.build import count_views
from metadata.lists.titles import VIEWS, ViewCounters, best_titles, sum_bucket
from metadata.ngrams.rank import Ranked

BUCKET_BYTES = 64 << 20  # of page-view files as they lie on disk; the result does not depend on it
MAX_BUCKET_BITS = 9

Staged = tuple[str, int]  # a staged file and its number of record batches


def bucket_count(files: Iterable[FileStat]) -> int:
    """Return how many buckets the views of these files are spread over."""
    return 1 << min(MAX_BUCKET_BITS, shuffle.bucket_bits(sum(file.size for file in files), BUCKET_BYTES))


@dataclass(frozen=True)
class ReadViews:
    """Stages one page-view file's views: record batch n holds a partial sum of bucket n modulo `buckets`."""

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    staging: str
    buckets: int

    def __call__(self, index: int, file: FileStat) -> Iterator[Result]:
        """Yield where the views are staged, and the ledger row of the file."""
        started, counters = time.monotonic(), ViewCounters()
        path = join(self.staging, shuffle.staged_name(index))
        partial = count_views(file.path, self._open, self.table, self.codes, counters)
        pieces = (piece for views in partial for piece in shuffle.spread(views, "title", self.buckets))
        rows = shuffle.write_buckets(self.storage, path, VIEWS, pieces)
        yield Result("views", stats={"staged": [path, len(rows)]})
        yield ledger_result(file, counters.error, counters.lines, counters.kept, counters.drops, started)

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

    def __call__(self, bucket: int, _: int) -> Iterator[Result]:
        """Yield where the ranked articles of each Wikipedia lie."""
        parts = (
            table
            for path, count in self.staged
            for table in shuffle.read_buckets(self.storage, [path], range(bucket, count, self.buckets))
        )
        ranked = sum_bucket(parts, self.namespaces)
        path = join(self.staging, f"titles-{shuffle.staged_name(bucket)}")
        pieces = (chunk for views in ranked.values() for chunk in chunks(views))
        shuffle.write_buckets(self.storage, path, VIEWS, pieces)
        yield Result("titles", stats={"path": path, "articles": {code: t.num_rows for code, t in ranked.items()}})


@dataclass(frozen=True)
class RankedTitles:
    """The titles of every Wikipedia, from what `SumViews` staged."""

    storage: Storage
    buckets: Sequence[tuple[str, Mapping[str, int]]]

    @classmethod
    def of(cls, storage: Storage, results: Iterable[Result]) -> RankedTitles:
        """Collect what `SumViews` gave."""
        return cls(storage, [(r.stats["path"], r.stats["articles"]) for r in results if r.kind == "titles"])

    def best(self, code: str, limits: Limits) -> Ranked:
        """Yield a Wikipedia's titles as `best_titles` ranks them."""
        distinct = sum(articles.get(code, 0) for _, articles in self.buckets)
        return best_titles((self._rows(*bucket, code) for bucket in self.buckets), distinct, limits)

    def _rows(self, path: str, articles: Mapping[str, int], code: str) -> Iterator[tuple[str, int]]:
        start = sum(chunk_count(rows) for before, rows in articles.items() if before < code)
        own = range(start, start + chunk_count(articles.get(code, 0)))
        yield from shuffle.read_rows(self.storage, path, own, ("title", "views"))


def rank_titles(
    run: RunTasks,
    storage: Storage,
    staging: str,
    staged: Sequence[Staged],
    buckets: int,
    namespaces: Mapping[str, frozenset[str]],
) -> RankedTitles:
    """Rank the titles of every Wikipedia; `namespaces` are the wikis' own names of namespaces."""
    sums = SumViews(storage, staging, staged, buckets, namespaces)
    return RankedTitles.of(storage, run("build_metadata: page views", range(buckets if staged else 0), sums))
