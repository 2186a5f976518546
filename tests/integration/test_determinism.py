"""The same inputs give the same bytes in the same files, whatever ran beside what."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.parquet_read import read_batches
from jobs import balance, fetch_images, match
from jobs.runtime.context import Context
from jobs.tasks.match import splits
from support.lakes import TABLES, digests
from support.nights import publish_metadata, run_here

pytestmark = pytest.mark.spark

PARTITIONS = {
    "spark.default.parallelism": "7",
    "spark.sql.shuffle.partitions": "5",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2",
}


def test_cores_partitions_and_the_order_of_inputs_change_no_byte(night_done, tmp_path):
    context = night_done
    ours = digests(context.lake)
    assert all(ours.values())
    assert len(ours["pairs"]) > 2
    assert len(ours["shards"]) > 2

    config = context.config.model_dump(mode="json", exclude_none=True)
    config["lake"] = str(tmp_path / "other")
    config["ingest"]["inputs"] = config["ingest"]["inputs"][::-1]
    config["images"]["connections"] = 1
    config["ingest"]["connections"] = 1
    config["spark"] = {"conf": PARTITIONS}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    other = Lake(config["lake"], Storage())
    publish_metadata(type(context)(context.config.model_copy(update={"lake": config["lake"]}), "other"))
    command = [sys.executable, "-m", "jobs.nightly", "--config", str(path), "--spark.master", "local[1]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert digests(other) == ours


def test_the_batches_that_rows_are_read_in_change_no_byte(night_done, monkeypatch):
    """From matching to shards again in this process, a few rows at a time and three entries a piece of counts."""
    context = night_done
    ours = digests(context.lake)
    for name in TABLES[1:]:
        shutil.rmtree(Path(context.lake.layout.table(name)))
    context = Context(context.config, context.name)  # a lake reads the log of a table once

    monkeypatch.setattr("jobs.runtime.context.run_tasks", run_here)
    monkeypatch.setattr(splits, "RANGE", 3)
    for job, tasks in ((match, "jobs.tasks.match.match"), (balance, "jobs.tasks.balance.draw")):
        monkeypatch.setattr(f"{tasks}.read_batches", partial(read_batches, rows=7))
        job.run(context)
    monkeypatch.setattr("jobs.tasks.images.fetch.ROWS_AT_ONCE", 5)
    monkeypatch.setattr("jobs.tasks.images.shard.ROWS_AT_ONCE", 5)
    fetch_images.run(context)
    assert digests(context.lake) == ours


def test_another_seed_gives_other_choices(night_done):
    context = night_done
    other = type(context)(context.config.model_copy(update={"seed": 1, "recipe": "other"}), "other")
    balance.run(other)
    drawn = {file.partition["recipe"]: file for file in context.lake.snapshot("curated").files}
    assert len({hashlib.sha256(Path(file.path).read_bytes()).hexdigest() for file in drawn.values()}) == 2
