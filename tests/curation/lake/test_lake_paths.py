"""A lake may be at any path: with spaces, any script, `%`, brackets, `#`, `?` or a backslash, local or on S3."""

from __future__ import annotations

import threading
import uuid

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.errors import UsageError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS

PARTITION = {"match_id": "m", "batch": "b"}
SPECIAL = " %[]#?*^|<>&=+~\"'`{}:;,@!$()\\\n"
CHARACTERS = st.sampled_from([*SPECIAL, *"aZ09.é日क\u0301\u200d😀", "%41", "%2F", "%"])
NAMES = st.lists(CHARACTERS, min_size=1, max_size=8).map("".join).filter(lambda name: name not in (".", ".."))
TOMBSTONE = pa.Table.from_pylist([{}], SCHEMAS["tombstones"])


def publish(lake: Lake, run_id: str, *, after: tuple[str, ...]) -> None:
    table, folder = lake.layout.table("counts"), f"match_id=m/batch=b/{run_id}"
    with PartitionWriter(lake.storage, table, folder, 0, SCHEMAS["counts"]) as writer:
        writer.write(pa.table({"lang": ["en"], "entry_id": [1], "count": [2]}))
    lake.publish("counts", PARTITION, writer.files, expected=after, metadata={"run_id": run_id})


def use_everything(lake: Lake) -> None:
    """Publish, replace, append, read, list and vacuum."""
    publish(lake, "r1", after=())
    publish(lake, "r2", after=("r1",))
    lake.append("tombstones", TOMBSTONE)
    lake.append("tombstones", TOMBSTONE)
    snapshot = lake.snapshot("counts", PARTITION)
    assert snapshot.run_ids == ("r2",)
    assert [batch.num_rows for batch in read_batches(lake.storage, snapshot.files[0].path)] == [1]
    assert lake.rows("tombstones").num_rows == 2
    assert [commit.get("run_id") for commit in lake.commits("counts")] == ["r2", "r1", None]
    table = lake.table("counts")
    removed = table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    assert [path.split("/")[-2] for path in removed] == ["r1"]
    assert {file.path.split("/")[-2] for file in lake.storage.list_files(lake.layout.table("counts"))} <= {
        "r2",
        "_delta_log",
    }


@settings(max_examples=25)
@example(name="a%20b")
@example(name="[x]")
@example(name="a#b?c")
@example(name="back\\slash")
@given(name=NAMES)
def test_a_lake_may_have_any_local_path(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("lakes")
    use_everything(Lake(str(folder / name), Storage()))
    assert [path.name for path in folder.iterdir()] == [name]
    assert Lake(str(folder / name), Storage()).snapshot("counts").run_ids == ("r2",)


@pytest.mark.parametrize("name", ["a b", "100%", "[x]", "日本 é", "a+b&c=d~{}"])
def test_a_lake_may_have_any_prefix_on_s3(s3, name):
    root = f"s3://lake/{uuid.uuid4().hex}/{name}"
    use_everything(Lake(root, Storage()))
    assert all(file.path.startswith(f"{root}/") for file in Storage().list_files(root.rpartition("/")[0]))


@pytest.mark.parametrize(
    "root",
    [
        *("s3://b/a%20b", "s3://b/a#b", "s3://b/a?b", "s3://b/a\\b", "s3://b/a\nb"),
        *("s3a://b/x", "gs://b/x", "file:///x", "https://h/x", "hdfs:/x", "S3://b/x"),
        *("a\udcffb", "a\0b"),
    ],
)
def test_a_location_that_cannot_hold_a_lake_is_refused_in_one_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^lake: .+: use ") as caught:
        Lake(root, Storage())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lake", "la[k]e%41"])
def test_rows_that_are_appended_at_the_same_time_are_all_kept(tmp_path, name):
    lake = Lake(str(tmp_path / name), Storage())
    lake.append("tombstones", TOMBSTONE)
    threads = [threading.Thread(target=lake.append, args=("tombstones", TOMBSTONE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.rows("tombstones").num_rows == 9
