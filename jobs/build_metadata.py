"""Build the per-language metadata: entries from WordNet, Wikipedia n-grams and titles, and compiled matchers.

Every source file is read once and its counts are staged; n-grams of large Wikipedias and page views are summed by
bucket; every Wikipedia gets a source list; the lists that share a key are merged into its sorted entries; and the
entries of every key are compiled for both rule sets. The metadata version is the hash of all entries. The source lists
are stored in `source_lists`, and later builds take them from there if the inputs of that Wikipedia have not changed.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from curation.errors import OutputError
from curation.lake.files import WrittenFile
from curation.matching import matcher
from curation.matching.store import MatcherStore
from jobs.runtime.compilation import BUILD, announce_compilation
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.ledger import LedgerRow
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.metadata.lists import MadeList, MakeList, WrittenEntries, bucket_counts, merge_keys
from jobs.tasks.metadata.matchers import RULES, CompiledMatcher, CompileMatcher, publish_manifest, same_build
from jobs.tasks.metadata.ngrams import bucket_counts as gram_buckets
from jobs.tasks.metadata.ngrams import rank_grams
from jobs.tasks.metadata.plan import find_reuse, limit_overrides, plan_build
from jobs.tasks.metadata.read import ReadSource, StagedSources, crashed
from jobs.tasks.metadata.reuse import Reuse, sources_of
from jobs.tasks.metadata.titles import bucket_count as view_buckets
from jobs.tasks.metadata.titles import rank_titles
from metadata.lists.gaps import describe_gaps, find_gaps
from metadata.lists.merge import version_from_digests
from metadata.lists.page import render
from metadata.lists.statistics import ORIGINS
from metadata.sources import split_sources

log = logging.getLogger(__name__)

ALGORITHM = 5
SPLIT_BYTES = 32 << 20  # of a dump file that one task reads; the result does not depend on it


class MetadataStage(Stage):
    """Builds the lists of the configured languages and publishes them as a metadata version."""

    name: ClassVar[str] = "build_metadata"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        section = context.config.metadata
        self.plan = plan_build(context)
        self.fingerprint_keys = {
            "languages": self.plan.codes,
            "limits": limit_overrides(context),
            "bigram_score": section.bigram_score,
            "wiktionary": section.wiktionary,
            "table": self.plan.table.digest,
            "segmenters": self.plan.segmenters,
            "algorithm": [ALGORITHM, matcher.ALGORITHM],
        }
        self.inputs = {
            "sources": [[s.kind, s.code, [[f.path, f.size, f.etag] for f in s.files]] for s in self.plan.sources]
        }
        self.outputs = {}

    def earlier(self, run: StageRun) -> Outcome | None:
        """Return the outcome of an earlier build whose version is still published."""
        return same_build(run, self.context.lake)

    def execute(self, run: StageRun) -> Publication:
        """Read the sources of changed lists, make the lists, merge them and compile the matchers."""
        context, plan = self.context, self.plan
        reuse = find_reuse(context, plan, ALGORITHM)
        changed = [code for code in plan.codes if code not in reuse.made]
        log.info(
            "build_metadata: %d of %d lists are to be made; the others are unchanged", len(changed), len(plan.codes)
        )
        staged = self._read_sources(run, changed)
        failed = run.check_failed(staged.ledger)
        run.step("sources")
        staged.log_notes()
        made = self._make_lists(run, staged, reuse)
        built = merge_keys(context, run.staging, plan.keys, {part.code: part.staged for part in made}, run.writers())
        run.step("entries")
        version = version_from_digests({part.key: part.digest for part in built})
        compiled = self._compile(version, built)
        run.step("matchers")
        totals = {**self._totals(version, made, built), **self._source_totals(staged, failed, reuse)}
        publish_manifest(context.lake, version, {part.key: part.entries for part in built}, compiled)
        files = {
            "source_lists": [file for part in made for file in part.files],
            "entries": [file for part in built for file in part.files],
        }
        outputs = {table: {"metadata_version": version} for table in files}
        drops: Counter[str] = Counter()
        for row in staged.ledger:
            drops.update(row.drops)
        return Publication(files, totals, drops, complete=not failed, ledger=staged.ledger, outputs=outputs)

    def _read_sources(self, run: StageRun, codes: Sequence[str]) -> StagedSources:
        """Read the sources of the lists of some Wikipedias."""
        context, plan = self.context, self.plan
        sources = sources_of(plan.sources, codes)
        views = view_buckets(file for source in sources if source.kind == "views" for file in source.files)
        wiktionary = context.config.metadata.wiktionary
        read = ReadSource(context.storage, plan.table, codes, wiktionary, run.staging, views, gram_buckets(sources))
        units = list(split_sources(sources, SPLIT_BYTES))
        results = context.run_tasks("build_metadata: sources", units, read, on_crash=crashed)
        return StagedSources.collect(results, read)

    def _make_lists(self, run: StageRun, staged: StagedSources, reuse: Reuse) -> list[MadeList]:
        """Make, write and stage the source list of every Wikipedia."""
        context, plan = self.context, self.plan
        grams = rank_grams(context, run.staging, plan.table, staged.grams, plan.limits)
        run.step("n-grams")
        titles = rank_titles(context, run.staging, staged.views, staged.view_buckets, staged.namespaces)
        run.step("page views")
        make = MakeList(
            context.storage,
            run.staging,
            bucket_counts(plan.keys),
            plan.limits,
            reuse.made,
            staged.codes,
            staged.lemmas,
            grams,
            titles,
            run.writers(),
        )
        made = context.run_tasks("build_metadata: lists", plan.codes, make)
        run.step("lists")
        return made

    def _compile(self, version: str, built: Sequence[WrittenEntries]) -> list[CompiledMatcher]:
        """Compile the written entries of every key for both rule sets."""
        context = self.context
        files: dict[str, list[WrittenFile]] = {part.key: part.files for part in built}
        units = [(key, rules) for key in self.plan.keys for rules in RULES]
        compile_matcher = CompileMatcher(context.storage, context.lake.root, version, files)
        announce_compilation("build_metadata", *BUILD)
        return context.run_tasks("build_metadata: matchers", units, compile_matcher)

    def _totals(self, version: str, made: Sequence[MadeList], built: Sequence[WrittenEntries]) -> dict[str, Any]:
        """Return the number of entries by key and origin, and the statistics of each Wikipedia's sources.

        Raises OutputError if a Wikipedia has no list.
        """
        by_wikipedia = {part.code: msgspec.to_builtins(part.sources) for part in made}
        by_lang = {part.key: part.by_origin for part in built}
        if lost := sorted(set(self.plan.codes) - by_wikipedia.keys()):
            raise OutputError(f"build_metadata: no list holds the entries of {', '.join(lost)}; nothing was published")
        return {
            "version": version,
            "languages": len(built),
            "entries": sum(part.entries for part in built),
            "by_lang": by_lang,
            "by_wikipedia": by_wikipedia,
            "gaps": find_gaps(by_wikipedia, by_lang, self.plan.limits),
        }

    def _source_totals(self, staged: StagedSources, failed: Sequence[LedgerRow], reuse: Reuse) -> dict[str, Any]:
        return {
            "files": len(staged.ledger),
            "files_failed": len(failed),
            "files_unmapped": staged.unmapped,
            "notes": staged.notes,
            "lists_reused": len(reuse.made),
            "fingerprints": reuse.sound(failed),
        }


def run(context: Context) -> list[Outcome]:
    """Build the metadata of the configured languages and make it the latest version."""
    stage = MetadataStage(context)
    outcome = stage.run()
    MatcherStore(context.storage, context.lake.root).set_latest(outcome.totals["version"])
    if outcome.fresh:
        log.info("build_metadata: entries by origin: %s", describe_origins(outcome.totals["by_lang"].values()))
        table, gaps = stage.plan.table, outcome.totals["gaps"]
        for line in describe_gaps(gaps, len(stage.plan.codes), table.names):
            log.warning("build_metadata: %s", line)
        page = context.lake.layout.metadata_page(outcome.totals["version"])
        html = render(outcome.totals, outcome.run_id, table, datetime.now(UTC))
        context.storage.write_bytes(page, html.encode())
        log.info("build_metadata: %s", page)
    return [outcome]


def describe_origins(counts: Iterable[Mapping[str, int]]) -> str:
    """Return the sums of counts by origin as text, `100 number, 20 wordnet, …`."""
    sums = Counter[str]()
    for by_origin in counts:
        sums.update(by_origin)
    return ", ".join(f"{sums[origin]} {origin}" for origin in ORIGINS)


JOB = Job("build_metadata", __doc__ or "", run, required=("lake",), sections=("metadata",), creates_lake=True)

if __name__ == "__main__":
    sys.exit(main("jobs.build_metadata"))
