"""Reads crawled pages or tables of pairs and publishes `pairs`: one row an image, with its texts.

Two passes: every input file is read once, grouped by image and staged in hash buckets; then every bucket is merged
into one output file. The ledger has a row for each input file. Files that cannot be read, or only in part, count as
failed: up to `max_failed_inputs` the batch is published without them and the next run tries again.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import exchange
from curation.config import IngestSection
from curation.errors import InputError, OutputError, UsageError
from curation.grouping import GROUPS, finish, group, merge_groups
from curation.inputs import list_inputs
from curation.occurrences import Books, Occurrence
from curation.reading import Reading
from curation.rows import Columns, read_jsonl, read_parquet
from curation.storage import FileStat, Storage, join
from curation.wat import read_wat
from jobs.ledger import check_failed, failed_row, ledger_row
from jobs.runner import Context, Job, main
from jobs.sink import Result, file_results, files_of, run_sink
from jobs.stage import Outcome, Stage, WriterFactory

log = logging.getLogger(__name__)

ALGORITHM = 1


@dataclass(frozen=True)
class ReadFile:
    """Reads one input file, groups its texts by image and stages the groups by bucket."""

    inputs: Storage
    storage: Storage
    section: IngestSection
    seed: int
    bits: int
    staging: str

    def __call__(self, index: int, file: FileStat) -> Iterator[Result]:
        """Yield the staged file with its books, and the input's ledger row."""
        started = time.monotonic()
        reading = Reading(file.path)
        try:
            with self.inputs.open_stream(file) as stream:
                table, books = group(self._occurrences(stream, reading), self.seed, self.section.max_texts_per_image)
        except InputError as error:
            yield Result("ledger", stats=failed_row(file, str(error), started))
            return
        books += reading.books
        path = join(self.staging, exchange.staged_name(index))
        buckets = bucket_numbers(table["image_id"], self.bits)
        exchange.write_buckets(self.storage, path, GROUPS, exchange.split_sorted(table, buckets, 1 << self.bits))
        yield Result("staged", stats={"path": path, "books": books.to_dict()})
        row = ledger_row(
            file,
            reading.status,
            read=books.read,
            kept=books.kept,
            drops=books.drops,
            error=reading.error,
            started=started,
        )
        yield Result("ledger", stats=row)

    def _occurrences(self, stream: Any, reading: Reading) -> Iterator[Occurrence]:
        section = self.section
        if section.format == "wat":
            return read_wat(stream, reading, section.robots)
        columns = Columns(section.text_columns, section.url_column, section.ref_column, section.page_column)
        read = read_parquet if section.format == "parquet" else read_jsonl
        return read(stream, reading, columns)


@dataclass(frozen=True)
class MergeBucket:
    """Merges one bucket's groups of all files and writes its pairs."""

    storage: Storage
    staged: Sequence[str]
    seed: int
    max_texts: int
    writers: WriterFactory

    def __call__(self, index: int, bucket: int) -> Iterator[Result]:
        """Yield the written files; the first with what merging changed in the books."""
        parts = list(exchange.read_buckets(self.storage, self.staged, range(bucket, bucket + 1)))
        table, change = merge_groups(parts, self.seed, self.max_texts)
        with self.writers("pairs", index) as writer:
            writer.write(finish(table))
        texts = pc.sum(pc.list_value_length(table["texts"])).as_py() or 0
        yield from file_results("pairs", writer.files, {"books": change.to_dict(), "texts": texts})


def run(context: Context) -> list[Outcome]:
    """Ingest the batch's inputs."""
    config, section = context.config, context.config.ingest
    if not section.inputs:
        raise UsageError("config: key `ingest.inputs` is missing: ingest has nothing to read")
    storage = config.open_inputs()
    inputs = list_inputs(storage, section.inputs, section.base_url)
    context.lake.declare_batch(context.batch)
    stage = Stage(
        "ingest",
        context.lake,
        config,
        semantic={"ingest": section.meaning(), "seed": config.seed, "algorithm": ALGORITHM},
        inputs={"files": [[file.path, file.size, file.etag] for file in inputs]},
        outputs={"pairs": {"batch": context.batch}},
        batch=context.batch,
    )
    if done := stage.finished():
        return [done]
    bits = exchange.bucket_bits(sum(file.size for file in inputs), section.bucket_bytes)
    read = ReadFile(storage, context.storage, section, config.seed, bits, stage.staging)
    results = run_sink(
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

    merge = MergeBucket(
        context.storage, [part["path"] for part in staged], config.seed, section.max_texts_per_image, stage.writers()
    )
    merged = run_sink(context.spark, "ingest: merge", range(1 << bits), merge, progress_s=config.progress_s)
    stage.step("merge")
    books = sum((Books.from_dict(part["books"]) for part in staged), Books())
    books = sum((Books.from_dict(result.stats["books"]) for result in merged if result.stats), books)
    books.check()
    if (texts := sum(result.stats.get("texts", 0) for result in merged)) != books.kept:
        raise OutputError(f"ingest: {texts} texts written, {books.kept} kept: the books do not balance")
    files = files_of(merged, "pairs")
    totals = {
        "files": len(inputs),
        "files_failed": len(failed),
        "read": books.read,
        "kept": books.kept,
        "duplicates": books.duplicates,
        "over_cap": books.over_cap,
        "images": sum(file.rows for file in files),
        "notes": dict(sorted(books.notes.items())),
        "dropped_samples": books.samples,
    }
    if not totals["images"]:
        log.warning("ingest: the inputs hold no usable pair: publishing an empty batch")
    return [stage.publish({"pairs": files}, totals=totals, drops=books.drops, complete=not failed, ledger=ledger)]


def bucket_numbers(image_ids: pa.ChunkedArray, bits: int) -> np.ndarray[Any, Any]:
    """Return the leading bits of each image id (hexadecimal), as its bucket."""
    heads = (int(image_id[:8], 16) >> (32 - bits) for image_id in image_ids.to_pylist())
    return np.fromiter(heads, np.int64, len(image_ids))


def crashed(_: int, file: FileStat) -> Result:
    """Return the ledger row of an input that takes down any process that reads it."""
    return Result("ledger", stats=failed_row(file, "its reader crashes", time.monotonic()))


JOB = Job("ingest", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.ingest"))
