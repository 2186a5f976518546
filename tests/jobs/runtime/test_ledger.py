from __future__ import annotations

import pytest

from jobs.runtime.ledger import LedgerRow, merge_rows


def row(path, status, read, error=None, seconds=0.5, **drops):
    return LedgerRow(path, "tag", 9, read, read - sum(drops.values()), drops, seconds, status, error)


def test_rows_of_splits_add_up_to_one_row_per_file():
    rows = [row("a", "ok", 3, redirect=1), row("b", "ok", 1), row("a", "ok", 5, redirect=2, too_long=1)]
    assert merge_rows(rows) == [row("a", "ok", 8, seconds=1.0, redirect=3, too_long=1), row("b", "ok", 1)]


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ([("ok", 3), ("failed", 0)], "partial"),
        ([("failed", 0), ("partial", 2), ("ok", 1)], "partial"),
        ([("failed", 0), ("failed", 0)], "failed"),
        ([("failed", 0), ("ok", 0)], "failed"),
    ],
)
def test_a_file_with_a_failed_split_is_not_whole_and_keeps_the_first_error(statuses, whole):
    rows = [row("a", status, read, None if status == "ok" else f"why {n}") for n, (status, read) in enumerate(statuses)]
    (merged,) = merge_rows(rows)
    assert merged.status == whole
    assert merged.error == next(each.error for each in rows if each.error)
