"""The reading part of build_metadata: every source file read once, its counts staged."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from curation.io.storage import Storage
from jobs.runtime.ledger import failed_row
from jobs.runtime.run_tasks import Result
from jobs.tasks.metadata.ngrams import ReadDump, StagedGrams
from jobs.tasks.metadata.titles import ReadViews
from jobs.tasks.metadata.wordnet import ReadWordnets
from metadata.languages import LanguageTable
from metadata.sources import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadSource:
    """Reads one source and stages its counts: a dump's n-grams, views and lemmas by Wikipedia."""

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    wiktionary: bool
    staging: str
    view_buckets: int
    gram_buckets: Mapping[str, int]

    def __call__(self, index: int, source: Source) -> Iterator[Result]:
        """Yield where the counts are staged, and the ledger rows of the files."""
        if source.kind == "views":
            yield from ReadViews(self.storage, self.table, self.codes, self.staging, self.view_buckets)(
                index, *source.files
            )
        elif source.kind == "dump":
            yield from ReadDump(self.storage, self.table, self.staging, self.gram_buckets)(index, source)
        else:
            yield from ReadWordnets(self.storage, self.table, self.codes, self.wiktionary, self.staging)(index, source)


@dataclass(frozen=True)
class Staged:
    """Where the counts of all sources lie, and what is to be known of the wordnets among them.

    `lemmas` are files whose record batch n holds the lemmas of Wikipedia n of `codes`; `unmapped` the wordnet files of
    languages without a Wikipedia.
    """

    codes: Sequence[str]
    view_buckets: int
    grams: dict[str, StagedGrams] = field(default_factory=dict)
    namespaces: dict[str, frozenset[str]] = field(default_factory=dict)
    views: list[tuple[str, int]] = field(default_factory=list)
    lemmas: list[str] = field(default_factory=list)
    unmapped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, results: Iterable[Result], read: ReadSource) -> Staged:
        """Collect what `read` gave."""
        staged = cls(read.codes, read.view_buckets)
        for result in results:
            stats = result.stats
            if result.kind == "dump":
                code = stats["code"]
                grams = staged.grams.setdefault(code, StagedGrams(read.gram_buckets[code]))
                grams.files.append(tuple(stats["staged"]))
                known = staged.namespaces.get(code, frozenset())
                staged.namespaces[code] = known | frozenset(stats["namespaces"])
            elif result.kind == "views":
                staged.views.append(tuple(stats["staged"]))
            elif result.kind == "wordnet":
                staged.lemmas.append(stats["path"])
                staged.unmapped.extend(stats["unmapped"])
                staged.notes.extend(stats["notes"])
        if staged.unmapped:
            names = ", ".join(PurePath(path).name for path in staged.unmapped)
            log.warning("build_metadata: wordnets of languages without a Wikipedia in the table, left out: %s", names)
        for note in staged.notes:
            log.info("build_metadata: %s", note)
        return staged


def crashed(_: int, source: Source) -> Result:
    """Return the ledger row of a source that takes down any process that reads it."""
    return Result("ledger", stats=failed_row(source.files[0], "its reader crashes", time.monotonic()))
