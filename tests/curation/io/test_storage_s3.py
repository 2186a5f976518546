"""Storage and lake on a real S3 server behave as they do on a local disk."""

from __future__ import annotations

import threading

import pytest

from curation.errors import InputError, OutputError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.parquet_read import read_rows
from curation.lake.schemas import SCHEMAS

storage = Storage()


@pytest.fixture
def prefix(s3, request):
    return f"s3://lake/{request.node.name}"


def test_files_are_written_listed_read_and_deleted(prefix):
    for name in ("a/1.gz", "a/2.gz", "a/b/3.gz"):
        storage.write_bytes(f"{prefix}/{name}", name.encode())
    assert [file.path for file in storage.expand(f"{prefix}/a/*.gz")] == [f"{prefix}/a/1.gz", f"{prefix}/a/2.gz"]
    assert [file.size for file in storage.expand(f"{prefix}/a")] == [6, 6, 8]
    assert storage.read_bytes(f"{prefix}/a/b/3.gz") == b"a/b/3.gz"
    assert storage.exists(f"{prefix}/a/1.gz")
    assert storage.delete_folder(f"{prefix}/a") == 3
    assert not storage.exists(f"{prefix}/a/1.gz")
    with pytest.raises(InputError, match="no file matches"):
        storage.expand(f"{prefix}/a/*.gz")
    with pytest.raises(InputError, match="cannot read"):
        storage.open_input(f"{prefix}/a/1.gz")


@pytest.mark.parametrize("name", ["a b", "a%20b", "[x]", "日本*?", "a+b#c"])
def test_objects_may_have_any_name(prefix, name):
    root = f"s3://lake/any/{name}"
    storage.write_bytes(f"{root}/in/{name}.gz", b"x")
    for pattern in (root, f"{root}/in/{name}.gz", f"{root}/in/*.gz", f"{root}/**/*.gz"):
        assert [file.path for file in storage.expand(pattern)] == [f"{root}/in/{name}.gz"]
    assert storage.read_bytes(f"{root}/in/{name}.gz") == b"x"
    with storage.open_stream(storage.stat(f"{root}/in/{name}.gz")) as stream:
        assert stream.read() == b"x"


def test_exactly_one_of_several_racing_writers_creates_the_object(prefix):
    won, start = [], threading.Barrier(8)

    def race(number):
        start.wait()
        if storage.put_if_absent(f"{prefix}/once", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read_bytes(f"{prefix}/once") == str(won[0]).encode()


def test_partitions_are_published_replaced_and_kept_apart(prefix):
    lake = Lake(prefix, storage)
    partition = {"match_id": "m", "batch": "b"}

    def publish(run, count, expected):
        with PartitionWriter(storage, lake.layout.table("counts"), f"x/{run}", 0, SCHEMAS["counts"]) as writer:
            writer.write(SCHEMAS["counts"].empty_table().from_pylist([{"lang": "en", "entry_id": 0, "count": count}]))
        return lake.publish("counts", partition, writer.files, expected=expected, metadata={"run_id": run})

    first = publish("r1", 1, ())
    publish("r2", 2, ("r1",))
    with pytest.raises(OutputError, match="published by run r2"):
        publish("r3", 3, ("r1",))
    for version, count in ((None, 2), (first, 1)):
        (file,) = lake.snapshot("counts", partition, version).files
        assert read_rows(storage, file.path, 0, 1)["count"].to_pylist() == [count]
    lake.freeze_recipe("r", {"a": 1})
    assert lake.recipe("r") == {"a": 1}
