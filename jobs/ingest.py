"""Reads crawled pages or tables of pairs and publishes `pairs`: one row an image, with its texts.

Two passes: every input file is read once, grouped by image and staged in hash buckets; then every bucket is merged
into one output file. Where there are many staged files, some hundreds at a time are combined in between. The ledger has
a row for each input file. Files that cannot be read, or only in part, count as failed: up to `max_failed_inputs` the
batch is published without them and the next run tries again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from curation.errors import InputError, OutputError, UsageError
from curation.io.inputs import list_inputs, sampled
from curation.io.storage import FileStat, Storage
from curation.lake import shuffle
from curation.occurrence import Counters
from jobs.runtime.job import Context, Job, main
from jobs.runtime.ledger import check_failed
from jobs.runtime.run_tasks import Result, files_of, run_tasks
from jobs.runtime.stage import Outcome, Stage
from jobs.tasks.ingest.filters import plan
from jobs.tasks.ingest.merge import Combine, Earlier, MergeBucket
from jobs.tasks.ingest.read import ALGORITHM, ReadFile, crashed

log = logging.getLogger(__name__)

TOGETHER = 200  # staged files that a task merges at once, all of them open
KEPT = ("_staging", "groups")  # groups of whole input files, by batch; `gc` removes old ones


def run(context: Context) -> list[Outcome]:
    """Ingest the batch's inputs."""
    config, section = context.config, context.config.ingest
    if not section.inputs:
        raise UsageError("config: key `ingest.inputs` is missing: ingest has nothing to read")
    storage = config.open_inputs()
    steps = plan(config, context.storage)
    inputs = _inputs(context, storage)
    earlier = _earlier(context, context.lake.declare_batch(context.batch)[:-1])
    meaning = {"ingest": section.meaning(), "lists": steps.digests, "seed": config.seed, "algorithm": ALGORITHM}
    stage = Stage(
        "ingest",
        context.lake,
        config,
        semantic=meaning,
        inputs={
            "files": [[file.path, file.size, file.etag] for file in inputs],
            **({"seen": earlier.run_ids} if earlier else {}),
        },
        outputs={"pairs": {"batch": context.batch}},
        batch=context.batch,
    )
    if done := stage.finished():
        return [done]
    bits = shuffle.bucket_bits(sum(file.size for file in inputs), section.bucket_bytes)
    kept = context.lake.uri(*KEPT, context.batch)
    read = ReadFile(storage, context.storage, section, steps, config.seed, bits, stage.staging, kept)
    results = run_tasks(
        context.spark,
        "ingest",
        inputs,
        read,
        progress_s=config.progress_s,
        on_crash=crashed,
        at_once=section.connections,
    )
    stage.step("read")
    staged = [result.stats for result in results if result.kind == "staged"]
    ledger = [result.stats for result in results if result.kind == "ledger"]
    failed = check_failed(stage, ledger, config.max_failed_inputs)
    reused = sum(part["reused"] for part in staged)
    if reused:
        log.info("ingest: %d of %d files had been read before", reused, len(inputs))

    combined = _combined(context, stage, staged, bits)
    paths, cap = [part["path"] for part in combined or staged], section.max_texts_per_image
    merge = MergeBucket(context.storage, paths, config.seed, cap, bits, stage.writers(), earlier)
    merged = run_tasks(context.spark, "ingest: merge", range(1 << bits), merge, progress_s=config.progress_s)
    stage.step("merge")
    counters = _checked_books([*staged, *combined], merged)
    files = files_of(merged, "pairs")
    totals = {
        "files": len(inputs),
        "files_failed": len(failed),
        "read": counters.read,
        "kept": counters.kept,
        "duplicates": counters.duplicates,
        "over_cap": counters.over_cap,
        "images": sum(file.rows for file in files),
        "notes": dict(sorted(counters.notes.items())),
        "dropped_samples": counters.samples,
    }
    if counters.notes["broken_record"]:
        log.warning("ingest: %d records could not be read (broken_record)", counters.notes["broken_record"])
    if not totals["images"]:
        log.warning("ingest: the inputs hold no usable pair: publishing an empty batch")
    return [stage.publish({"pairs": files}, totals=totals, drops=counters.drops, complete=not failed, ledger=ledger)]


def _combined(context: Context, stage: Stage, staged: Sequence[dict[str, Any]], bits: int) -> list[dict[str, Any]]:
    """Combine staged files, TOGETHER at a time; return path and books of each, none where they are few."""
    if len(staged) <= TOGETHER:
        return []
    config, paths = context.config, [part["path"] for part in staged]
    some = [paths[place : place + TOGETHER] for place in range(0, len(paths), TOGETHER)]
    combine = Combine(context.storage, config.seed, config.ingest.max_texts_per_image, bits, stage.staging)
    combined = run_tasks(context.spark, "ingest: combine", some, combine, progress_s=config.progress_s)
    stage.step("combine")
    return [result.stats for result in combined]


def _inputs(context: Context, storage: Storage) -> list[FileStat]:
    """Return the input files, or the share of them that is asked for."""
    section = context.config.ingest
    inputs = list_inputs(storage, section.inputs, section.base_url)
    if section.sample == 1 or section.sample_of != "inputs":
        return inputs
    chosen = sampled(inputs, section.sample, context.config.seed)
    if not chosen:
        raise InputError(f"ingest.sample: a share of {section.sample:g} of {len(inputs)} files holds none")
    log.info("ingest: a sample of %d of %d files", len(chosen), len(inputs))
    return chosen


def _earlier(context: Context, batches: Sequence[str]) -> Earlier | None:
    """Return the pairs of the earlier batches, when images are to be looked up there."""
    section = context.config.ingest
    if section.seen == "none":
        return None
    pairs = context.lake.snapshot("pairs")
    files = {batch: pairs.of(batch=batch).files for batch in batches}
    return Earlier(section.seen_action, {batch: found for batch, found in files.items() if found})


def _checked_books(staged: Sequence[dict[str, Any]], merged: Sequence[Result]) -> Counters:
    """Add up the books of all passes. Raises OutputError unless they balance, and agree with what was written."""
    counters = sum((Counters.from_dict(part["books"]) for part in staged), Counters())
    counters = sum((Counters.from_dict(result.stats["books"]) for result in merged if result.stats), counters)
    counters.check()
    if (texts := sum(result.stats.get("texts", 0) for result in merged)) != counters.kept:
        raise OutputError(f"ingest: {texts} texts written, {counters.kept} kept: the books do not balance")
    return counters


JOB = Job("ingest", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.ingest"))
