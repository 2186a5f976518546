"""Fetch the images of the curated pairs, find duplicates if the section `dedup` asks for it, and write the shards.

The job runs up to three stages. `images` is the one impure stage: its work units are fixed first (parts of the curated
rows that make about one shard), then each is fetched, and its results are published, failures with their reason. Images
that published runs of any batch and recipe have stored with the same settings are not requested again, nor are those
that a killed run has fetched. `duplicates` and `shards` are pure functions of published tables and hash lists.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from curation.cli.command import CommandOptions
from curation.cli.lists import split_names
from curation.errors import OutputError, RebuildError, WorldcurateError
from curation.images import statistics
from curation.images.fetch import TIME_OVER
from curation.images.refs.sources import RefSources
from curation.lake.tombstones import Tombstones
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with, recorded_inputs
from jobs.runtime.job import Job, main
from jobs.runtime.runs import Outcome, digest, earlier_outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.dedup.stage import DuplicatesStage, withdraw_duplicates
from jobs.tasks.images.checks import check_settings
from jobs.tasks.images.earlier_runs import find_stored, is_mostly_fetched, retried_reasons
from jobs.tasks.images.fetch import FetchParts
from jobs.tasks.images.filters import known_filters
from jobs.tasks.images.inputs import block_lists, ref_sources
from jobs.tasks.images.plan import ALGORITHM, plan_buckets_of
from jobs.tasks.images.progress import REBUILT_FROM, FetchProgress, find_finished
from jobs.tasks.images.reuse import UNREACHED, StoredImages
from jobs.tasks.images.shards_stage import ShardsStage
from jobs.tasks.images.splits import group_parts, plan_fetches, rows_per_fetch

log = logging.getLogger(__name__)

ALL_REASONS = "all"
FETCH_KEYS = {
    "max_side", "min_side", "max_pixels", "max_bytes", "shard_bytes", "assumed_image_bytes", "robots", "formats",
    "resize", "encode", "quality", "max_aspect", "tdm_reservation", "robots_txt",
}  # fmt: skip


class ImagesStage(Stage):
    """Fetches every part of the plan and publishes `images`."""

    name: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("images",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.batch, (self.curated, buckets) = context.batch, plan_buckets_of(context)
        self.fetch_rows = rows_per_fetch(self.curated.rows)
        self.units = [slices for _, slices in plan_fetches(buckets, self.fetch_rows)]
        self.section, self.tombstones = context.config.images, Tombstones.read(context.lake)
        self.fingerprint_keys = {"images": self.section.model_dump(include=FETCH_KEYS), "algorithm": ALGORITHM}
        partition = {"recipe": context.config.recipe, "batch": self.batch}
        self.filters = known_filters(context, partition)
        if self.filters.keys:
            self.fingerprint_keys["filters"] = self.filters.keys
        self.inputs = {"curated": self.curated.run_ids}
        self.outputs = {"images": partition}
        self.reads = [self.curated]

    def earlier(self, run: StageRun) -> Outcome | None:
        """Return the outcome of a run that makes this one unnecessary; without `fetch`, of any run with its inputs.

        No run does if images failed for reasons that are to be tried again.
        """
        if self.context.retry_failed is not None and (row := run.freshness().row):
            failed = json.loads(row["drops"]).keys() - {"tombstone"}
            if failed & (retried_reasons(self.context) or failed):
                return None
        row = None if self.context.fetch else run.freshness().row
        if row and digest(recorded_inputs(row)) == digest(self.inputs):
            return earlier_outcome(row)
        return super().earlier(run)

    def execute(self, run: StageRun) -> Publication:
        """Fetch every part; a run that fetched less than half, or did not reach an image, is incomplete."""
        context = self.context
        if context.spark.conf.get("spark.speculation", "false") == "true":
            log.warning("spark.speculation is on: images may be fetched twice; turn it off for fetch_images")
        row = run.freshness().row
        if row and not context.fetch and not made_with(row, self.name, self.fingerprint_keys):
            run.set_keys({**self.fingerprint_keys, "stored_by": row["fingerprint"]})  # not what a fetch would store
        tasks = context.run_tasks(
            "fetch_images", group_parts(self.units, self.fetch_rows, context.cores), self._task(run, row)
        )
        results = [part for parts in tasks for part in parts]
        run.step("fetch")
        reasons: Counter[str] = Counter()
        for result in results:
            reasons.update(result.reasons)
        files = [file for result in results for file in result.files]
        written, hidden = sum(file.rows for file in files), sum(result.tombstone for result in results)
        if not reasons.total() + hidden == self.curated.rows == written + hidden:
            raise OutputError(
                f"images: counts do not add up: read {self.curated.rows} curated pairs, {written} rows written + "
                f"{hidden} hidden by tombstones, results {dict(reasons)}"
            )
        fetched = reasons.pop("ok", 0)
        totals = {"images": written, "fetched": fetched, "buckets": len(self.units), "fetch_rows": self.fetch_rows}
        complete = is_mostly_fetched(totals, reasons, self.filters.keys)
        if not complete:
            _warn_incomplete(fetched, written, reasons)
        if late := sum(reasons[reason] for reason in TIME_OVER):
            log.warning(
                "images.task_timeout_s: %d of %d images were not finished in time: the next run tries them again",
                late,
                written,
            )
        complete &= not reasons.keys() & UNREACHED
        if reused := sum(result.reused for result in results):
            totals["reused"] = reused
        if row and not context.fetch:
            totals[REBUILT_FROM] = row["run_id"]
        totals |= statistics.merged(result.statistics for result in results).totals(self.filters.ranges)
        drops = {"tombstone": hidden, **reasons}
        return Publication({"images": files}, totals, {k: n for k, n in drops.items() if n}, complete=complete)

    def _task(self, run: StageRun, row: Mapping[str, Any] | None) -> FetchParts:
        """Return the task that fetches parts, with the images that earlier runs stored.

        Those are killed runs that did the same work, the published run, whose row is `row`, and runs of other batches
        and recipes.
        """
        context, partition = self.context, self.outputs["images"]
        curated, reads_texts = self.curated.run_ids[0], self.filters.read_texts
        stored = find_stored(context, row, self.fingerprint_keys, partition, curated, reads_texts=reads_texts)
        kept = frozenset[str]() if context.retry_failed is None else retried_reasons(context)
        seed, finished = context.config.seed, find_finished(context, run)
        killed = StoredImages(context.storage, seed, finished, retried=kept, references=True)
        return FetchParts(
            context.storage,
            self.section,
            self.tombstones,
            run.writers(),
            ref_sources(context, self.batch) if context.fetch else RefSources([]),
            block_lists(context) if context.fetch else (),
            [killed, *stored],
            FetchProgress.of(run),
            seed,
            self.filters,
            fetch=context.fetch,
        )


def run(context: Context) -> list[Outcome]:
    """Fetch the images of the batch's curated pairs, find duplicates if that is asked for, and write the shards."""
    if context.fetch:  # a takedown rebuilds the images in any case
        check_settings(context)
    outcomes, problem = [], None
    for kind in JOB.stages:
        try:
            outcomes += [kind.open(context).run()] if kind.applies(context.config) else []
        except WorldcurateError as error:
            if context.fetch:
                raise
            if kind is not DuplicatesStage:
                raise RebuildError(kind.tables[-1], error) from error
            problem = RebuildError(kind.tables[-1], error)  # the shards are built with the published duplicates
    if problem:
        raise problem
    if not DuplicatesStage.applies(context.config):
        withdraw_duplicates(context)
    return outcomes


def _warn_incomplete(fetched: int, written: int, reasons: Counter[str]) -> None:
    log.warning(
        "images: only %d of %d could be fetched (%s): the next run tries all failures again",
        fetched,
        written,
        ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(3)),
    )


def _reasons(value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the reasons of a list separated by commas; none for `all`."""
    if not isinstance(value, str):
        return value
    return () if value == ALL_REASONS else split_names(value)


class FetchOptions(CommandOptions):
    """Which failed images are requested again."""

    retry_failed: Annotated[tuple[str, ...] | None, BeforeValidator(_reasons)] = Field(
        None,
        description="request images again that failed, or only those that failed for these reasons",
        json_schema_extra={"bare": ALL_REASONS, "metavar": "REASON,…"},
    )


JOB = Job(
    "fetch_images",
    __doc__ or "",
    run,
    stages=(ImagesStage, DuplicatesStage, ShardsStage),
    options=FetchOptions,
    sections=("images", "dedup"),
    holds_lease=True,
)

if __name__ == "__main__":
    sys.exit(main("jobs.fetch_images"))
