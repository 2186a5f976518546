"""The stage `shards`: the curated pairs that have an image, in the shards that a trainer reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from curation.dedup.duplicates import DROP_REASONS
from curation.errors import OutputError
from curation.lake.files import DataFile
from curation.lake.tombstones import Tombstones
from jobs.runtime.context import Context
from jobs.runtime.partitions import require
from jobs.runtime.runs import find_run
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.runtime.takedowns import relevant_digest
from jobs.tasks.dedup.files import RemovedImages
from jobs.tasks.dedup.stage import DuplicatesStage
from jobs.tasks.images.plan import ALGORITHM, plan_buckets_of
from jobs.tasks.images.shard import BuildShard
from jobs.tasks.images.splits import part_of, plan_fetches


class ShardsStage(Stage):
    """Joins curated rows and images and publishes `shards`."""

    name: ClassVar[str] = "shards"
    tables: ClassVar[tuple[str, ...]] = ("shards",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.batch, (self.curated, self.buckets) = context.batch, plan_buckets_of(context)
        self.shard_bytes, self.tombstones = context.config.images.shard_bytes, Tombstones.read(context.lake)
        partition = {"recipe": context.config.recipe, "batch": self.batch}
        self.images = require(context.lake, "fetch_images", "jobs.fetch_images", "images", **partition)
        self.fingerprint_keys = {"shard_bytes": self.shard_bytes, "algorithm": ALGORITHM}
        self.scores = context.config.images.scores_in_shards
        if self.scores:
            self.fingerprint_keys["scores"] = True
        self.inputs = {
            "curated": self.curated.run_ids,
            "images": self.images.run_ids,
            "tombstones": relevant_digest(context.lake, self.tombstones, self.curated),
        }
        self.outputs = {"shards": partition}
        self.reads = [self.curated, self.images]
        self.duplicates: Sequence[DataFile] = ()
        if DuplicatesStage.applies(context.config):
            duplicates = require(context.lake, "fetch_images", "jobs.fetch_images", "duplicates", **partition)
            self.duplicates = duplicates.files
            self.inputs["duplicates"] = duplicates.run_ids
            self.reads.append(duplicates)

    def execute(self, run: StageRun) -> Publication:
        """Build the shards of every bucket."""
        context = self.context
        images, removed = self._images_by_bucket(), RemovedImages(self.duplicates)
        duplicates = [removed.files_for([part_of(file) for file in files]) for files in images]
        settings = (self.tombstones, self.shard_bytes, run.writers(), self.scores)
        build = BuildShard(context.storage, images, duplicates, *settings)
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
            **{drop: sum(result.duplicates.get(why, 0) for result in results) for why, drop in DROP_REASONS.items()},
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
        """Return the files of `images` by bucket."""
        row = find_run(self.context.lake, self.images.run_ids[0], "images")
        fetch_rows = json.loads(row["totals"]).get("fetch_rows") if row else None  # before algorithm 3, one per bucket
        bucket_of_part = [bucket for bucket, _ in plan_fetches(self.buckets, fetch_rows)]
        by_bucket: list[list[DataFile]] = [[] for _ in self.buckets]
        for file in self.images.files:
            by_bucket[bucket_of_part[part_of(file)]].append(file)
        return by_bucket
