"""Builds the per-language metadata: entries from WordNet, Wikipedia n-grams and titles, and compiled matchers.

Every source file is read once and its counts staged; n-grams of large wikis and page views are summed by buckets; every
Wikipedia gets a source list; the lists that share a key merge into its sorted entries; every key is compiled for both
rule sets. The metadata version is the hash of all entries. The source lists are kept beside them in `source_lists`, and
taken from there by later builds whose inputs for that Wikipedia are the same.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from curation.errors import OutputError
from curation.io.storage import FileStat
from curation.lake.lake import DataFile
from curation.matching import matcher
from curation.matching.store import make_latest
from jobs.runtime.job import Context, Job, main
from jobs.runtime.ledger import check_failed, whole_files
from jobs.runtime.run_tasks import Result, RunTasks, files_of, run_tasks
from jobs.runtime.stage import Outcome, Stage
from jobs.tasks.metadata.lists import Keys, MakeList, bucket_counts, merge_keys
from jobs.tasks.metadata.matchers import RULES, Compile, is_published, publish_manifest
from jobs.tasks.metadata.ngrams import bucket_counts as gram_buckets
from jobs.tasks.metadata.ngrams import rank_grams
from jobs.tasks.metadata.read import ReadSource, Staged, crashed
from jobs.tasks.metadata.reuse import files_of_lists, fingerprint, made_before, sources_of
from jobs.tasks.metadata.titles import bucket_count, rank_titles
from metadata.languages import LanguageTable
from metadata.limits import Limits, limits_of
from metadata.lists.merge import version_of
from metadata.lists.page import render
from metadata.lists.statistics import ORIGINS
from metadata.ngrams import segmenters
from metadata.sources import Source, check_known, cut, find_sources, wanted

log = logging.getLogger(__name__)

ALGORITHM = 4
PIECE_BYTES = 32 << 20  # of a dump file that one task reads; the result does not depend on it


@dataclass(frozen=True)
class Plan:
    """What is built from which files: Wikipedias and the keys they merge into, and how text is cut, by Wikipedia."""

    table: LanguageTable
    codes: Sequence[str]
    keys: Keys
    limits: Mapping[str, Limits]
    sources: Sequence[Source]
    cut_by: Mapping[str, str]

    @classmethod
    def of(cls, context: Context) -> Plan:
        """Find out what the config asks for. Raises UsageError for unknown names, InputError for missing files."""
        section, table = context.config.metadata, LanguageTable.load()
        codes = wanted(section, table)
        overrides = limit_overrides(context)
        check_known("metadata.limits", [name for name in overrides if name not in ("default", "other")], table)
        limits = {code: limits_of(code, table.target(code), overrides, section.bigram_score) for code in codes}
        keys = {
            key: [code for code in table.sources(key) if code in limits]
            for key in sorted({table.target(code) for code in codes})
        }
        sources = find_sources(context.storage, section, codes, table)
        with_dumps = sorted({source.code for source in sources} - {""})
        cut_by = {code: segmenters.fingerprint(table.languages[code]) for code in with_dumps}
        return cls(table, codes, keys, limits, sources, cut_by)


def limit_overrides(context: Context) -> dict[str, dict[str, Any]]:
    """Return the limits that the config sets."""
    return {name: limits.model_dump(exclude_none=True) for name, limits in context.config.metadata.limits.items()}


def new_stage(context: Context, plan: Plan) -> Stage:
    """Return the stage, whose fingerprint is what the version follows from."""
    section = context.config.metadata
    return Stage(
        "build_metadata",
        context.lake,
        context.config,
        semantic={
            "languages": plan.codes,
            "limits": limit_overrides(context),
            "bigram_score": section.bigram_score,
            "wiktionary": section.wiktionary,
            "table": plan.table.digest,
            "segmenters": plan.cut_by,
            "algorithm": [ALGORITHM, matcher.ALGORITHM],
        },
        inputs={"sources": [[s.kind, s.code, [[f.path, f.size, f.etag] for f in s.files]] for s in plan.sources]},
        outputs={},
    )


@dataclass(frozen=True)
class Reuse:
    """Which lists need not be made: the files each list follows from, what names them, the lists made before."""

    files: Mapping[str, Sequence[FileStat]]
    fingerprints: Mapping[str, str]
    made: Mapping[str, Sequence[DataFile]]

    @classmethod
    def of(cls, context: Context, plan: Plan) -> Reuse:
        """Look for the lists that earlier builds in the lake made."""
        table = plan.table
        files = files_of_lists(plan.sources, plan.codes, table, wiktionary=context.config.metadata.wiktionary)
        fingerprints = {
            code: fingerprint(found, plan.limits[code], code, table, [ALGORITHM, plan.cut_by.get(code)])
            for code, found in files.items()
        }
        return cls(files, fingerprints, made_before(context.lake, fingerprints))

    def sound(self, failed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Return the fingerprints of the lists that none of the failed files belongs to."""
        unread = {row["path"] for row in failed}
        return {
            code: same
            for code, same in self.fingerprints.items()
            if unread.isdisjoint(file.path for file in self.files[code])
        }


@dataclass(frozen=True)
class Counters:
    """The ledger rows of all files that were read, and those of them that failed."""

    ledger: Sequence[dict[str, Any]]
    failed: Sequence[dict[str, Any]]

    @property
    def drops(self) -> Counter[str]:
        """What was dropped from all files, by reason."""
        drops: Counter[str] = Counter()
        for row in self.ledger:
            drops.update(json.loads(row["drops"]))
        return drops


def sink(context: Context, **options: Any) -> RunTasks:
    """Return how the steps run their units."""
    return partial(run_tasks, context.spark, progress_s=context.config.progress_s, **options)


def read_sources(context: Context, plan: Plan, stage: Stage, codes: Sequence[str]) -> tuple[Staged, Counters]:
    """Read what the lists of some Wikipedias are made from. Raises InputError when too many files fail."""
    sources = sources_of(plan.sources, codes)
    views = bucket_count(file for source in sources if source.kind == "views" for file in source.files)
    wiktionary = context.config.metadata.wiktionary
    read = ReadSource(context.storage, plan.table, codes, wiktionary, stage.staging, views, gram_buckets(sources))
    units = list(cut(sources, PIECE_BYTES))
    results = sink(context, on_crash=crashed)("build_metadata: sources", units, read)
    ledger = whole_files(result.stats for result in results if result.kind == "ledger")
    failed = check_failed(stage, ledger, context.config.max_failed_inputs)
    stage.step("sources")
    return Staged.of(results, read), Counters(ledger, failed)


def make_lists(context: Context, plan: Plan, stage: Stage, staged: Staged, reuse: Reuse) -> list[Result]:
    """Make and write the source list of every Wikipedia; it is staged for merging too."""
    run, storage = sink(context), context.storage
    grams = rank_grams(run, storage, stage.staging, plan.table, staged.grams, plan.limits)
    stage.step("n-grams")
    titles = rank_titles(run, storage, stage.staging, staged.views, staged.view_buckets, staged.namespaces)
    stage.step("page views")
    make = MakeList(
        storage,
        stage.staging,
        bucket_counts(plan.keys),
        plan.limits,
        reuse.made,
        staged.codes,
        staged.lemmas,
        grams,
        titles,
        stage.writers(),
    )
    made = run("build_metadata: lists", plan.codes, make)
    stage.step("lists")
    return made


def compile_lists(context: Context, plan: Plan, version: str, built: Sequence[Result]) -> list[Result]:
    """Compile the written entries of every key for both rule sets."""
    files: dict[str, list[Any]] = {key: [] for key in plan.keys}
    for file in files_of(built, "entries"):
        files[file.partition["lang"]].append(file)
    units = [(key, rules) for key in plan.keys for rules in RULES]
    compile_ = Compile(context.storage, context.lake.root, version, files)
    return sink(context)("build_metadata: matchers", units, compile_)


def run(context: Context) -> list[Outcome]:
    """Build the metadata of the configured languages."""
    lake, plan = context.lake, Plan.of(context)
    stage = new_stage(context, plan)
    if (done := stage.done_before()) and is_published(lake, done.totals["version"]):
        make_latest(context.storage, lake.root, done.totals["version"])
        return [done]
    reuse = Reuse.of(context, plan)
    changed = [code for code in plan.codes if code not in reuse.made]
    log.info(
        "build_metadata: %d of %d lists are to be made, the others were made before", len(changed), len(plan.codes)
    )
    staged, counters = read_sources(context, plan, stage, changed)
    made = make_lists(context, plan, stage, staged, reuse)
    staged_lists = {result.stats["code"]: result.stats["path"] for result in made if result.kind == "list"}
    built = merge_keys(sink(context), context.storage, stage.staging, plan.keys, staged_lists, stage.writers())
    stage.step("entries")
    version = version_of({found.stats["lang"]: found.stats["digest"] for found in built if found.kind == "key"})
    compiled = compile_lists(context, plan, version, built)
    stage.step("matchers")
    totals = {
        **figures(version, made, built),
        "files": len(counters.ledger),
        "files_failed": len(counters.failed),
        "files_unmapped": staged.unmapped,
        "notes": staged.notes,
        "lists_reused": len(reuse.made),
        "fingerprints": reuse.sound(counters.failed),
    }
    if lost := sorted(set(plan.codes) - totals["by_wikipedia"].keys()):
        raise OutputError(f"build_metadata: no list holds the entries of {', '.join(lost)}; nothing was published")
    publish_manifest(lake, version, {lang: sum(n.values()) for lang, n in totals["by_lang"].items()}, compiled)
    files = {"source_lists": files_of(made, "source_lists"), "entries": files_of(built, "entries")}
    stage.set_outputs({table: {"metadata_version": version} for table in files})
    outcome = stage.publish(
        files, totals=totals, drops=counters.drops, complete=not counters.failed, ledger=counters.ledger
    )
    make_latest(context.storage, lake.root, version)
    log.info("build_metadata: entries by origin: %s", in_words(totals["by_lang"].values()))
    write_page(context, plan.table, outcome)
    return [outcome]


def figures(version: str, made: Iterable[Result], built: Iterable[Result]) -> dict[str, Any]:
    """Return what was built: entries by key and origin, and what each source gave the list of each Wikipedia."""
    keys = {result.stats["lang"]: result.stats for result in built if result.kind == "key"}
    return {
        "version": version,
        "languages": len(keys),
        "entries": sum(found["entries"] for found in keys.values()),
        "by_lang": {lang: found["merged"] for lang, found in keys.items()},
        "by_wikipedia": {result.stats["code"]: result.stats["sources"] for result in made if result.kind == "list"},
    }


def in_words(counts: Iterable[Mapping[str, int]]) -> str:
    """Return the sums of counts by origin, in words."""
    sums = Counter[str]()
    for found in counts:
        sums.update(found)
    return ", ".join(f"{sums[origin]} {origin}" for origin in ORIGINS)


def write_page(context: Context, table: LanguageTable, outcome: Outcome) -> None:
    """Write the page of a build."""
    page = context.lake.uri("reports", "metadata", f"{outcome.totals['version']}.html")
    context.storage.write_bytes(page, render(outcome.totals, outcome.run_id, table, datetime.now(UTC)).encode())
    log.info("build_metadata: %s", page)


JOB = Job("build_metadata", __doc__ or "", run, required=("lake",))

if __name__ == "__main__":
    sys.exit(main("jobs.build_metadata"))
