"""Tables of few rows are searched without reading files that cannot have the rows, and merging keeps every row."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake import lake as lake_module
from curation.lake import merge_files
from curation.lake.lake import Lake
from curation.lake.schemas import SCHEMAS
from curation.lake.small_tables import read_small_table
from jobs.runtime.runs import mark_incomplete

STAGES = ("ingest", "match", "takedown")


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"), Storage())


def row(number: int, stage: str = "ingest") -> dict:
    texts = dict.fromkeys(("config", "inputs", "totals", "drops", "seconds", "code_version"), "{}")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    own = {"run_id": f"r{number:04d}", "stage": stage, "batch": f"b{number % 3}", "fingerprint": f"f{number % 5}"}
    return {**texts, **own, "complete": bool(number % 2), "started": now, "finished": now}


def append(lake: Lake, *rows: dict) -> None:
    lake.append("runs", pa.Table.from_pylist(list(rows), schema=SCHEMAS["runs"]))


def run_ids(rows: pa.Table) -> list[str]:
    return sorted(rows["run_id"].to_pylist())


def files(lake: Lake) -> int:
    return lake.file_table("runs").num_rows


def merge_all(lake: Lake, monkeypatch, rows: int = 4) -> int:
    monkeypatch.setattr(merge_files, "MIN_FILES", 2)
    monkeypatch.setitem(merge_files.PLANS, "runs", merge_files._Plan(rows, "run_id", "stage"))
    return merge_files.merge_files(lake, "runs")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.lists(st.sampled_from(STAGES), min_size=1, max_size=3), min_size=1, max_size=6),
    where=st.dictionaries(
        st.sampled_from(["run_id", "stage", "batch", "complete"]), st.lists(st.integers(0, 9), max_size=2), min_size=1
    ),
    merged_after=st.integers(0, 6),
)
def test_a_search_finds_the_rows_that_reading_all_of_them_finds(tmp_path_factory, parts, where, merged_after):
    lake, rows = Lake(str(tmp_path_factory.mktemp("lake")), Storage()), []
    with pytest.MonkeyPatch.context() as patch:
        for number, stages in enumerate(parts):
            new = [row(len(rows) + place, stage) for place, stage in enumerate(stages)]
            append(lake, *new)
            rows += new
            if number == merged_after:
                merge_all(lake, patch)
    known = {key: sorted({each[key] for each in rows}) for key in where}
    chosen = {key: [known[key][place % len(known[key])] for place in places] for key, places in where.items()}
    expected = [each for each in rows if all(each[key] in values for key, values in chosen.items())]
    assert run_ids(lake.rows("runs", chosen)) == sorted(each["run_id"] for each in expected)
    assert run_ids(lake.rows("runs")) == [each["run_id"] for each in rows]


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The files of small tables that were opened."""
    paths: list[str] = []

    def spy(storage, name, files, *rest):
        paths.extend(files)
        return read_small_table(storage, name, files, *rest)

    monkeypatch.setattr(lake_module, "read_small_table", spy)
    return paths


def test_looking_up_a_run_opens_one_file_however_many_runs_there_are(lake, read, monkeypatch):
    for number in range(40):
        append(lake, row(number, STAGES[number % 3]))
    assert run_ids(lake.rows("runs", {"run_id": ["r0017"]})) == ["r0017"]
    assert len(read) == 1
    assert merge_all(lake, monkeypatch) == 40
    read.clear()
    assert run_ids(lake.rows("runs", {"run_id": ["r0017"]})) == ["r0017"]
    assert len(read) <= len(STAGES), "a merged file has the runs of one stage"
    read.clear()
    assert lake.rows("runs", {"stage": ["takedown"]}).num_rows == 13
    assert len(read) == 4


def test_files_without_statistics_are_searched_too(lake, monkeypatch):
    append(lake, row(1))
    with monkeypatch.context() as patch:  # as releases before 0.3 wrote them
        patch.setattr(lake_module, "bounds", lambda *_: {})
        append(lake, row(2))
    append(lake, row(3))
    assert [run_ids(lake.rows("runs", {"run_id": [f"r{n:04d}"]})) for n in (1, 2, 3)] == [
        ["r0001"],
        ["r0002"],
        ["r0003"],
    ]


def test_merging_reads_full_files_no_more(lake, read, monkeypatch):
    append(lake, *(row(number) for number in range(4)))
    for number in range(4, 10):
        append(lake, row(number))
    merge_all(lake, monkeypatch)
    assert len(read) == 6
    assert sorted(lake.file_table("runs")["num_records"].to_pylist()) == [2, 4, 4]
    before = lake.snapshot("runs").version
    monkeypatch.setattr(merge_files, "MIN_FILES", 2)
    assert merge_files.merge_files(lake, "runs") == 0
    assert lake.snapshot("runs").version == before


def test_a_dry_run_says_how_many_files_would_be_merged(lake, monkeypatch):
    for number in range(3):
        append(lake, row(number))
    monkeypatch.setattr(merge_files, "MIN_FILES", 3)
    assert merge_files.merge_files(lake, "runs", dry_run=True) == 3
    assert files(lake) == 3


def test_rows_added_and_runs_marked_while_files_are_merged_are_not_lost(lake, monkeypatch):
    for number in range(30):
        append(lake, {**row(number), "complete": True})
    monkeypatch.setattr(merge_files, "MIN_FILES", 2)
    merge_all(lake, monkeypatch, rows=8)  # sets the size, with which the threads merge
    other = Lake(lake.root, Storage())
    works = [
        *(lambda number=number: append(other, row(number)) for number in range(100, 106)),
        *(lambda number=number: mark_incomplete(Lake(lake.root, Storage()), f"r{number:04d}") for number in (3, 9)),
        *(lambda: merge_files.merge_files(Lake(lake.root, Storage()), "runs") for _ in range(2)),
    ]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run_ids(lake.rows("runs")) == [f"r{number:04d}" for number in [*range(30), *range(100, 106)]]
    incomplete = lake.rows("runs", {"complete": [False]})["run_id"].to_pylist()
    assert {"r0003", "r0009"} <= set(incomplete)


def test_a_reader_of_an_earlier_version_still_finds_its_files_after_merging(lake, monkeypatch):
    for number in range(6):
        append(lake, row(number))
    pinned = lake.snapshot("runs")
    merge_all(lake, monkeypatch)
    again = lake.snapshot("runs", version=pinned.version)
    assert again.files == pinned.files
    paths = [file.path for file in again.files]
    assert run_ids(read_small_table(lake.storage, "runs", paths)) == [f"r{number:04d}" for number in range(6)]
