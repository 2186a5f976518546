"""A later run of a batch reads what is new or failed, and gives what reading everything gives."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from jobs import gc, ingest
from jobs.runtime.context import Context
from support.loopback import file_server, serving
from support.sessions import kill_session

pytestmark = pytest.mark.spark


def write(path, name, rows):
    lines = [json.dumps({"url": f"http://h/{image}", "text": text}) for image, text in rows]
    Path(path).write_text("\n".join(lines) + "\n")
    return str(path)


def rows_of(name, count=300):
    """Rows whose images and texts the files of other names share in part."""
    dice = random.Random(name)
    return [(f"i{dice.randrange(150)}", f"text {dice.randrange(40)}") for _ in range(count)]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "in").mkdir()
    return [write(tmp_path / "in" / f"{name}.jsonl", name, rows_of(name)) for name in "abcde"]


def settings(inputs, **keys):
    return {"inputs": inputs, "format": "jsonl", "bucket_bytes": 20_000, "max_texts_per_image": 3, **keys}


def again(made, lake=None, **keys):
    ingest_keys = made.config.ingest.model_copy(update={k: v for k, v in keys.items() if k != "batch"})
    update = {"ingest": ingest_keys, **({"lake": str(lake)} if lake else {})}
    if "batch" in keys:
        update["batch"] = keys["batch"]
    return Context(made.config.model_copy(update=update), "ingest", replace=True)


def content(made, batch=None):
    """Rows of each file, in order."""
    files = made.lake.snapshot("pairs", {"batch": batch or made.batch}).files
    return [pq.read_table(file.path, partitioning=None).to_pylist() for file in files]


def figures(outcome):
    return outcome.totals, outcome.drops


def test_growing_inputs_read_only_the_new_files_and_give_what_reading_all_gives(context, files, tmp_path, caplog):
    made = context("ingest", ingest=settings(files[:1]))
    ingest.run(made)
    assert len(content(made)) == 1
    grown = again(made, inputs=files)
    for path in files[:1]:
        stat = Path(path).stat()
        Path(path).write_bytes(b"\0" * stat.st_size)  # who reads it again will see it
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with caplog.at_level("INFO"):
        (outcome,) = ingest.run(grown)
    assert "1 of 5 files had been read by an earlier run" in caplog.text
    assert len(content(grown)) > 1  # with more bytes come more buckets
    write(files[0], "a", rows_of("a"))
    (scratch,) = ingest.run(again(made, tmp_path / "scratch", inputs=files))
    assert figures(outcome) == figures(scratch)
    assert content(grown) == content(again(made, tmp_path / "scratch"))
    (shrunk,) = ingest.run(again(made, inputs=files[2:]))
    (scratch,) = ingest.run(again(made, tmp_path / "shrunk", inputs=files[2:]))
    assert figures(shrunk) == figures(scratch)
    assert content(made) == content(again(made, tmp_path / "shrunk"))


def test_a_partial_file_is_read_again_and_its_rows_replaced(context, files, tmp_path):
    whole = gzip.compress(Path(files[0]).read_bytes())
    part = tmp_path / "in" / "part.jsonl.gz"
    part.write_bytes(whole[: len(whole) // 2])
    made = again(context("ingest", max_failed_inputs=0.5, ingest=settings([*files[1:3], str(part)])))
    (first,) = ingest.run(made)
    assert first.totals["files_failed"] == 1
    part.write_bytes(whole)
    (second,) = ingest.run(made)
    assert second.totals["files_failed"] == 0
    (scratch,) = ingest.run(again(made, tmp_path / "scratch"))
    assert figures(second) == figures(scratch)
    assert content(made) == content(again(made, tmp_path / "scratch"))
    statuses = [row["status"] for row in made.lake.rows("ledger").to_pylist() if row["path"] == str(part)]
    assert sorted(statuses) == ["ok", "partial"]


def test_other_settings_of_reading_read_again_and_old_groups_go_with_gc(context, files, caplog):
    made = context("ingest", ingest=settings(files[:2]))
    ingest.run(made)
    groups = made.lake.layout.group_cache("b1")
    assert len(list(Path(groups).iterdir())) == 2
    with caplog.at_level("INFO"):
        ingest.run(again(made, max_texts_per_image=2))
        assert "read before" not in caplog.text
        ingest.run(again(made, bucket_bytes=1 << 20))
        assert "2 of 2 files had been read by an earlier run" in caplog.text
    assert len(list(Path(groups).iterdir())) == 4
    hours = made.config.gc.model_copy(update={"retention_hours": 0})
    gc.run(Context(made.config.model_copy(update={"gc": hours}), "gc"))
    assert not list(Path(groups).iterdir())


@pytest.mark.slow
def test_a_killed_run_is_continued_where_it_was(context, files, tmp_path, caplog):
    with serving(file_server({"/e.jsonl": Path(files[-1]).read_bytes()})) as server:
        inputs = [*files[:4], f"{server.url}/e.jsonl"]
        made = context("ingest", ingest=settings(inputs))
        # the last file is looked at, and gives nothing until the run is killed
        silent = [lambda right: replace(right, hang_s=100, reset_after=0)] * 20
        server.faults["/e.jsonl"].extend([lambda right: right, *silent])
        kill_when_groups_are_kept(made, tmp_path, 4)
        assert not made.lake.snapshot("pairs").files
        server.faults.clear()
        with caplog.at_level("INFO"):
            (outcome,) = ingest.run(made)
        assert "4 of 5 files had been read by an earlier run" in caplog.text
        (scratch,) = ingest.run(again(made, tmp_path / "scratch"))
    assert figures(outcome) == figures(scratch)
    assert content(made) == content(again(made, tmp_path / "scratch"))


def kill_when_groups_are_kept(made, tmp_path, count):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(made.config.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "jobs.ingest", "--config", str(config), "--spark.master", "local[2]"]
    run = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    groups = Path(made.lake.layout.group_cache("b1"))
    try:
        while len(list(groups.glob("*.arrow"))) < count:
            assert run.poll() is None
            time.sleep(0.02)
    finally:
        kill_session(run)


# Images of earlier batches


def texts_of(made, batch):
    return {row["image_url"]: [text["text"] for text in row["texts"]] for part in content(made, batch) for row in part}


@pytest.fixture
def two_batches(context, files, tmp_path):
    """A lake with a first batch, and a context of the second, which shares images with it."""
    made = context("ingest", ingest=settings(files[:2]))
    ingest.run(made)
    return made, again(made, batch="b2", inputs=files[2:4], seen="earlier", bucket_bytes=5000)


def test_seen_images_are_dropped_by_default_and_the_books_balance(two_batches, tmp_path):
    first, second = two_batches
    (outcome,) = ingest.run(second)
    before, now = texts_of(first, "b1"), texts_of(second, "b2")
    plain = again(second, tmp_path / "plain", seen="none")
    (unseen,) = ingest.run(plain)
    every = texts_of(plain, "b2")
    assert now == {url: texts for url, texts in every.items() if url not in before}
    assert 0 < len(now) < len(every)
    assert outcome.totals["notes"]["seen_images"] == len(every) - len(now)
    totals = outcome.totals
    assert totals["read"] == totals["kept"] + totals["duplicates"] + totals["over_cap"] + outcome.drops["seen_image"]
    assert totals["read"] == unseen.totals["read"]
    assert totals["over_cap"] == unseen.totals["over_cap"]


def test_seen_images_can_be_kept_or_joined_by_their_earlier_texts(two_batches, files, tmp_path):
    first, second = two_batches
    (kept,) = ingest.run(again(second, seen_action="keep"))
    every = texts_of(second, "b2")
    assert kept.totals["notes"]["seen_images"] == len(every.keys() & texts_of(first, "b1").keys()) > 0
    (merged,) = ingest.run(again(second, seen_action="merge"))
    found = texts_of(second, "b2")
    # the same as the images of the later batch, with the texts of both
    both = again(first, tmp_path / "both", inputs=files[:4])
    ingest.run(both)
    together = texts_of(both, "b1")
    assert found == {url: together[url] for url in every}
    totals = merged.totals
    assert totals["read"] == totals["kept"] + totals["duplicates"] + totals["over_cap"]
    assert totals["read"] == kept.totals["read"] + totals["notes"]["texts_of_earlier_batches"]


def test_earlier_is_the_order_of_the_lake_and_a_changed_batch_is_noticed(two_batches, files):
    first, second = two_batches
    (outcome,) = ingest.run(again(first, seen="earlier"))
    assert outcome.drops == {}
    (one,) = ingest.run(second)
    (same,) = ingest.run(second)
    assert (one.fresh, same.fresh) == (True, False)
    ingest.run(again(first, inputs=files[:1]))
    (changed,) = ingest.run(second)
    assert changed.fresh
    assert changed.drops["seen_image"] < one.drops["seen_image"]
