"""A compaction that is killed (SIGKILL, every process of it) and run again ends as if it had never been disturbed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs import compact
from support.compaction import SEED, in_order, make_lake, read
from support.in_process import change
from support.sessions import kill_session

pytestmark = [pytest.mark.spark, pytest.mark.slow]

MOMENTS = {"staging": "_staging/*/staged/*.json", "writing": "_staging/*/written/*.json", "published": "runs/rows/*"}


def kill_when_there(pattern: str, lake: Path, *flags: str) -> bool:
    """Start the job and kill all of it when a file is there; return whether that was before it ended."""
    before = set(lake.glob(pattern))
    command = [sys.executable, "-m", "jobs.compact", "--lake", str(lake), "--spark.master", "local[2]", *flags]
    job = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while job.poll() is None:
            if set(lake.glob(pattern)) - before:
                return True
            time.sleep(0.002)
        return False
    finally:
        kill_session(job)


def sums(context) -> list[str]:
    files = context.lake.snapshot("compacted", {"dataset": context.config.compact.dataset}).files
    return [hashlib.sha256(Path(file.path).read_bytes()).hexdigest() for file in files]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_compaction_ends_with_the_bytes_of_one_that_was_not(in_process, tmp_path, moment):
    batches = {name: list(range(start, start + 800)) for name, start in (("b1", 0), ("b2", 700), ("b3", 5000))}
    context = make_lake(tmp_path / "lake", batches, shard_bytes=20_000)
    flags = ("--compact.dataset", "all", "--compact.shard_bytes", "20000")
    assert kill_when_there(MOMENTS[moment], tmp_path / "lake", *flags)
    published = bool(context.lake.snapshot("compacted").files)
    assert published == (moment == "published")
    [outcome] = compact.run(context)
    assert outcome.fresh == (not published)
    assert read(context) == in_order(context, SEED)
    other = change(context, compact={"dataset": "other"})
    compact.run(other)
    assert sums(context) == sums(other)
    started = {file.path.split("/")[-2] for file in context.storage.list_files(context.lake.layout.table("compacted"))}
    assert len([run for run in started if run.startswith("2")]) == 2, "the killed run was continued under its id"
