"""Read crawled pages or tables of pairs and publish `pairs`: one row per image, with its texts.

Ingest makes two passes. It reads every input file once, groups its texts by image and stages the groups in hash
buckets; then it merges every bucket into one output file. If there are many staged files, a pass in between combines
some hundreds of them at a time. The ledger has one row per input file. Files that cannot be read, or only in part,
count as failed: up to `max_failed_inputs` the batch is published without them, and the next run tries them again.

A published batch is replaced only by a run with the same settings and at least the same files, or with `--replace`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from curation.cli.command import CommandOptions
from curation.errors import OutputError, UsageError
from curation.images.refs.roots import REFUSED
from curation.lake import shuffle
from curation.occurrence import Counters
from curation.readers.first_inputs import check_first_inputs
from curation.urls import ALGORITHM as URL_ALGORITHM
from jobs.runtime.context import Context
from jobs.runtime.freshness import Freshness, recorded_inputs
from jobs.runtime.job import Job, main
from jobs.runtime.ledger import LedgerRow
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks import url_algorithms
from jobs.tasks.ingest.languages import plan_filters_of
from jobs.tasks.ingest.merge import Combine, Earlier, MergeBucket, MergedBucket
from jobs.tasks.ingest.published import changes_of_batch
from jobs.tasks.ingest.read import ALGORITHM, ReadFile, StagedGroups, crashed
from jobs.tasks.ingest.sources import InputFile, list_files, sources_of

log = logging.getLogger(__name__)

FILES_AT_ONCE = 200  # staged files that a task merges at once, all of them open


class IngestStage(Stage):
    """Reads the inputs of a batch and publishes its pairs."""

    name: ClassVar[str] = "ingest"
    tables: ClassVar[tuple[str, ...]] = ("pairs",)

    def __init__(self, context: Context, files: list[InputFile] | None = None) -> None:
        super().__init__(context)
        config, self.section = context.config, context.config.ingest
        self.sources = sources_of(config)
        self.plan = plan_filters_of(config, context.storage)
        self.files = list_files(config, self.sources) if files is None else files
        self.batch = context.batch
        self.earlier_pairs = _earlier_pairs(context, context.lake.batches_up_to(self.batch)[:-1])
        self.fingerprint_keys = {
            "ingest": self.section.fingerprint_keys(),
            "lists": self.plan.digests,
            "seed": config.seed,
            "algorithm": ALGORITHM,
        }
        self.inputs = {
            "files": [file.record for file in self.files],
            **({"seen": self.earlier_pairs.run_ids} if self.earlier_pairs else {}),
            url_algorithms.KEY: URL_ALGORITHM,
        }
        self.outputs = {"pairs": {"batch": self.batch}}
        self.bits = shuffle.bucket_bits(sum(file.size for file, _ in self.files), self.section.bucket_bytes)

    @classmethod
    def reopen(cls, context: Context, row: Mapping[str, Any], partition: Mapping[str, str]) -> Self:  # noqa: ARG003
        """Return the stage that published a batch, with the files that it read; they are not listed again."""
        return cls(context, [InputFile.of_record(record) for record in recorded_inputs(row)["files"]])

    def check(self, freshness: Freshness) -> None:
        """Raise UsageError if other settings or fewer files would replace a batch, unless `--replace` is given."""
        changes = changes_of_batch(freshness.row, self.section, self.context.config.seed, self.files)
        if not changes or self.context.replace:
            return
        raise UsageError(
            f"ingest: batch {self.batch} is published with {changes}: its pairs, and everything made from them, would "
            f"be replaced: give --replace to do that, or another batch"
        )

    def execute(self, run: StageRun) -> Publication:
        """Read, combine and merge."""
        for number, source in enumerate(self.sources):
            files_of_source = [file for file, position in self.files if position == number]
            check_first_inputs(source.storage, files_of_source, source.section)
        ledger, staged = self._read(run)
        failed = run.check_failed(ledger)
        combined = self._combine(run, [part.path for part in staged])
        merged = self._merge(run, [part.path for part in combined or staged])
        counters = _check_counters([*staged, *combined], merged)
        files = [file for bucket in merged for file in bucket.files]
        totals = {
            "files": len(self.files),
            "files_failed": len(failed),
            "read": counters.read,
            "kept": counters.kept,
            "duplicates": counters.duplicates,
            "over_cap": counters.over_cap,
            "images": sum(file.rows for file in files),
            "notes": dict(sorted(counters.notes.items())),
            "dropped_samples": counters.samples,
        }
        _warn(totals, counters.drops)
        return Publication({"pairs": files}, totals, counters.drops, complete=not failed, ledger=ledger)

    def _read(self, run: StageRun) -> tuple[list[LedgerRow], list[StagedGroups]]:
        """Read every input file, or take its groups from the cache; return the ledger and the staged groups."""
        context, section = self.context, self.section
        cache = context.lake.layout.group_cache(self.batch)
        task = ReadFile(self.sources, context.storage, self.plan, context.config.seed, self.bits, run.staging, cache)
        results = context.run_tasks("ingest", self.files, task, on_crash=crashed, at_once=section.connections)
        run.step("read")
        staged = [result.staged for result in results if result.staged]
        if reused := sum(part.reused for part in staged):
            log.info("ingest: %d of %d files had been read by an earlier run", reused, len(self.files))
        return [result.ledger for result in results], staged

    def _combine(self, run: StageRun, paths: Sequence[str]) -> list[StagedGroups]:
        """Combine staged files, FILES_AT_ONCE at a time; return nothing if there are few."""
        if len(paths) <= FILES_AT_ONCE:
            return []
        units = [paths[start : start + FILES_AT_ONCE] for start in range(0, len(paths), FILES_AT_ONCE)]
        context, cap = self.context, self.section.max_texts_per_image
        combine = Combine(context.storage, context.config.seed, cap, self.bits, run.staging)
        combined = context.run_tasks("ingest: combine", units, combine)
        run.step("combine")
        return combined

    def _merge(self, run: StageRun, paths: Sequence[str]) -> list[MergedBucket]:
        """Merge every bucket of the staged files and write its pairs."""
        context, cap = self.context, self.section.max_texts_per_image
        merge = MergeBucket(
            context.storage, paths, context.config.seed, cap, self.bits, run.writers(), self.earlier_pairs
        )
        merged = context.run_tasks("ingest: merge", range(1 << self.bits), merge)
        run.step("merge")
        return merged


def run(context: Context) -> list[Outcome]:
    """Ingest the batch's inputs."""
    url_algorithms.rekey_tombstones(context.lake)
    return [IngestStage(context).run()]


def _earlier_pairs(context: Context, batches: Sequence[str]) -> Earlier | None:
    """Return the pairs of the earlier batches, if images are to be looked up there."""
    section = context.config.ingest
    if section.seen == "none":
        return None
    pairs = context.lake.snapshot("pairs").by("batch")
    earlier = {batch: pairs[batch] for batch in batches}
    numbers = url_algorithms.of_pairs(context.lake, earlier) | {context.batch: URL_ALGORITHM}
    remedy = "ingest the earlier batches again, in their order, or set ingest.seen: none"
    url_algorithms.check_same(numbers, "ingest.seen", remedy)
    return Earlier(section.seen_action, {batch: found.files for batch, found in earlier.items()})


def _check_counters(staged: Sequence[StagedGroups], merged: Sequence[MergedBucket]) -> Counters:
    """Add up the counters of all passes. Raises OutputError unless they add up and agree with the written texts."""
    counters = sum((part.counters for part in staged), Counters())
    counters = sum((bucket.counters for bucket in merged), counters)
    counters.check()
    if (texts := sum(bucket.texts for bucket in merged)) != counters.kept:
        raise OutputError(f"ingest: counts do not add up: {texts} texts written, {counters.kept} kept")
    return counters


def _warn(totals: Mapping[str, Any], drops: Mapping[str, int]) -> None:
    if refused := drops.get(REFUSED):
        log.warning(
            "ingest.ref_roots: %d texts were dropped because their image references name files outside the allowed "
            "folders (%s): list these folders if they are meant",
            refused,
            REFUSED,
        )
    if broken := totals["notes"].get("broken_record"):
        log.warning("ingest: %d records could not be read (broken_record)", broken)
    if not totals["images"]:
        log.warning("ingest: the inputs contain no usable pair: publishing an empty batch")


class IngestOptions(CommandOptions):
    """Whether a published batch may be replaced."""

    replace: bool = Field(
        False, description="replace a published batch although its ingest settings or input files have changed"
    )


JOB = Job(
    "ingest",
    __doc__ or "",
    run,
    stages=(IngestStage,),
    options=IngestOptions,
    sections=("ingest",),
    holds_lease=True,
)

if __name__ == "__main__":
    sys.exit(main("jobs.ingest"))
