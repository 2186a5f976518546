"""A takedown with `--purge` leaves nothing of its images in what killed runs have written."""

from __future__ import annotations

from functools import wraps
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.errors import OutputError
from curation.lake.takedown_names import read_names
from jobs import balance, fetch_images, ingest, match, takedown
from jobs.fetch_images import ImagesStage
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.tasks.images import splits
from jobs.tasks.images.fetch import FetchParts
from support.compaction import Killed, kill_at
from support.in_process import change


@pytest.fixture
def curated(crawl, monkeypatch):
    """A context whose pairs are chosen, with a task for every three images."""
    monkeypatch.setattr(splits, "MIN_FETCH_ROWS", 3)
    monkeypatch.setattr(Context, "cores", 1000)
    for job in (ingest, match, balance):
        job.run(crawl)
    return crawl


def purge(context, *image_ids):
    context = Context(Config(lake=context.config.lake), "takedown")
    names = read_names(context.storage, image_ids=list(image_ids))
    return takedown.Takedown(context, names).run("asked", None, purge=True)


def stored(context):
    """The ids of all pictures in files of `images`, published or not; files half written have none."""
    paths = [path for path in Path(context.config.lake, "images").rglob("*.parquet") if path.stat().st_size]
    tables = [pq.read_table(path, columns=["image_id", "image"], partitioning=None) for path in paths]
    return {row["image_id"] for table in tables for row in table.to_pylist() if row["image"]}


def at_part(patch, part, action):
    """Do something after the fetch of a part."""
    right = FetchParts.__call__

    @wraps(right)
    def call(self, number, units):
        result = right(self, number, units)
        if number == part:
            action()
        return result

    patch.setattr(FetchParts, "__call__", call)


@pytest.mark.parametrize("published", [False, True])
def test_a_killed_first_fetch_leaves_no_picture_after_a_purge(curated, monkeypatch, published):
    if published:  # of another recipe, so the table exists
        other = change(curated, recipe="other")
        balance.run(other)
        fetch_images.run(other)
    with monkeypatch.context() as patch:
        kill_at(patch, FetchParts, 4, after=True)
        with pytest.raises(Killed):
            fetch_images.run(change(curated, images={"quality": 80}))
    victim = min(stored(curated))
    half = Path(curated.config.lake, "images/recipe=default/batch=b1/20260101T000000-x/000000.0000-x.parquet")
    half.parent.mkdir()
    half.write_bytes(b"")
    purge(curated, victim)
    assert victim not in stored(curated)
    assert not half.exists()
    assert bool(stored(curated)) == published
    outcomes = {outcome.stage: outcome for outcome in fetch_images.run(curated)}
    assert outcomes["images"].complete
    assert victim not in stored(curated)


def test_a_fetch_that_a_purge_has_taken_files_from_does_not_publish(curated, monkeypatch):
    [first, *_] = curated.lake.snapshot("curated").files
    victim = pq.read_table(first.path, partitioning=None)["image_id"][0].as_py()
    with monkeypatch.context() as patch:
        at_part(patch, len(ImagesStage(curated).units) - 1, lambda: purge(curated, victim))
        with pytest.raises(OutputError, match="missing: it was removed during this run, run again"):
            fetch_images.run(curated)
    assert not curated.lake.snapshot("images").files
    fetch_images.run(curated)
    assert victim not in stored(curated)
    assert stored(curated)
