"""Fetches the images of the curated pairs and writes the shards.

Two stages. `images` is the one impure stage: its buckets are fixed first (rows of `curated` that make about one shard),
then each is fetched and published, failures with their reason. `shards` is a pure function of `curated` and `images`.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.cli.config import ImagesSection
from curation.errors import OutputError
from curation.images.decode import ImageLimits
from curation.images.fetch import Fetcher
from curation.images.rows import fetch_and_verify
from curation.io.storage import Storage
from curation.lake.lake import DataFile, Snapshot
from curation.lake.parquet import read_batches, read_rows
from curation.lake.schemas import IMAGE_COLUMNS, PICTURE_COLUMNS, SCHEMAS
from curation.lake.tombstones import Tombstones
from jobs.runtime.job import Context, Job, main
from jobs.runtime.run_tasks import Result, file_results, files_of, run_tasks
from jobs.runtime.stage import Outcome, Stage, WriterFactory, require

log = logging.getLogger(__name__)

ALGORITHM = 1
FETCH_KEYS = {"max_side", "min_side", "max_pixels", "max_bytes", "shard_bytes", "assumed_image_bytes"}
ROWS_AT_ONCE = 256
IMAGE_COLUMN = "image"  # of Parquet files that a reference names, unless ingest.image_column says another


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of one data file."""

    path: str
    start: int
    stop: int


@dataclass(frozen=True)
class FetchBucket:
    """Fetches one bucket's images in the order of their ids."""

    storage: Storage
    section: ImagesSection
    tombstones: Tombstones
    writers: WriterFactory
    at_hand: Storage  # of images that need no download
    image_column: str

    def __call__(self, index: int, slices: Sequence[Slice]) -> Iterator[Result]:
        """Yield the written rows and how many came out how."""
        rows = read_slices(self.storage, slices, [name for name, _ in IMAGE_COLUMNS])
        alive = rows.filter(self.tombstones.keep_mask(rows)).sort_by("image_id")
        buried, rows = rows.num_rows - alive.num_rows, alive
        reasons: Counter[str] = Counter()
        with self._fetcher() as fetcher, self.writers("images", index) as writer:
            for start in range(0, rows.num_rows, ROWS_AT_ONCE):
                part = rows.slice(start, ROWS_AT_ONCE).to_pydict()
                wanted = zip(part["image_id"], part["image_url"], part["image_ref"], strict=True)
                fetched = [{"bucket": index, **row} for row in fetch_and_verify(wanted, fetcher, self._limits())]
                reasons.update(row["reason"] or "ok" for row in fetched)
                writer.write(pa.Table.from_pylist(fetched, schema=SCHEMAS["images"]))
        yield from file_results("images", writer.files, {"reasons": reasons, "buried": buried})

    def _fetcher(self) -> Fetcher:
        section = self.section
        return Fetcher(
            timeout_s=section.timeout_s,
            max_bytes=section.max_bytes,
            allow_private_hosts=section.allow_private_hosts,
            user_agent=section.user_agent,
            retries=section.retries,
            threads=section.threads,
            open_binary=self.at_hand.open_input,
            image_column=self.image_column,
        )

    def _limits(self) -> ImageLimits:
        return ImageLimits(self.section.max_side, self.section.max_pixels, self.section.min_side)


@dataclass(frozen=True)
class BuildShard:
    """Joins one bucket's curated rows with their images, in curated order."""

    storage: Storage
    images: Sequence[Sequence[DataFile]]
    tombstones: Tombstones
    shard_bytes: int
    writers: WriterFactory

    def __call__(self, index: int, slices: Sequence[Slice]) -> Iterator[Result]:
        """Yield the written shards."""
        rows = read_slices(self.storage, slices, SCHEMAS["curated"].names)
        curated, rows = rows.num_rows, rows.filter(self.tombstones.keep_mask(rows))
        pictures = self._pictures(index)
        place = pc.index_in(rows["image_id"], pictures["image_id"])
        with self.writers("shards", index, file_bytes=self.shard_bytes) as writer:
            found = rows.filter(pc.is_valid(place))
            place = place.drop_null()
            for start in range(0, found.num_rows, ROWS_AT_ONCE):
                part = found.slice(start, ROWS_AT_ONCE)
                joined = pictures.take(place.slice(start, ROWS_AT_ONCE))
                for name, _ in PICTURE_COLUMNS:
                    part = part.append_column(name, joined[name])
                writer.write(part)
        figures = {
            "langs": Counter(found["lang"].to_pylist()),
            "tombstone": curated - rows.num_rows,
            "without_image": rows.num_rows - found.num_rows,
        }
        yield from file_results("shards", writer.files, figures)

    def _pictures(self, index: int) -> pa.Table:
        names = ["image_id", "status", *(name for name, _ in PICTURE_COLUMNS)]
        batches = [
            batch.filter(pc.equal(batch["status"], "ok"))
            for file in self.images[index]
            for batch in read_batches(self.storage, file.path, names, ROWS_AT_ONCE)
        ]
        schema = pa.schema([SCHEMAS["images"].field(name) for name in names])
        return pa.Table.from_batches([batch.cast(schema) for batch in batches], schema)


def run(context: Context) -> list[Outcome]:
    """Fetch the images of the batch's curated pairs, then write its shards."""
    partition = {"recipe": context.config.recipe, "batch": context.batch}
    curated = require(context.lake, "fetch_images", "jobs.balance", "curated", **partition)
    section = context.config.images
    plan = plan_buckets(curated, max(1, section.shard_bytes // section.assumed_image_bytes))
    return [run_images(context, partition, curated, plan), run_shards(context, partition, curated, plan)]


def run_images(context: Context, partition: dict[str, str], curated: Snapshot, plan: list[list[Slice]]) -> Outcome:
    """Fetch every bucket of the plan and publish `images`."""
    section, tombstones = context.config.images, Tombstones.read(context.lake)
    stage = Stage(
        "images",
        context.lake,
        context.config,
        semantic={"images": section.model_dump(include=FETCH_KEYS), "algorithm": ALGORITHM},
        inputs={"curated": curated.run_ids},
        outputs={"images": partition},
        batch=context.batch,
        reads=[curated],
    )
    if done := stage.finished():
        return done
    if context.spark.conf.get("spark.speculation", "false") == "true":
        log.warning("spark.speculation is on: images may be fetched twice, turn it off for fetch_images")
    column = context.config.ingest.image_column or IMAGE_COLUMN
    process = FetchBucket(context.storage, section, tombstones, stage.writers(), context.config.open_inputs(), column)
    results = run_tasks(context.spark, "fetch_images", plan, process, progress_s=context.config.progress_s)
    stage.step("fetch")
    reasons: Counter[str] = Counter(tombstone=sum(result.stats.get("buried", 0) for result in results))
    for result in results:
        reasons.update(result.stats.get("reasons", {}))
    files = files_of(results, "images")
    written = sum(file.rows for file in files)
    if not reasons.total() == curated.rows == written + reasons["tombstone"]:
        raise OutputError(
            f"images: {curated.rows} curated pairs, {written} rows, {dict(reasons)}: the books do not balance"
        )
    fetched = reasons.pop("ok", 0)
    complete = fetched >= written / 2
    if not complete:
        log.warning(
            "images: only %d of %d could be fetched (%s): the next run tries all again",
            fetched,
            written,
            ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(3)),
        )
    totals = {"images": written, "fetched": fetched, "buckets": len(plan)}
    drops = {reason: count for reason, count in reasons.items() if count}
    return stage.publish({"images": files}, totals=totals, drops=drops, complete=complete)


def run_shards(context: Context, partition: dict[str, str], curated: Snapshot, plan: list[list[Slice]]) -> Outcome:
    """Join curated rows and images and publish `shards`."""
    section, tombstones = context.config.images, Tombstones.read(context.lake)
    images = require(context.lake, "fetch_images", "jobs.fetch_images", "images", **partition)
    selection = context.lake.recipe(partition["recipe"])["selection"]
    stage = Stage(
        "shards",
        context.lake,
        context.config,
        semantic={"shard_bytes": section.shard_bytes, "algorithm": ALGORITHM},
        inputs={"curated": curated.run_ids, "images": images.run_ids, "tombstones": tombstones.digest},
        outputs={"shards": partition},
        batch=context.batch,
        reads=[curated, images],
    )
    if done := stage.finished():
        return done
    by_bucket: list[list[DataFile]] = [[] for _ in plan]
    for file in images.files:
        by_bucket[int(file.name.partition(".")[0])].append(file)
    process = BuildShard(context.storage, by_bucket, tombstones, section.shard_bytes, stage.writers())
    results = run_tasks(context.spark, "shards", plan, process, progress_s=context.config.progress_s)
    stage.step("shards")
    files = files_of(results, "shards")
    written = sum(file.rows for file in files)
    langs: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    for result in results:
        langs.update(result.stats.get("langs", {}))
        drops.update({reason: result.stats.get(reason, 0) for reason in ("tombstone", "without_image")})
    if curated.rows != written + drops.total():
        raise OutputError(f"shards: {written} rows from {curated.rows} pairs, {dict(drops)}: the books do not balance")
    totals = {
        "pairs": curated.rows,
        "written": written,
        "files": len(files),
        "selection": selection,
        "written_by_lang": dict(sorted(langs.items())),
    }
    return stage.publish({"shards": files}, totals=totals, drops={k: v for k, v in drops.items() if v})


def plan_buckets(curated: Snapshot, rows_per_bucket: int) -> list[list[Slice]]:
    """Cut the curated rows, in their order, into buckets of a fixed number of rows; at least one bucket."""
    edges = np.cumsum([0, *(file.rows for file in curated.files)])
    buckets = []
    for start in range(0, max(1, curated.rows), rows_per_bucket):
        stop = min(start + rows_per_bucket, curated.rows)
        slices = [
            Slice(file.path, max(0, start - int(edge)), min(file.rows, stop - int(edge)))
            for file, edge in zip(curated.files, edges, strict=False)
            if edge < stop and edge + file.rows > start
        ]
        buckets.append(slices)
    return buckets


def read_slices(storage: Storage, slices: Sequence[Slice], columns: list[str]) -> pa.Table:
    """Return the rows of some slices of curated files, in order."""
    schema = pa.schema([SCHEMAS["curated"].field(name) for name in columns])
    parts = [read_rows(storage, part.path, part.start, part.stop, columns).cast(schema) for part in slices]
    return pa.concat_tables([schema.empty_table(), *parts])


JOB = Job("fetch_images", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.fetch_images"))
