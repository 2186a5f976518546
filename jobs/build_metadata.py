"""Builds the per-language metadata: entries from WordNet, Wikipedia n-grams and titles, and compiled matchers.

Every source file is read once and its counts staged; page views are summed by buckets; every language key merges what
is its own into a sorted list of entries; every list is compiled for both rule sets. The metadata version is the hash of
all entries. The source list of every Wikipedia, before merging, is kept beside them in `source_lists`, and taken from
there by later builds whose inputs for that Wikipedia are the same.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from curation import exchange, matching
from curation.errors import OutputError
from curation.lake import DataFile, WrittenFile
from curation.matcher_file import compile_entries
from curation.matchers import Manifest, make_latest, manifest_path, matcher_name, write_manifest, write_matcher
from curation.parquet import read_batches
from curation.schemas import SCHEMAS
from curation.storage import Storage, join
from jobs.ledger import check_failed, failed_row, whole_files
from jobs.metadata_ngrams import RankedGrams, ReadDump, StagedGrams, bucket_counts, rank_grams
from jobs.metadata_reuse import files_of_lists, fingerprint, made_before, sources_of
from jobs.metadata_titles import RankedTitles, ReadViews, SumViews, bucket_count
from jobs.metadata_wordnet import ReadWordnets, wordnet_books
from jobs.runner import Context, Job, main
from jobs.sink import Result, file_results, files_of, run_sink
from jobs.stage import Outcome, Stage, WriterFactory
from metadata import segmenters
from metadata.build import key_entries, source_list
from metadata.languages import LanguageTable
from metadata.limits import Limits, limits_of
from metadata.merge import Entry, entries_table, list_digest, version_of
from metadata.page import render
from metadata.sources import Source, check_known, cut, find_sources, wanted
from metadata.statistics import statistics

log = logging.getLogger(__name__)

ALGORITHM = 4
PIECE_BYTES = 32 << 20  # of a dump file that one task reads; the result does not depend on it
RULES = ("worldwide", "reference")


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
    """Where the counts of all sources lie."""

    grams: dict[str, StagedGrams] = field(default_factory=dict)
    namespaces: dict[str, frozenset[str]] = field(default_factory=dict)
    views: list[tuple[str, int]] = field(default_factory=list)
    wordnet: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, results: Iterable[Result], gram_buckets: Mapping[str, int]) -> Staged:
        """Collect what `ReadSource` gave."""
        staged = cls()
        for result in results:
            stats = result.stats
            if result.kind == "dump":
                code = stats["code"]
                grams = staged.grams.setdefault(code, StagedGrams(gram_buckets[code]))
                grams.files.append(tuple(stats["staged"]))
                known = staged.namespaces.get(code, frozenset())
                staged.namespaces[code] = known | frozenset(stats["namespaces"])
            elif result.kind == "views":
                staged.views.append(tuple(stats["staged"]))
            elif result.kind == "wordnet":
                staged.wordnet.append(stats["path"])
        return staged


@dataclass(frozen=True)
class BuildKey:
    """Builds the source lists of one key's Wikipedias and merges them into its entries.

    `codes` are the Wikipedias whose sources were read, `made` the files of those lists that an earlier build made.
    """

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    made: Mapping[str, Sequence[DataFile]]
    limits: Mapping[str, Limits]
    wordnet: Sequence[str]
    grams: RankedGrams
    titles: RankedTitles
    writers: WriterFactory

    def __call__(self, index: int, key: str) -> Iterator[Result]:
        """Yield the written source lists and entries with their figures."""
        lists = {code: self._source_list(code) for code in self.table.sources(key) if code in self.limits}
        for code, entries in lists.items():
            rows = [
                {"place": place, "entry": e.entry, "origin": e.origin, "score": e.score}
                for place, e in enumerate(entries)
            ]
            with self.writers("source_lists", index, folder=f"wikipedia={code}") as writer:
                writer.write(pa.Table.from_pylist(rows, schema=SCHEMAS["source_lists"]))
            yield from file_results("source_lists", in_partition(writer.files, wikipedia=code))
        merged = key_entries(key, lists, self.table)
        with self.writers("entries", index, folder=f"lang={key}") as writer:
            writer.write(entries_table(merged))
        yield from file_results("entries", in_partition(writer.files, lang=key))
        sources = {code: statistics(entries, self.limits[code]) for code, entries in lists.items()}
        stats = {"lang": key, "entries": len(merged), "digest": list_digest(merged), "sources": sources}
        yield Result("key", stats={**stats, "merged": Counter(entry.origin for entry in merged)})

    def _source_list(self, code: str) -> list[Entry]:
        if code in self.made:
            return [
                Entry(row["entry"], row["origin"], row["score"])
                for file in self.made[code]
                for batch in read_batches(self.storage, file.path)
                for row in batch.to_pylist()
            ]
        place = list(self.codes).index(code)
        lemmas = exchange.read_buckets(self.storage, self.wordnet, range(place, place + 1))
        limits = self.limits[code]
        unigrams, bigrams = self.grams.best(code, limits)
        return source_list(
            limits,
            lemmas=(lemma for part in lemmas for lemma in part["lemma"].to_pylist()),
            unigrams=unigrams,
            bigrams=bigrams,
            titles=self.titles.best(code, limits),
        )


@dataclass(frozen=True)
class Compile:
    """Compiles one language's entries for one rule set."""

    storage: Storage
    lake: str
    version: str
    files: Mapping[str, Sequence[WrittenFile]]

    def __call__(self, _: int, unit: tuple[str, str]) -> Iterator[Result]:
        """Yield the matcher's name and checksum."""
        lang, rules = unit
        entries = [
            entry
            for file in self.files[lang]
            for batch in read_batches(self.storage, join(self.lake, "entries", file.path), ["entry"])
            for entry in batch["entry"].to_pylist()
        ]
        sha256 = write_matcher(self.storage, self.lake, self.version, rules, lang, compile_entries(entries, rules))
        yield Result("matcher", stats={"name": matcher_name(rules, lang), "sha256": sha256})


def run(context: Context) -> list[Outcome]:
    """Build the metadata of the configured languages."""
    section, lake, table = context.config.metadata, context.lake, LanguageTable.load()
    codes = wanted(section, table)
    overrides = {name: limits.model_dump(exclude_none=True) for name, limits in section.limits.items()}
    check_known("metadata.limits", [name for name in overrides if name not in ("default", "other")], table)
    limits = {code: limits_of(code, table.target(code), overrides, section.bigram_score) for code in codes}
    sources = find_sources(context.storage, section, codes, table)
    cut_by = {code: segmenters.fingerprint(table.languages[code]) for code in sorted({s.code for s in sources} - {""})}
    stage = Stage(
        "build_metadata",
        lake,
        context.config,
        semantic={
            "languages": codes,
            "limits": overrides,
            "bigram_score": section.bigram_score,
            "wiktionary": section.wiktionary,
            "table": table.digest,
            "segmenters": cut_by,
            "algorithm": [ALGORITHM, matching.ALGORITHM],
        },
        inputs={"sources": [[s.kind, s.code, [[f.path, f.size, f.etag] for f in s.files]] for s in sources]},
        outputs={},
    )
    if (done := stage.done_before()) and is_published(context, done.totals["version"]):
        make_latest(context.storage, lake.root, done.totals["version"])
        return [done]
    files_of_list = files_of_lists(sources, codes, table, wiktionary=section.wiktionary)
    fingerprints = {
        code: fingerprint(found, limits[code], code, table, [ALGORITHM, cut_by.get(code)])
        for code, found in files_of_list.items()
    }
    made = made_before(lake, fingerprints)
    changed = [code for code in codes if code not in made]
    sources = sources_of(sources, changed)
    log.info("build_metadata: %d of %d lists are to be made, the others were made before", len(changed), len(codes))

    progress = context.config.progress_s
    buckets = bucket_count(file for source in sources if source.kind == "views" for file in source.files)
    gram_buckets = bucket_counts(sources)
    read = ReadSource(context.storage, table, changed, section.wiktionary, stage.staging, buckets, gram_buckets)
    units = list(cut(sources, PIECE_BYTES))
    results = run_sink(context.spark, "build_metadata: sources", units, read, progress_s=progress, on_crash=crashed)
    ledger = whole_files(result.stats for result in results if result.kind == "ledger")
    failed = check_failed(stage, ledger, context.config.max_failed_inputs)
    stage.step("sources")

    staged = Staged.of(results, gram_buckets)
    grams = rank_grams(context.spark, context.storage, stage.staging, table, staged.grams, limits)
    stage.step("n-grams")

    sums = SumViews(context.storage, stage.staging, staged.views, buckets, staged.namespaces)
    summed = run_sink(context.spark, "build_metadata: page views", range(buckets if staged.views else 0), sums)
    titles = RankedTitles.of(context.storage, summed)
    stage.step("page views")

    keys = sorted({table.target(code) for code in codes})
    build = BuildKey(context.storage, table, changed, made, limits, staged.wordnet, grams, titles, stage.writers())
    built = run_sink(context.spark, "build_metadata: entries", keys, build, progress_s=progress)
    figures = {result.stats["lang"]: result.stats for result in built if result.kind == "key"}
    version = version_of({lang: found["digest"] for lang, found in figures.items()})
    stage.step("entries")

    files = {kind: files_of(built, kind) for kind in ("source_lists", "entries")}
    by_lang = {key: [file for file in files["entries"] if file.partition["lang"] == key] for key in keys}
    lists = [(key, rules) for key in keys for rules in RULES]
    compile_ = Compile(context.storage, lake.root, version, by_lang)
    compiled = run_sink(context.spark, "build_metadata: matchers", lists, compile_, progress_s=progress)
    stage.step("matchers")

    if lost := sorted(set(codes) - {code for found in figures.values() for code in found["sources"]}):
        raise OutputError(f"build_metadata: no list holds the entries of {', '.join(lost)}; nothing was published")
    unmapped, notes = wordnet_books(results)
    unread = {row["path"] for row in failed}
    stage.aim({table_name: {"metadata_version": version} for table_name in files})
    totals = {
        "version": version,
        "languages": len(keys),
        "entries": sum(found["entries"] for found in figures.values()),
        "files": len(ledger),
        "files_failed": len(failed),
        "files_unmapped": unmapped,
        "notes": notes,
        "by_lang": {lang: found["merged"] for lang, found in figures.items()},
        "by_wikipedia": {code: stats for found in figures.values() for code, stats in found["sources"].items()},
        "lists_reused": len(made),
        "fingerprints": {
            code: same
            for code, same in fingerprints.items()
            if unread.isdisjoint(file.path for file in files_of_list[code])
        },
    }
    manifest = Manifest(
        version,
        {lang: found["entries"] for lang, found in figures.items()},
        {result.stats["name"]: result.stats["sha256"] for result in compiled},
    )
    write_manifest(context.storage, lake.root, manifest)
    drops = dropped(ledger)
    outcome = stage.publish(files, totals=totals, drops=drops, complete=not failed, ledger=ledger)
    make_latest(context.storage, lake.root, version)
    page = lake.uri("reports", "metadata", f"{version}.html")
    context.storage.write_bytes(page, render(totals, stage.run_id, table, datetime.now(UTC)).encode())
    log.info("build_metadata: %s", page)
    return [outcome]


def in_partition(files: Iterable[WrittenFile], **partition: str) -> Iterator[WrittenFile]:
    """Yield written files marked with the part of their partition that this commit's other files do not share."""
    return (replace(file, partition=partition) for file in files)


def is_published(context: Context, version: str) -> bool:
    """Tell whether a version's entries and its matchers' manifest are there."""
    entries = context.lake.snapshot("entries", {"metadata_version": version})
    return bool(entries.files) and context.storage.exists(manifest_path(context.lake.root, version))


def dropped(ledger: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return what was dropped from all files, by reason."""
    drops: Counter[str] = Counter()
    for row in ledger:
        drops.update(json.loads(row["drops"]))
    return drops


def crashed(_: int, source: Source) -> Result:
    """Return the ledger row of a source that takes down any process that reads it."""
    return Result("ledger", stats=failed_row(source.files[0], "its reader crashes", time.monotonic()))


JOB = Job("build_metadata", __doc__ or "", run, required=("lake",))

if __name__ == "__main__":
    sys.exit(main("jobs.build_metadata"))
