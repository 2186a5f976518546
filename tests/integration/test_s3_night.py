"""A whole night with the lake on S3 gives what it gives on a local disk."""

from __future__ import annotations

import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml

from curation.lake.lake import Lake
from jobs import gc, nightly
from jobs.runtime.config import GcSection
from jobs.runtime.context import Context
from support.lakes import TABLES
from support.nights import publish_metadata

pytestmark = pytest.mark.spark


def rows(lake: Lake, table: str) -> list[dict]:
    found = []
    for file in lake.snapshot(table).files:
        with lake.storage.open_input(file.path) as source:
            found += pq.read_table(source).to_pylist()
    return found


def test_a_night_on_s3_is_a_night_on_a_local_disk(night_done, s3, tmp_path):
    config = night_done.config.model_copy(update={"lake": "s3://lake/night"})
    context = Context(config, "s3")
    publish_metadata(context)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
    # a session of its own: workers find the credentials in the environment Spark was started with
    command = [sys.executable, "-m", "jobs.nightly", "--config", str(path), "--spark.master", "local[2]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for table in TABLES:
        assert rows(context.lake, table) == rows(night_done.lake, table)
    before = context.lake.snapshot("shards")
    nightly.run(context)
    assert context.lake.snapshot("shards") == before
    gc.run(Context(config.model_copy(update={"gc": GcSection(retention_hours=0)}), "gc"))
    assert rows(context.lake, "shards") == rows(night_done.lake, "shards")
