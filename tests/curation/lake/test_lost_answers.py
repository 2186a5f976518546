"""Commits on S3 happen once, although the answers to some of the requests are lost."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from curation.errors import OutputError
from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.parquet import PartitionWriter
from curation.lake.parquet_read import read_rows
from curation.lake.schemas import SCHEMAS
from support.s3_proxy import FAULTS, Seen, faulty

PARTITION = {"match_id": "m", "batch": "b"}


@pytest.fixture
def proxy(s3):
    with faulty(s3) as running:
        yield running


@pytest.fixture
def lake(proxy, request) -> Lake:
    return Lake(f"s3://lake/{abs(hash(request.node.name))}", Storage(endpoint_url=proxy.endpoint))


def to_each_commit(fault: str):
    """Choose a fault for the first attempt to write each file of a log."""
    counts = Counter[str]()

    def choose(seen: Seen) -> str | None:
        if not seen.is_conditional_write or "_delta_log" not in seen.path:
            return None
        counts[seen.path] += 1
        return fault if counts[seen.path] == 1 else None

    return choose


def publish(lake: Lake, run: str, count: int, expected: tuple[str, ...]) -> int:
    with PartitionWriter(lake.storage, lake.layout.table("counts"), f"x/{run}", 0, SCHEMAS["counts"]) as writer:
        writer.write(SCHEMAS["counts"].empty_table().from_pylist([{"lang": "en", "entry_id": 0, "count": count}]))
    return lake.publish("counts", PARTITION, writer.files, expected=expected, metadata={"run_id": run})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_partition_is_published_and_replaced_once_in_spite_of(fault, proxy, lake):
    proxy.choose = to_each_commit(fault)
    publish(lake, "r1", 1, ())
    version = publish(lake, "r2", 2, ("r1",))
    (file,) = lake.snapshot("counts", PARTITION).files
    assert read_rows(lake.storage, file.path, 0, 1)["count"].to_pylist() == [2]
    assert lake.snapshot("counts", PARTITION, version).files == (file,)
    with pytest.raises(OutputError, match="published by run r2"):
        publish(lake, "r3", 3, ("r1",))
    assert any(seen.fault for seen in proxy.requests)


@pytest.mark.parametrize("fault", FAULTS)
def test_rows_are_added_and_rewritten_once_in_spite_of(fault, proxy, lake):
    proxy.choose = to_each_commit(fault)
    schema = SCHEMAS["ledger"]
    for number in range(3):
        row = {**dict.fromkeys(schema.names), "run_id": str(number)}
        lake.append("ledger", pa.Table.from_pylist([row], schema=schema))
    assert sorted(lake.rows("ledger")["run_id"].to_pylist()) == ["0", "1", "2"]
    lake.rewrite("ledger", lambda files: files, lambda rows: [rows])
    assert sorted(lake.rows("ledger")["run_id"].to_pylist()) == ["0", "1", "2"]
    assert len(lake.file_table("ledger")) == 1
