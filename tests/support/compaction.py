"""Compaction that is killed, and the rows that a dataset must have."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

import pyarrow.parquet as pq

from curation.hashing import order_hash
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from support.shards import ShardLake, shard_row

SEED = 5


class Killed(BaseException):
    """Ends a job as a signal does."""


def read(context: Context, table: str = "compacted", **partition: str) -> list[dict]:
    """Read the rows of a table, in order, with pyarrow alone; scores that their files lack are null."""
    files = context.lake.snapshot(table, partition).files
    return [{"scores": None, **row} for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]


def in_order(context: Context, seed: int = 0) -> list[dict]:
    """The rows of the shards in the order that the dataset must have: equal images in the order of their batches."""
    batches = context.lake.in_order(part["batch"] for part in context.lake.partitions("shards"))
    rows = [row for batch in batches for row in read(context, "shards", batch=batch)]
    return sorted(rows, key=lambda row: (order_hash(seed, row["image_id"]), row["image_id"]))


def kill_at(patch, task, number: int, *, after: bool) -> list[int]:
    """Let the job end at its work unit `number` of a pass, before or after its work; note the units that were done."""
    right, done = task.__call__, []

    @wraps(right)
    def call(self, index, unit):
        if index == number and not after:
            raise Killed
        result = right(self, index, unit)
        done.append(index)
        if index == number:
            raise Killed
        return result

    patch.setattr(task, "__call__", call)
    return done


def make_lake(root: Path, batches: dict[str, list[int]], **compact_keys) -> Context:
    """A lake with shards of batches, each in its order; a number stands for an image."""
    made = ShardLake(root)
    made.lake.create()
    made.lake.freeze_recipe("default", {"seed": SEED, "selection": "drawn"})
    for batch, numbers in batches.items():
        rows = [{**shard_row(number), "page_url": batch} for number in numbers]
        rows.sort(key=lambda row: (order_hash(SEED, row["image_id"]), row["image_id"]))
        made.publish(rows, batch=batch, group_rows=7, file_rows=20, run=f"20260101T000000-{batch}-x")
    return Context(Config(lake=str(root), compact=compact_keys), "compact")
