"""A compacted dataset has the rows of the shards in one order, whatever kills its run."""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from functools import wraps
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import DamagedLakeError, InputError, OutputError, UsageError
from curation.lake.parquet import ROW_GROUP_BYTES
from jobs import compact
from jobs.runtime.context import Context
from jobs.runtime.progress import killed_runs
from jobs.tasks.compact.rows import StageRows, WriteBucket, bucket_numbers
from support.compaction import SEED, Killed, in_order, kill_at, make_lake, read
from support.in_process import change, without_spark


def test_a_dataset_has_the_rows_of_all_nights_in_the_order_of_one(crawled):
    context = change(crawled[0], compact={"shard_bytes": 9000})
    [outcome] = compact.run(context)
    rows = read(context)
    assert rows == in_order(context)
    assert len(rows) == context.lake.snapshot("shards").rows == outcome.totals["written"]
    assert outcome.totals["written_by_lang"] == Counter(row["lang"] for row in rows)
    files = context.lake.snapshot("compacted").files
    assert {tuple(file.partition.items()) for file in files} == {(("recipe", "default"), ("dataset", "all"))}
    assert len(files) > 4
    assert not compact.run(context)[0].fresh
    assert not list(context.storage.list_files(context.lake.layout.run_staging(outcome.run_id)))


@settings(max_examples=12, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["b", "a", "c"]), st.lists(st.integers(0, 200), min_size=1, max_size=60), min_size=1
    ),
    st.integers(500, 30_000),
    st.integers(1, 20_000),
)
def test_any_batches_come_back_row_by_row(tmp_path_factory, batches, shard_bytes, unit_bytes):
    context = make_lake(tmp_path_factory.mktemp("lake") / "lake", batches, shard_bytes=shard_bytes)
    with pytest.MonkeyPatch.context() as patch:
        without_spark(patch)
        patch.setattr(compact, "UNIT_BYTES", unit_bytes)
        compact.run(context)
    assert read(context) == in_order(context, SEED)


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 2**40))
def test_buckets_are_equal_intervals_of_the_hash(hashes, buckets):
    hashes.sort()
    numbers = bucket_numbers(np.array(hashes, np.uint64), buckets).tolist()
    assert numbers == sorted(numbers)
    assert all(0 <= number < buckets for number in numbers)
    for value, number in zip(hashes, numbers, strict=True):
        assert abs(number - value * buckets // 2**64) <= (1 if buckets > 2**20 or value % 2**11 else 0)


def test_every_file_is_a_random_sample_of_all_nights(in_process, tmp_path):
    numbers = {"b1": range(400), "b2": range(400, 1000)}
    context = make_lake(tmp_path / "lake", {batch: list(each) for batch, each in numbers.items()}, shard_bytes=40_000)
    compact.run(context)
    files = context.lake.snapshot("compacted").files
    assert len(files) > 5
    for file in files:
        rows = pq.ParquetFile(file.path).read(["page_url"]).to_pydict()["page_url"]
        share, spread = rows.count("b1") / len(rows), (0.4 * 0.6 / len(rows)) ** 0.5
        assert abs(share - 0.4) < 4 * spread


def test_files_and_row_groups_have_about_the_bytes_that_are_asked_for(in_process, tmp_path):
    size = 60_000
    context = make_lake(tmp_path / "lake", {"b1": list(range(900)), "b2": list(range(900, 2000))}, shard_bytes=size)
    compact.run(context)
    files = context.lake.snapshot("compacted").files
    assert all(file.size < 1.3 * size for file in files)
    total = context.lake.snapshot("shards").size
    assert len(files) == -(-total // int(0.9 * size))
    for file in files:
        parquet = pq.ParquetFile(file.path).metadata
        assert all(parquet.row_group(n).total_byte_size <= ROW_GROUP_BYTES for n in range(parquet.num_row_groups))


def sums(context: Context) -> list[str]:
    """The SHA-256 of the files of the dataset, in order."""
    files = context.lake.snapshot("compacted", {"dataset": context.config.compact.dataset}).files
    return [hashlib.sha256(Path(file.path).read_bytes()).hexdigest() for file in files]


@pytest.mark.parametrize("unit_bytes", [1, 3000, 1 << 20])
def test_the_bytes_do_not_depend_on_the_work_units(small, monkeypatch, unit_bytes):
    compact.run(small)
    monkeypatch.setattr(compact, "UNIT_BYTES", unit_bytes)
    other = change(small, compact={"dataset": "other"})
    compact.run(other)
    assert sums(other) == sums(small)


@pytest.fixture
def small(crawled, monkeypatch):
    """A context whose dataset has several staged files and several buckets."""
    monkeypatch.setattr(compact, "UNIT_BYTES", 9000)
    return change(crawled[0], compact={"shard_bytes": 9000})


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("task", "number"), [(StageRows, 0), (StageRows, 2), (WriteBucket, 0), (WriteBucket, 3)])
def test_a_killed_run_is_continued_to_the_same_bytes(small, monkeypatch, task, number, after):
    other = change(small, compact={"dataset": "other"})
    compact.run(other)
    with monkeypatch.context() as patch:
        kill_at(patch, task, number, after=after)
        with pytest.raises(Killed):
            compact.run(small)
    assert not small.lake.snapshot("compacted", {"dataset": "all"}).files, "nothing is published before the end"
    with monkeypatch.context() as patch:
        staged, written = (kill_at(patch, each, -1, after=False) for each in (StageRows, WriteBucket))
        compact.run(small)
    assert sums(small) == sums(other)
    finished = number + after
    buckets = len(small.lake.snapshot("compacted", {"dataset": "all"}).files)
    if task is StageRows:
        assert len(staged) > 3 - finished
        assert len(written) == buckets
    else:
        assert (staged, len(written)) == ([], buckets - finished)


def test_a_killed_run_of_other_settings_or_shards_is_not_continued(small, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, WriteBucket, 2, after=False)
        with pytest.raises(Killed):
            compact.run(small)
    larger = change(small, compact={"shard_bytes": 20_000})
    compact.run(larger)
    assert read(larger) == in_order(larger)
    one = change(small, compact={"batches": ["b1"]})
    compact.run(one)
    assert read(one) == read(small, "shards", batch="b1")


def test_what_a_killed_run_has_lost_is_made_again(small, monkeypatch):
    other = change(small, compact={"dataset": "other"})
    compact.run(other)
    with monkeypatch.context() as patch:
        kill_at(patch, WriteBucket, 3, after=False)
        with pytest.raises(Killed):
            compact.run(small)
    paths = [file.path for file in small.storage.list_files(small.lake.layout.staging)]
    Path(next(path for path in paths if path.endswith(".arrow"))).unlink()
    [first, *_] = sorted((Path(small.lake.root) / "compacted" / "recipe=default" / "dataset=all").rglob("*.parquet"))
    first.write_bytes(first.read_bytes()[:-9])
    compact.run(small)
    assert sums(small) == sums(other)


def test_a_run_that_was_killed_after_its_commit_has_published(small, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("jobs.runtime.stage.append_run", raises(Killed))
        with pytest.raises(Killed):
            compact.run(small)
    rows = read(small)
    assert not compact.run(small)[0].fresh
    assert read(small) == rows == in_order(small)


def test_a_run_that_was_killed_after_its_commit_is_not_continued_for_another_dataset(small, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("jobs.runtime.stage.append_run", raises(Killed))
        with pytest.raises(Killed):
            compact.run(small)
    other = change(small, compact={"dataset": "other"})
    compact.run(other)
    owners = [small.lake.snapshot("compacted", {"dataset": name}).run_ids for name in ("all", "other")]
    assert owners[0] != owners[1]
    assert sums(other) == sums(small)


def raises(error):
    def call(*_, **__):
        raise error

    return call


def test_a_new_night_makes_the_dataset_stale_and_the_next_run_has_it(crawled):
    first = change(crawled[0], compact={"batches": ["b1"], "dataset": "first"})
    compact.run(first)
    assert read(first) == read(first, "shards", batch="b1")
    both = change(first, compact={"batches": ["b1", " b2"]})
    [outcome] = compact.run(both)
    assert outcome.fresh
    assert read(both) == in_order(both)


def test_what_cannot_be_compacted_is_named(crawled):
    for keys, error, message in (
        ({"batches": ["b1", "b7", "b8"]}, InputError, "no shards for recipe=default batch=b7,b8 in"),
        ({"dataset": "a/b"}, UsageError, "compact.dataset: 'a/b' must consist of"),
    ):
        with pytest.raises(error, match=re.escape(message)):
            compact.run(change(crawled[0], compact=keys))
    [lost, *_] = crawled[0].lake.snapshot("shards").files
    Path(lost.path).unlink()
    with pytest.raises(
        DamagedLakeError, match=r"missing: run jobs\.fetch_images again for batch b1, which rebuilds it"
    ):
        compact.run(crawled[0])


@pytest.mark.parametrize(("retention", "is_continued"), [(168, True), (0, False)])
def test_a_killed_run_that_gc_may_clear_before_the_end_is_not_continued(
    in_process, tmp_path, monkeypatch, retention, is_continued
):
    context = make_lake(tmp_path / "lake", {"b1": list(range(200))}, shard_bytes=9000)
    context = change(context, gc={"retention_hours": retention})
    with monkeypatch.context() as patch:
        kill_at(patch, WriteBucket, 2, after=True)
        with pytest.raises(Killed):
            compact.run(context)
    [killed] = killed_runs(context.lake, "compact")
    time.sleep(1)  # run ids have whole seconds
    [outcome] = compact.run(context)
    assert (outcome.run_id == killed) == is_continued
    assert read(context) == in_order(context, SEED)


def test_a_dataset_whose_files_were_removed_before_the_end_is_not_published(in_process, tmp_path, monkeypatch):
    context = make_lake(tmp_path / "lake", {"b1": list(range(200))}, shard_bytes=9000)
    right = WriteBucket.__call__

    @wraps(right)
    def removing(self, index, bucket):
        written = right(self, index, bucket)
        for file in written.files if bucket == 1 else ():
            Path(context.lake.layout.table("compacted"), file.path).unlink()
        return written

    with monkeypatch.context() as patch:
        patch.setattr(WriteBucket, "__call__", removing)
        with pytest.raises(OutputError, match="missing: it was removed during this run, run again"):
            compact.run(context)
    assert not context.lake.snapshot("compacted").files
    compact.run(context)
    assert read(context) == in_order(context, SEED)
