from __future__ import annotations

import pytest

from jobs.runtime.config import Config
from jobs.runtime.ledger import LedgerRow, merge_rows, too_many_failed


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


@pytest.mark.parametrize(
    ("failed", "keys", "limit"),
    [
        (0, {"max_failed_inputs": 0, "max_failed_files": 0}, None),
        (5, {"max_failed_inputs": 0.5}, None),
        (6, {"max_failed_inputs": 0.5}, "max_failed_inputs 0.5"),
        (2, {"max_failed_inputs": 0.5, "max_failed_files": 2}, None),
        (3, {"max_failed_inputs": 0.5, "max_failed_files": 2}, "max_failed_files 2"),
        (1, {"max_failed_inputs": 1, "max_failed_files": 0}, "max_failed_files 0"),
    ],
)
def test_the_budget_for_failed_inputs_is_a_share_and_a_number(failed, keys, limit):
    rows = [row(f"f{number}", "failed", 0, "cut off") for number in range(failed)]
    error = too_many_failed("ingest", rows, 10, Config(**keys))
    assert (error is None) == (limit is None)
    if error:
        named = "; ".join(f"f{number} (cut off)" for number in range(min(failed, 3)))
        more = f" and {failed - 3} more" if failed > 3 else ""
        assert str(error) == (
            f"ingest: {failed} of 10 input files failed, more than {limit} allows: {named}{more}; nothing was published"
        )
        assert error.exit_code == 3
