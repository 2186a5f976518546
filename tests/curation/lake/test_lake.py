"""The lake publishes partitions whole, detects racing writers, and keeps old versions readable."""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import OutputError, UsageError
from curation.io.storage import Storage
from curation.lake.checksums import footer_size
from curation.lake.files import WrittenFile
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import SCHEMAS


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"), Storage())


def write(lake: Lake, run_id: str, lang: str = "en") -> list[WrittenFile]:
    rows = pa.table({"lang": [lang], "entry_id": [1], "count": [2]})
    folder = f"match_id=m/batch=b/{run_id}"
    with PartitionWriter(lake.storage, lake.layout.table("counts"), folder, 0, SCHEMAS["counts"]) as writer:
        writer.write(rows)
    return writer.files


def publish(lake: Lake, run_id: str, expected: tuple[str, ...] = (), batch: str = "b", lang: str = "en") -> int:
    partition = {"match_id": "m", "batch": batch}
    return lake.publish("counts", partition, write(lake, run_id, lang), expected=expected, metadata={"run_id": run_id})


def langs(lake: Lake, version: int | None = None) -> list[str]:
    files = lake.snapshot("counts", {"batch": "b"}, version).files
    return [lang for file in files for lang in pq.read_table(file.path, partitioning=None)["lang"].to_pylist()]


def test_unpublished_partition_has_no_files(lake):
    assert lake.snapshot("counts", {"batch": "b"}).files == ()
    assert lake.rows("runs").num_rows == 0


def test_publishing_replaces_the_partition_and_keeps_the_old_version_readable(lake):
    first = publish(lake, "r1", lang="en")
    publish(lake, "r2", expected=("r1",), lang="fr")
    assert langs(lake) == ["fr"]
    assert langs(lake, first) == ["en"]
    assert lake.snapshot("counts", {"batch": "b"}).run_ids == ("r2",)


def test_publishing_does_not_change_other_partitions(lake):
    publish(lake, "r1", batch="b")
    publish(lake, "r2", batch="c")
    assert lake.snapshot("counts").run_ids == ("r1", "r2")


def test_a_run_publishes_nothing_if_another_run_has_published_since_it_started(lake):
    publish(lake, "r1")
    publish(lake, "r2", expected=("r1",))
    with pytest.raises(OutputError, match="published by run r2"):
        publish(lake, "r3", expected=("r1",))
    assert lake.snapshot("counts", {"batch": "b"}).run_ids == ("r2",)


@pytest.mark.parametrize("seen", [(), ("r0",)])
def test_exactly_one_of_several_racing_writers_wins(lake, seen):
    if seen:
        publish(lake, "r0")
    files = {name: write(lake, name) for name in ("r1", "r2", "r3", "r4")}
    won, start = [], threading.Barrier(4)

    def race(name: str) -> None:
        start.wait()
        try:
            partition = {"match_id": "m", "batch": "b"}
            lake.publish("counts", partition, files[name], expected=seen, metadata={"run_id": name})
        except OutputError:
            return
        won.append(name)

    threads = [threading.Thread(target=race, args=(name,)) for name in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert lake.snapshot("counts", {"batch": "b"}).run_ids == tuple(won)


def test_racing_writers_of_different_partitions_all_win(lake):
    def one(number: int) -> None:
        publish(lake, f"r{number}", batch=f"b{number}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.snapshot("counts").run_ids == tuple(f"r{number}" for number in range(6))


def publish_pairs(lake: Lake, *batches: str) -> None:
    for batch in batches:
        folder = f"batch={batch}/r-{batch}"
        with PartitionWriter(lake.storage, lake.layout.table("pairs"), folder, 0, SCHEMAS["pairs"]) as writer:
            writer.write(SCHEMAS["pairs"].empty_table())
        lake.publish("pairs", {"batch": batch}, writer.files, expected=(), metadata={})


def test_batches_are_in_the_order_of_their_names_whichever_was_published_first(lake):
    publish_pairs(lake, "2024-05-31", "2024-05-29")
    assert lake.batches() == ["2024-05-29", "2024-05-31"]
    assert lake.batches_up_to("2024-05-30") == ["2024-05-29", "2024-05-30"]
    assert lake.batches() == ["2024-05-29", "2024-05-31"], "asking for the order adds nothing"
    publish_pairs(lake, "2024-05-30")
    assert lake.batches_up_to("2024-05-31") == ["2024-05-29", "2024-05-30", "2024-05-31"]


@given(
    published=st.lists(st.sampled_from("abcdef"), unique=True),
    order=st.lists(st.sampled_from("abcdefg"), unique=True),
    batch=st.sampled_from("abcdefg"),
)
def test_listed_batches_come_first_in_the_order_of_the_list(published, order, batch):
    lake = Lake("/lake", Storage(), order)
    listed = [name for name in order if name in published]
    ordered = lake.in_order(published)
    assert ordered == listed + sorted(set(published) - set(order))
    later = [name for name in ordered if name not in lake.up_to(batch, published)]
    assert lake.up_to(batch, published)[-1] == batch
    assert lake.up_to(batch, published) == [name for name in lake.in_order([*published, batch]) if name not in later]


def test_a_batch_that_is_removed_leaves_the_order_of_the_others(lake):
    publish_pairs(lake, "a", "m", "z")
    lake.publish("pairs", {"batch": "m"}, [], expected=("r-m",), metadata={})
    assert lake.batches() == ["a", "z"]


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".hidden", "ü"])
def test_a_batch_name_that_cannot_be_a_folder_is_refused(lake, name):
    with pytest.raises(UsageError, match="batch"):
        lake.batches_up_to(name)


def test_a_recipe_is_frozen_to_its_first_specification(lake):
    lake.freeze_recipe("default", {"seed": 0, "p": 0.06})
    lake.freeze_recipe("default", {"p": 0.06, "seed": 0})
    with pytest.raises(UsageError, match=r"seed 0 -> 1"):
        lake.freeze_recipe("default", {"p": 0.06, "seed": 1})
    assert lake.recipe("default") == {"p": 0.06, "seed": 0}


def test_a_commit_holds_the_checksums_of_its_files(lake):
    publish(lake, "r1")
    (file,) = lake.snapshot("counts").files
    content = Path(file.path).read_bytes()
    sha256, footer = lake.file_sums("counts")[file.path]
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert int(footer, 16) == zlib.crc32(content[-footer_size(content) :])
    assert lake.file_sums("pairs") == {}


def test_files_are_on_disk_before_the_commit_and_the_commit_before_publish_returns(lake, monkeypatch):
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    path = Path(lake.layout.table("counts"), write(lake, "r1")[0].path)
    assert synced == [str(path), str(path.parent)]
    publish(lake, "r2")
    assert synced[4] == f"{lake.layout.table('counts')}/_delta_log/00000000000000000001.json"
