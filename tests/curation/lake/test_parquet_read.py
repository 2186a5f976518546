"""Row ranges and values are read only from the row groups that contain them; counts come from the footer."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from curation.io.storage import Storage
from curation.lake.parquet_read import count_values, find_rows, read_batches, read_matching, read_rows


def test_reading_a_range_returns_only_its_rows(tmp_path):
    path, table = tmp_path / "rows.parquet", pa.table({"n": range(100), "text": [f"t{n}" for n in range(100)]})
    pq.write_table(table, path, row_group_size=20)
    for start, stop in [(0, 0), (0, 1), (15, 45), (99, 100), (0, 100)]:
        assert read_rows(Storage(), str(path), start, stop).equals(table.slice(start, stop - start))
    assert sum(batch.num_rows for batch in read_batches(Storage(), str(path), ["n"], rows=7)) == 100


def test_rows_are_found_by_value_in_the_row_groups_that_may_contain_them(tmp_path, monkeypatch):
    path = tmp_path / "sorted.parquet"
    table = pa.table({"lang": ["de"] * 50 + ["en"] * 50, "id": [*range(50), *range(50)], "x": range(100)})
    pq.write_table(table, path, row_group_size=10)
    read = []
    whole = pq.ParquetFile.read_row_groups
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_groups", lambda self, groups, **k: read.append(groups) or whole(self, groups, **k)
    )
    found = find_rows(Storage(), str(path), {"lang": ["en"], "id": [3, 41, 99]})
    assert found.to_pylist() == [{"lang": "en", "id": 3, "x": 53}, {"lang": "en", "id": 41, "x": 91}]
    assert read == [[5, 9]]
    assert find_rows(Storage(), str(path), {"lang": ["fr"]}, ["x"]).num_rows == 0
    assert find_rows(Storage(), str(path), {"id": [7]}, ["x"]).to_pylist() == [{"x": 7}, {"x": 57}]


def test_values_are_counted_at_the_leaves_of_nested_columns(tmp_path):
    path = tmp_path / "nested.parquet"
    pq.write_table(pa.table({"n": [1, 2, 3], "texts": [["a", "b"], [], ["c"]]}), path, row_group_size=2)
    assert count_values(Storage(), str(path), "n") == 3
    assert count_values(Storage(), str(path), "texts.list.element") == 3


@given(st.lists(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.integers(1, 7), st.integers(1, 7))
def test_rows_with_wanted_values_come_in_order_whatever_the_row_groups_are(tmp_path_factory, ids, wanted, group, rows):
    path = tmp_path_factory.getbasetemp() / "matching.parquet"
    table = pa.table({"id": pa.array(ids, pa.int64()), "n": range(len(ids))})
    pq.write_table(table, path, row_group_size=group)
    batches = read_matching(Storage(), str(path), "id", pa.array(sorted(wanted), pa.int64()), rows=rows)
    found = [row for batch in batches for row in batch.to_pylist()]
    assert found == [row for row in table.to_pylist() if row["id"] in wanted]


def test_of_row_groups_without_wanted_values_only_that_column_is_read(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": range(100), "image": [b"x" * 1000] * 100}), path, row_group_size=10)
    read = []
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile, "iter_batches", lambda self, *a, **k: read.extend(k["row_groups"]) or whole(self, *a, **k)
    )
    found = list(read_matching(Storage(), str(path), "id", pa.array([25, 78, 79, 300])))
    assert [row["id"] for batch in found for row in batch.to_pylist()] == [25, 78, 79]
    assert read == [2, 7]
