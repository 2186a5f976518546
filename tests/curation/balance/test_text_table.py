from __future__ import annotations

from curation.balance.text_table import format_table

ROWS = [["name", "count", ""], ["a", "1,000", "x"], ["long name", "5", ""]]


def test_columns_are_as_wide_as_their_longest_cell_without_trailing_spaces():
    assert list(format_table(ROWS)) == ["name       count", "a          1,000  x", "long name  5"]


def test_all_columns_but_the_first_can_be_aligned_on_the_right():
    rows = [row[:2] for row in ROWS]
    assert list(format_table(rows, right_align=True)) == ["name       count", "a          1,000", "long name      5"]
