from __future__ import annotations

import pickle
from contextlib import closing

import numpy as np
import pytest

from curation.balance import sampling
from curation.errors import DamagedLakeError, InputError, UsageError
from curation.hashing import u64, uniform
from curation.lake.tombstones import add_tombstones
from support.shards import shard_row
from training.data import shard_index
from training.data.shard_index import build_index
from training.data.shard_reader import ShardReader


def texts(index, lake) -> list[str]:
    with closing(ShardReader(index, lake.storage)) as reader:
        groups = [reader.load(group) for group in np.flatnonzero(index.counts)]
    return [group.text(row) for group in groups for row in range(len(group))]


def ids(index) -> list[tuple[int, int, int]]:
    """Return (file, row group, row) of every sample."""
    return [
        (int(index.group_file[group]), int(index.group_number[group]), int(row))
        for group in range(len(index.counts))
        for row in index.rows(group)
    ]


def test_every_row_of_the_recipe_is_exactly_one_sample(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(73)])
    shard_lake.publish([shard_row(n) for n in range(99, 112)], batch="b2", run="r2")
    shard_lake.publish([shard_row(5)], recipe="other", run="r3")
    index = build_index(shard_lake.lake, "default").train
    assert index.samples == 86
    assert len(index.files) == 4
    assert index.run_ids == ("r1", "r2")
    expected = [
        (f, g, r) for f, rows in enumerate((30, 30, 13, 13)) for g in range(-(-rows // 10)) for r in range(rows)
    ]
    assert ids(index) == [(f, g, r) for f, g, r in expected if r < min(10, (30, 30, 13, 13)[f] - 10 * g)]
    assert texts(index, shard_lake.lake) == [shard_row(n)["text"] for n in (*range(73), *range(99, 112))]


def test_only_the_requested_batches_are_indexed(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(20)])
    shard_lake.publish([shard_row(n) for n in range(20, 25)], batch="b2", run="r2")
    assert build_index(shard_lake.lake, "default", batches=["b2"]).train.samples == 5
    with pytest.raises(UsageError, match=r"batches: recipe 'default' has no shards of b3, only of b1, b2"):
        build_index(shard_lake.lake, "default", batches=["b1", "b3"])


def test_a_pinned_version_is_read_although_newer_ones_exist(shard_lake):
    old = shard_lake.publish([shard_row(n) for n in range(20)])
    shard_lake.publish([shard_row(n) for n in range(7)], run="r2")
    pinned, newest = (build_index(shard_lake.lake, "default", version=v).train for v in (old, None))
    assert (pinned.samples, pinned.version, pinned.run_ids) == (20, old, ("r1",))
    assert (newest.samples, newest.run_ids) == (7, ("r2",))
    assert newest.version > old
    with pytest.raises(InputError, match="has no version 99"):
        build_index(shard_lake.lake, "default", version=99)


def test_without_published_shards_the_error_names_the_job_to_run(shard_lake):
    shard_lake.lake.freeze_recipe("default", {"selection": "drawn"})
    with pytest.raises(InputError, match=r"no shards of recipe 'default' .* run jobs.fetch_images first"):
        build_index(shard_lake.lake, "default")


def test_tombstones_exclude_image_ids_and_hosts(shard_lake):
    shard_lake.publish([shard_row(n, host="b.example" if n % 10 == 3 else "a.example") for n in range(40)])
    add_tombstones(
        shard_lake.lake, image_ids=[shard_row(n)["image_id"] for n in (0, 17, 39)], hosts=["B.example"], reason="asked"
    )
    index = build_index(shard_lake.lake, "default").train
    remaining = [n for n in range(40) if n not in (0, 17, 39) and n % 10 != 3]
    assert [30 * f + 10 * g + r for f, g, r in ids(index)] == remaining
    assert index.samples == len(remaining)


def test_the_validation_split_is_a_function_of_the_image_id(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(300)], group_rows=64, file_rows=150)
    validation = [n for n in range(300) if uniform(u64(0, "validation", shard_row(n)["image_id"])) < 0.2]
    removed = [validation[2], min(set(range(300)) - set(validation))]
    add_tombstones(shard_lake.lake, image_ids=[shard_row(n)["image_id"] for n in removed], reason="asked")
    train, held_out = build_index(shard_lake.lake, "default", validation_share=0.2)
    numbers = [[150 * f + 64 * g + r for f, g, r in ids(part)] for part in (train, held_out)]
    assert sorted(numbers[0] + numbers[1]) == [n for n in range(300) if n not in removed]
    assert numbers[1] == [n for n in validation if n not in removed]
    assert 30 < len(numbers[1]) < 90
    shard_lake.publish([shard_row(n) for n in reversed(range(300))], run="r2", group_rows=50, file_rows=300)
    again = build_index(shard_lake.lake, "default", validation_share=0.2).validation
    assert sorted(299 - (50 * g + r) for _, g, r in ids(again)) == numbers[1]


def test_held_out_images_are_hashed_by_column(shard_lake, monkeypatch):
    """Hashing row by row in Python took 15 s for 10 million rows, at every start."""
    shard_lake.publish([shard_row(n) for n in range(60)], group_rows=20)
    columns: list[int] = []
    plain = sampling.held_out_mask
    monkeypatch.setattr(
        shard_index, "held_out_mask", lambda ids, share: (columns.append(len(ids)), plain(ids, share))[1], raising=False
    )
    build_index(shard_lake.lake, "default", validation_share=0.2)
    assert sorted(columns) == [10, 10, 20, 20]


@pytest.mark.parametrize("in_table", [True, False])
def test_shards_of_every_matched_pair_are_refused(shard_lake, in_table):
    """The run's row is in the table `runs` or, after a kill, only in the commit."""
    shard_lake.publish([shard_row(n) for n in range(20)], selection="drawn" if in_table else "all")
    shard_lake.publish([shard_row(n) for n in range(5)], batch="b2", run="r2")
    shard_lake.add_run("r2", "drawn")
    if in_table:
        shard_lake.add_run("r1", "all")
    with pytest.raises(UsageError, match=r"balance\.selection: all.* set `draw: online`"):
        build_index(shard_lake.lake, "default")
    with pytest.raises(UsageError, match="would balance it twice"):
        build_index(shard_lake.lake, "default", online=True)
    assert build_index(shard_lake.lake, "default", batches=["b2"]).train.samples == 5


def test_an_unreadable_shard_is_named_in_the_error(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(20)])
    file = next((shard_lake.root / "shards").rglob("*.parquet"))
    content = file.read_bytes()
    file.write_bytes(content[:-50])
    with pytest.raises(DamagedLakeError, match=f"{file.name}: damaged or not a Parquet file"):
        build_index(shard_lake.lake, "default")
    file.unlink()
    with pytest.raises(DamagedLakeError, match=f"{file.name}: missing"):
        build_index(shard_lake.lake, "default")


def test_an_index_can_be_pickled_and_stays_small(shard_lake):
    shard_lake.publish([shard_row(n) for n in range(45)])
    split = build_index(shard_lake.lake, "default", validation_share=0.3)
    sent = pickle.loads(pickle.dumps(split))
    assert [ids(part) for part in sent] == [ids(part) for part in split]
    assert sent.train.bits.nbytes <= 45 // 8 + 5
    assert np.array_equal(sent.train.counts, split.train.counts)
