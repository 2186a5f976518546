"""The newest rows of a small table are those with the largest run ids, from as few files as possible."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.lake import Lake
from curation.lake.schemas import SCHEMAS

ROWS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["b1", "b2"])), min_size=1, max_size=4)


def append(lake: Lake, rows) -> None:
    table = [{**dict.fromkeys(SCHEMAS["ledger"].names), "run_id": f"{run:03}", "batch": batch} for run, batch in rows]
    lake.append("ledger", pa.Table.from_pylist(table, schema=SCHEMAS["ledger"]))


@settings(max_examples=20)
@given(st.lists(ROWS, min_size=1, max_size=5), st.integers(1, 6))
def test_the_newest_rows_are_the_first_of_all_rows_sorted(tmp_path_factory, files, count):
    lake = Lake(str(tmp_path_factory.mktemp("lake")), Storage())
    for rows in files:
        append(lake, rows)
    expected = sorted((f"{run:03}" for rows in files for run, batch in rows if batch == "b1"), reverse=True)[:count]
    assert lake.newest_rows("ledger", {"batch": ["b1"]}, count)["run_id"].to_pylist() == expected


def test_files_without_such_rows_are_not_read(tmp_path, monkeypatch):
    lake, read = Lake(str(tmp_path), Storage()), list[int]()
    for run in range(20):
        append(lake, [(run, "b1")])
    whole = lake._read_rows
    monkeypatch.setattr(
        lake, "_read_rows", lambda name, files, where: read.append(len(files)) or whole(name, files, where)
    )
    assert lake.newest_rows("ledger", {"batch": ["b1"]}, 3)["run_id"].to_pylist() == ["019", "018", "017"]
    assert read == [1, 1, 1]
