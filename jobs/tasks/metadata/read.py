"""The reading task of build_metadata: every source file is read once and its counts are staged."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import msgspec

from curation.io.storage import Storage
from jobs.runtime.ledger import LedgerRow, failed_row, merge_rows
from jobs.tasks.metadata.ngrams import CountedDump, ReadDump, StagedGrams
from jobs.tasks.metadata.titles import CountedViews, ReadViews
from jobs.tasks.metadata.wordnet import ReadWordnets, StagedLemmas
from metadata.languages import LanguageTable
from metadata.sources import Source

log = logging.getLogger(__name__)


class SourceResult(msgspec.Struct):
    """The ledger rows of a source's files, and its staged counts by kind; a source that failed has none."""

    ledger: list[LedgerRow]
    dump: CountedDump | None = None
    views: CountedViews | None = None
    wordnets: StagedLemmas | None = None


@dataclass(frozen=True)
class ReadSource:
    """Reads one source and stages its counts by Wikipedia: the n-grams of a dump, page views, or lemmas."""

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    wiktionary: bool
    staging: str
    view_buckets: int
    gram_buckets: Mapping[str, int]

    def __call__(self, index: int, source: Source) -> SourceResult:
        """Return where the counts are staged, and the ledger rows of the files."""
        if source.kind == "views":
            read_views = ReadViews(self.storage, self.table, self.codes, self.staging, self.view_buckets)
            views = read_views(index, *source.files)
            return SourceResult([views.ledger], views=views)
        if source.kind == "dump":
            dump = ReadDump(self.storage, self.table, self.staging, self.gram_buckets)(index, source)
            return SourceResult([dump.ledger], dump=dump)
        read_wordnets = ReadWordnets(self.storage, self.table, self.codes, self.wiktionary, self.staging)
        wordnets = read_wordnets(index, source)
        return SourceResult(wordnets.ledger, wordnets=wordnets)


@dataclass(frozen=True)
class StagedSources:
    """Where the counts of all sources are staged, the ledger rows of their files, and notes on the wordnets.

    `lemmas` are files whose record batch n holds the lemmas of Wikipedia n of `codes`; `unmapped` the wordnet files of
    languages without a Wikipedia.
    """

    codes: Sequence[str]
    view_buckets: int
    ledger: Sequence[LedgerRow]
    grams: dict[str, StagedGrams] = field(default_factory=dict)
    namespaces: dict[str, frozenset[str]] = field(default_factory=dict)
    views: list[tuple[str, int]] = field(default_factory=list)
    lemmas: list[str] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def collect(cls, results: Sequence[SourceResult], read: ReadSource) -> StagedSources:
        """Collect the results of `read`."""
        ledger = merge_rows(row for result in results for row in result.ledger)
        staged = cls(read.codes, read.view_buckets, ledger)
        for result in results:
            if result.dump:
                staged._add_dump(result.dump, read.gram_buckets)
            if result.views:
                staged.views.append(result.views.staged)
            if result.wordnets:
                staged.lemmas.append(result.wordnets.path)
                staged.unmapped.extend(result.wordnets.unmapped)
                staged.notes.extend(result.wordnets.notes)
        return staged

    def _add_dump(self, dump: CountedDump, buckets: Mapping[str, int]) -> None:
        self.grams.setdefault(dump.code, StagedGrams(buckets[dump.code])).files.append(dump.staged)
        self.namespaces[dump.code] = self.namespaces.get(dump.code, frozenset()) | frozenset(dump.namespaces)

    def log_notes(self) -> None:
        """Log the wordnets that were left out, and the notes on the others."""
        if self.unmapped:
            names = ", ".join(PurePath(path).name for path in self.unmapped)
            log.warning("build_metadata: wordnets of languages without a Wikipedia in the table, left out: %s", names)
        for note in self.notes:
            log.info("build_metadata: %s", note)


def crashed(_: int, source: Source) -> SourceResult:
    """Return the result of a source that crashes any process that reads it."""
    return SourceResult([failed_row(source.files[0], "reading it crashed the worker process", time.monotonic())])
