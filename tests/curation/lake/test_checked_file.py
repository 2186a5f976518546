"""No byte of a data file changes unnoticed: readers return the published rows or name the damaged file."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.dedup.across_batches import earlier_groups, is_known
from curation.errors import DamagedLakeError, InputError
from curation.io.storage import Storage
from curation.lake import checksums, parquet
from curation.lake.checked_file import REMEDY, open_checked
from curation.lake.parquet_read import count_values, find_rows, read_batches, read_rows
from support.damage import TABLES, flips, rows_of, write_file

ROWS = 150


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 20_000)


def read(path: Path) -> pa.Table:
    batches = list(read_batches(Storage(), str(path), rows=50))
    return pa.Table.from_batches(batches) if batches else pa.table({})


def check_flips(path: Path, count: int, readers) -> None:
    """Flip bits drawn over a whole file, and hold what every reader returns equal to what it returned before."""
    expected = [reader(path) for reader in readers]
    silent, messages = [], set()
    for place in flips(path, count):
        for reader, before in zip(readers, expected, strict=True):
            try:
                after = reader(path)
            except DamagedLakeError as error:
                messages.add(str(error).partition(": ")[0] + str(error).rpartition(": ")[2])
            else:
                silent += [place] if after != before else []
    assert silent == []
    assert messages == {f"{path}{REMEDY}"}


READERS = (
    read,
    lambda path: read_rows(Storage(), str(path), 20, 30),
    lambda path: find_rows(Storage(), str(path), {"image_id": ["en", "ok"]}),
    lambda path: count_values(Storage(), str(path), "image_id"),
)


@pytest.mark.parametrize("table", TABLES)
def test_no_flipped_bit_is_read_as_other_rows(tmp_path, small_groups, table):
    check_flips(write_file(Storage(), tmp_path, rows_of(table, ROWS)), 25, READERS)


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_no_flipped_bit_of_three_hundred_is_read_as_other_rows(tmp_path, small_groups, table):
    check_flips(write_file(Storage(), tmp_path, rows_of(table, ROWS)), 300, READERS)


def test_a_reader_of_all_rows_notices_a_flip_anywhere(tmp_path, small_groups):
    path = write_file(Storage(), tmp_path, rows_of("shards", ROWS))
    mark = 8 * path.read_bytes().rindex(checksums.MARK)
    for _ in chain(flips(path, 200, seed=1), flips(path, 8 * len(checksums.MARK), first=mark)):
        with pytest.raises(DamagedLakeError), open_checked(Storage(), str(path)) as file:
            file.check_all()


def test_the_look_up_of_earlier_images_notices_flips(tmp_path, small_groups):
    table = rows_of("pairs", ROWS).sort_by("image_id").drop_null()
    table = table.filter(pa.array([len(image) == 24 for image in table["image_id"].to_pylist()]))
    path, ids = write_file(Storage(), tmp_path, table), table["image_id"].slice(10, 20)
    assert len(ids) == 20
    readers = (
        lambda path: is_known(Storage(), [str(path)], ids).tolist(),
        lambda path: earlier_groups(Storage(), [str(path)], ids).to_pylist(),
    )
    check_flips(path, 60, readers)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_is_cut_overwritten_or_extended_is_damaged(tmp_path, data):
    path = tmp_path / "file.parquet"
    if not path.exists():
        write_file(Storage(), tmp_path, rows_of("images", 400)).rename(path)
        (tmp_path / "whole").write_bytes(path.read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    assert len(whole) > checksums.BLOCK_BYTES
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(whole) - 1)] * 2)))
    kind = data.draw(st.sampled_from(["cut", "hole", "zeros", "tail", "moved", "empty"]))
    changed = {
        "cut": whole[:start],
        "hole": whole[:start] + whole[stop + 1 :],
        "zeros": whole[:start] + bytes(stop + 1 - start) + whole[stop + 1 :],
        "tail": whole + data.draw(st.binary(min_size=1, max_size=100)),
        "moved": whole[stop:] + whole[:stop],
        "empty": b"",
    }[kind]
    path.write_bytes(changed)
    if changed == whole:
        return
    with pytest.raises(DamagedLakeError, match=r"file\.parquet: (damaged|cut short)"):
        read(path)


def test_a_missing_file_is_damage_of_the_lake(tmp_path):
    with pytest.raises(DamagedLakeError, match=r"gone\.parquet: missing: run `python -m jobs\.verify"):
        read(tmp_path / "gone.parquet")
    assert DamagedLakeError.exit_code == 4
    assert issubclass(DamagedLakeError, InputError)


def test_files_without_checksums_are_still_read(tmp_path):
    table = rows_of("pairs", ROWS)
    pq.write_table(table, tmp_path / "old.parquet")
    assert read(tmp_path / "old.parquet").equals(table)
    (tmp_path / "old.parquet").write_bytes((tmp_path / "old.parquet").read_bytes()[:-9])
    with pytest.raises(DamagedLakeError, match=r"old\.parquet: damaged or not a Parquet file"):
        read(tmp_path / "old.parquet")


def test_a_file_of_an_earlier_version_is_checked_by_the_checksums_of_its_pages(tmp_path):
    path, table = tmp_path / "old.parquet", rows_of("pairs", ROWS)
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    column = pq.read_metadata(path).row_group(0).column(0)
    first = 8 * (column.data_page_offset + column.total_compressed_size - 200)  # values, not the header of their page
    for _ in flips(path, 60, first=first):
        with pytest.raises(DamagedLakeError, match=r"old\.parquet: damaged or not a Parquet file"):
            read(path)
    assert read(path).equals(table)


def test_other_readers_ignore_the_checksums(tmp_path, small_groups):
    table = rows_of("shards", ROWS)
    path = write_file(Storage(), tmp_path, table)
    assert pq.read_table(path, partitioning=None).equals(table)
    assert pq.ParquetFile(path, page_checksum_verification=True).read().equals(table)
    assert pq.ParquetFile(path).schema_arrow.metadata is None
    assert duckdb.read_parquet(str(path)).to_arrow_table().num_rows == ROWS
    assert pl.read_parquet(path)["image"].to_list() == table["image"].to_pylist()


@pytest.mark.parametrize("rows", [0, 1, 400])
def test_any_range_of_a_file_is_read_as_it_is(tmp_path, rows):
    path = write_file(Storage(), tmp_path, rows_of("images", rows))
    whole = path.read_bytes()
    with open_checked(Storage(), str(path)) as file:
        size = len(whole)
        edges = sorted(
            {0, 1, 4, size // 2, size - 9, size, *range(0, size, checksums.BLOCK_BYTES), file.sums.rows_size}
        )
        for start in edges:
            for stop in edges:
                file.seek(start)
                assert file.read(max(0, stop - start)) == whole[start : max(start, stop)]
        assert file.seek(-3, 2) == size - 3
        assert (file.read(), file.tell()) == (whole[-3:], size)


def test_a_footer_longer_than_the_first_read_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr("curation.lake.checked_file.TAIL_BYTES", 16)
    table = rows_of("pairs", ROWS)
    path = write_file(Storage(), tmp_path, table)
    assert read(path).equals(table)
    check_flips(path, 25, READERS)


def test_reading_can_stop_early(tmp_path):
    path = write_file(Storage(), tmp_path, rows_of("images", 400))
    assert next(read_batches(Storage(), str(path), rows=10)).num_rows == 10
