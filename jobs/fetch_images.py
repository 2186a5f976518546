"""Fetch the images of the curated pairs and write the shards.

The job runs two stages. `images` is the one impure stage: its buckets are fixed first (curated rows that make about
one shard each), then each bucket is fetched, and its results are published, failures with their reason. Images that the
published run of the batch and recipe has stored with the same settings are not requested again. `shards` is a pure
function of `curated` and `images`.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from curation.errors import OutputError
from curation.lake.files import DataFile, Snapshot
from curation.lake.tombstones import Tombstones
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with, recorded_inputs
from jobs.runtime.job import Job, main
from jobs.runtime.partitions import require
from jobs.runtime.runs import Outcome, digest, earlier_outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.runtime.takedowns import relevant_digest
from jobs.tasks.images.fetch import FetchBucket
from jobs.tasks.images.inputs import ref_sources
from jobs.tasks.images.reuse import NOT_FETCHED, find_stored
from jobs.tasks.images.shard import BuildShard
from jobs.tasks.images.splits import Slice, plan_buckets

log = logging.getLogger(__name__)

ALGORITHM = 4  # 4: opt-outs, unpacking; 3: libjpeg reduces to one to two times the size; color profiles; 2: X-Robots-Tag, formats, bounds
FETCH_KEYS = {
    "max_side", "min_side", "max_pixels", "max_bytes", "shard_bytes", "assumed_image_bytes", "robots", "formats",
    "resize", "encode", "quality", "max_aspect", "tdm_reservation", "robots_txt",
}  # fmt: skip


class ImagesStage(Stage):
    """Fetches every bucket of the plan and publishes `images`."""

    name: ClassVar[str] = "images"
    tables: ClassVar[tuple[str, ...]] = ("images",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.batch, (self.curated, self.buckets) = context.batch, _plan(context)
        self.section, self.tombstones = context.config.images, Tombstones.read(context.lake)
        self.fingerprint_keys = {"images": self.section.model_dump(include=FETCH_KEYS), "algorithm": ALGORITHM}
        self.inputs = {"curated": self.curated.run_ids}
        self.outputs = {"images": {"recipe": context.config.recipe, "batch": self.batch}}
        self.reads = [self.curated]

    def earlier(self, run: StageRun) -> Outcome | None:
        """Return the outcome of a run that makes this one unnecessary; without `fetch`, of any run with its inputs."""
        row = None if self.context.fetch else run.freshness().row
        if row and digest(recorded_inputs(row)) == digest(self.inputs):
            return earlier_outcome(row)
        return super().earlier(run)

    def execute(self, run: StageRun) -> Publication:
        """Fetch every bucket; a run that fetched less than half is incomplete."""
        context = self.context
        if context.spark.conf.get("spark.speculation", "false") == "true":
            log.warning("spark.speculation is on: images may be fetched twice; turn it off for fetch_images")
        row = run.freshness().row
        if row and not context.fetch and not made_with(row, self.name, self.fingerprint_keys):
            run.set_keys({**self.fingerprint_keys, "stored_by": row["fingerprint"]})  # not what a fetch would store
        results = context.run_tasks("fetch_images", self.buckets, self._task(run, row))
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
        complete = fetched >= written / 2
        if not complete:
            _warn_incomplete(fetched, written, reasons)
        complete &= not reasons[NOT_FETCHED]
        totals = {"images": written, "fetched": fetched, "buckets": len(self.buckets)}
        if reused := sum(result.reused for result in results):
            totals["reused"] = reused
        drops = {"tombstone": hidden, **reasons}
        return Publication({"images": files}, totals, {k: n for k, n in drops.items() if n}, complete=complete)

    def _task(self, run: StageRun, row: Mapping[str, Any] | None) -> FetchBucket:
        """Return the task that fetches a bucket, with the images that the published run stored; `row` is its row."""
        context, partition = self.context, self.outputs["images"]
        stored = find_stored(context, row, self.fingerprint_keys, partition, self.curated.run_ids[0])
        storage = context.config.open_inputs(context.config.ingest)
        return FetchBucket(
            context.storage,
            self.section,
            self.tombstones,
            run.writers(),
            ref_sources(context, self.batch),
            [storage.stat(path) for path in self.section.block_hosts],
            storage,
            stored,
            fetch=context.fetch,
        )


class ShardsStage(Stage):
    """Joins curated rows and images and publishes `shards`."""

    name: ClassVar[str] = "shards"
    tables: ClassVar[tuple[str, ...]] = ("shards",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.batch, (self.curated, self.buckets) = context.batch, _plan(context)
        self.shard_bytes, self.tombstones = context.config.images.shard_bytes, Tombstones.read(context.lake)
        partition = {"recipe": context.config.recipe, "batch": self.batch}
        self.images = require(context.lake, "fetch_images", "jobs.fetch_images", "images", **partition)
        self.fingerprint_keys = {"shard_bytes": self.shard_bytes, "algorithm": ALGORITHM}
        self.inputs = {
            "curated": self.curated.run_ids,
            "images": self.images.run_ids,
            "tombstones": relevant_digest(context.lake, self.tombstones, self.curated),
        }
        self.outputs = {"shards": partition}
        self.reads = [self.curated, self.images]

    def execute(self, run: StageRun) -> Publication:
        """Build the shards of every bucket."""
        context = self.context
        build = BuildShard(context.storage, self._images_by_bucket(), self.tombstones, self.shard_bytes, run.writers())
        results = context.run_tasks("shards", self.buckets, build)
        run.step("shards")
        files = [file for result in results for file in result.files]
        written = sum(file.rows for file in files)
        langs: Counter[str] = Counter()
        for result in results:
            langs.update(result.langs)
        drops = {
            "tombstone": sum(result.tombstone for result in results),
            "without_image": sum(result.without_image for result in results),
        }
        if self.curated.rows != written + sum(drops.values()):
            raise OutputError(
                f"shards: counts do not add up: read {self.curated.rows} pairs, {written} written + dropped {drops}"
            )
        totals = {
            "pairs": self.curated.rows,
            "written": written,
            "files": len(files),
            "selection": context.lake.recipe(context.config.recipe)["selection"],
            "written_by_lang": dict(sorted(langs.items())),
        }
        return Publication({"shards": files}, totals, {reason: count for reason, count in drops.items() if count})

    def _images_by_bucket(self) -> list[list[DataFile]]:
        by_bucket: list[list[DataFile]] = [[] for _ in self.buckets]
        for file in self.images.files:
            by_bucket[int(file.name.partition(".")[0])].append(file)
        return by_bucket


def run(context: Context) -> list[Outcome]:
    """Fetch the images of the batch's curated pairs, then write its shards."""
    return [ImagesStage(context).run(), ShardsStage(context).run()]


def _plan(context: Context) -> tuple[Snapshot, list[list[Slice]]]:
    """Return the batch's curated pairs and their buckets."""
    partition = {"recipe": context.config.recipe, "batch": context.batch}
    curated = require(context.lake, "fetch_images", "jobs.balance", "curated", **partition)
    section = context.config.images
    return curated, plan_buckets(curated, max(1, section.shard_bytes // section.assumed_image_bytes))


def _warn_incomplete(fetched: int, written: int, reasons: Counter[str]) -> None:
    log.warning(
        "images: only %d of %d could be fetched (%s): the next run tries all of them again",
        fetched,
        written,
        ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(3)),
    )


JOB = Job("fetch_images", __doc__ or "", run, stages=(ImagesStage, ShardsStage), sections=("images",))

if __name__ == "__main__":
    sys.exit(main("jobs.fetch_images"))
