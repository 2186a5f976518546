"""Pairs are matched in units of some size, counts summed in pieces: no task gets all of a large language."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.lake.files import DataFile
from jobs.tasks.match import splits
from jobs.tasks.match.splits import FEWEST, FLOOR, SPREAD, EntryRange, entry_ranges, group_files, group_ranges
from support.tables import counts_table

seen_entries = st.dictionaries(st.sampled_from(["de", "en", "ja"]), st.sets(st.integers(0, 20)))


@given(seen_entries, st.integers(1, 9), st.integers(1, 9))
def test_pieces_hold_every_count_once_in_order_and_no_more_than_their_size(seen, size, most):
    entries = {"de": 21, "en": 21, "ja": 21, "unseen": 4, "empty": 0}
    tables = {lang: counts_table(*((lang, i, i + 1) for i in ids)) for lang, ids in seen.items() if ids}
    default, splits.RANGE = splits.RANGE, size
    try:
        pieces = entry_ranges(entries)
    finally:
        splits.RANGE = default
    staged = [piece.select(tables) for piece in pieces]
    assert all(table.num_rows <= size for table in staged)
    expected = [tables[lang] for lang in sorted(tables)]
    assert pa.concat_tables([counts_table(), *staged]).equals(pa.concat_tables([counts_table(), *expected]))

    rows = [table.num_rows for table in staged]
    ranges = group_ranges([rows, rows], most)
    assert [place for part in ranges for place in part] == list(range(len(pieces)))
    filled = [[rows[n] for n in part if rows[n]] for part in ranges]
    assert all(len(part) <= 1 or 2 * sum(part) <= most for part in filled)


def test_a_language_is_cut_at_fixed_entries():
    assert entry_ranges({"en": splits.RANGE + 1, "de": 3}) == [
        EntryRange("de", 0, splits.RANGE),
        EntryRange("en", 0, splits.RANGE),
        EntryRange("en", splits.RANGE, 2 * splits.RANGE),
    ]
    assert entry_ranges({}) == []
    assert group_ranges([]) == [range(0)]
    assert group_ranges([[]]) == [range(0)]


@given(st.lists(st.integers(0, 1000), max_size=300), st.integers(1, 2000))
def test_units_hold_every_file_once_in_order_and_are_as_large_as_asked_but_for_the_last(sizes, unit_bytes):
    files = [DataFile(f"{place:06d}.parquet", size, 1, {}) for place, size in enumerate(sizes)]
    units = group_files(files, unit_bytes)
    assert [file for unit in units for file in unit] == files
    target = min(unit_bytes, max(sum(sizes) / SPREAD, min(FLOOR, sum(sizes) / FEWEST)))
    held = [[file.size for file in unit] for unit in units]
    assert all(sum(unit) >= target for unit in held[:-1])
    assert all(sum(unit[:-1]) < target or not sum(unit) for unit in held)


@pytest.mark.parametrize(
    ("megabytes", "tasks", "unit"),
    [
        (1, 8, 1 / 8),  # spread over some tasks, however small
        (400, 8, 50),
        (512, 8, 64),
        (2000, 32, 64),  # units of the floor
        (4096, 64, 64),
        (32_000, 64, 500),
        (100_000, 98, 1024),  # units of the full size
    ],
)
def test_units_are_large_where_that_leaves_enough_of_them(megabytes, tasks, unit):
    files = [DataFile(f"{place:06d}.parquet", megabytes << 8, 1, {}) for place in range(4096)]
    units = group_files(files, 1 << 30)
    assert tasks * 0.9 <= len(units) <= tasks
    held = [sum(file.size for file in files) / (1 << 20) for files in units[:-1]]
    assert all(unit <= size <= unit + megabytes / 4096 for size in held)
