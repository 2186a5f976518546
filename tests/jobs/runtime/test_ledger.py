from __future__ import annotations

import json

import pytest

from jobs.runtime.ledger import whole_files


def row(path, status, read, error=None, **drops):
    found = {"path": path, "read": read, "kept": read - sum(drops.values()), "drops": json.dumps(drops)}
    return {**found, "seconds": 0.5, "status": status, "error": error}


def test_rows_of_pieces_add_up_to_one_row_a_file():
    rows = [row("a", "ok", 3, redirect=1), row("b", "ok", 1), row("a", "ok", 5, redirect=2, too_long=1)]
    assert whole_files(rows) == [
        {**row("a", "ok", 8, redirect=3, too_long=1), "seconds": 1.0},
        row("b", "ok", 1),
    ]


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ([("ok", 3), ("failed", 0)], "partial"),
        ([("failed", 0), ("partial", 2), ("ok", 1)], "partial"),
        ([("failed", 0), ("failed", 0)], "failed"),
        ([("failed", 0), ("ok", 0)], "failed"),
    ],
)
def test_a_file_with_a_piece_that_failed_is_not_whole_and_says_why(statuses, whole):
    rows = [row("a", status, read, None if status == "ok" else f"why {n}") for n, (status, read) in enumerate(statuses)]
    (found,) = whole_files(rows)
    assert found["status"] == whole
    assert found["error"] == next(each["error"] for each in rows if each["error"])
