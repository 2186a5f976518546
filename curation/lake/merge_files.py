"""Merges the small files of the tables of few rows: every run of a stage adds one file to `runs`, and one to `ledger`.

A lookup reads the files whose statistics admit the value that it looks for. Rows are therefore sorted: a file of `runs`
has the rows of one stage, in the order of their run ids, which start with a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from curation.lake.lake import Lake


@dataclass(frozen=True)
class _Plan:
    """How the rows of a table are laid out: one file per value of `apart` and so many rows, sorted by `order`."""

    rows: int
    order: str = ""
    apart: str = ""


PLANS: Final[Mapping[str, _Plan]] = {
    "runs": _Plan(512, "run_id", "stage"),
    "ledger": _Plan(1 << 16, "run_id"),
    "tombstones": _Plan(1 << 16),
}
MIN_FILES: Final = 32  # fewer small files stay as they are


def merge_files(lake: Lake, name: str, *, dry_run: bool = False) -> int:
    """Merge the small files of a table if there are many; return their number. Readers see the same rows.

    With `dry_run`, nothing is changed.
    """
    plan = PLANS[name]
    small = pc.field("num_records") < plan.rows
    count = int(lake.file_table(name).filter(small).num_rows)
    if count < MIN_FILES:
        return 0
    if not dry_run:
        lake.rewrite(name, lambda files: files.filter(small), lambda rows: _lay_out(rows, plan))
    return count


def _lay_out(rows: pa.Table, plan: _Plan) -> Iterator[pa.Table]:
    """Yield the rows of the files."""
    groups = rows[plan.apart].unique().sort().to_pylist() if plan.apart else [None]
    for value in groups:
        group = rows.filter(pc.equal(rows[plan.apart], value)) if plan.apart else rows
        group = group.sort_by(plan.order) if plan.order else group
        for start in range(0, group.num_rows, plan.rows):
            yield group.slice(start, plan.rows)
