"""What is read and recorded for a batch does not grow with the number of batches before it."""

from __future__ import annotations

import json

import pyarrow as pa

from curation.lake.schemas import SCHEMAS
from jobs.runtime.batches.plan import Estimates
from jobs.runtime.context import Context
from jobs.status import read_status
from jobs.tasks.balance.totals import TotalsStage
from support.in_process import change, second_night

BATCHES = ("b2", "b3", "b4")


def grow(context: Context, folder) -> Context:
    """Run more nights; return the context of the last."""
    return [second_night(context, folder, batch, start=2000 + 100 * number) for number, batch in enumerate(BATCHES)][-1]


def totals_row(context: Context, batch: str) -> dict:
    (row,) = context.lake.rows("runs", {"stage": ["totals"], "batch": [batch]}).to_pylist()
    return row


def totals_stage(context: Context) -> TotalsStage:
    (partition,) = (part for part in context.lake.partitions("totals") if part["batch"] == context.batch)
    return TotalsStage.up_to(context, **partition)


def test_the_row_of_totals_names_its_own_batch_only_and_changes_with_any_earlier_one(night_here, tmp_path):
    last = grow(night_here, tmp_path)
    rows = [json.loads(totals_row(last, batch)["inputs"]) for batch in ("b1", *BATCHES)]
    assert [[*row["counts"]] for row in rows] == [["b1"], ["b2"], ["b3"], ["b4"]]
    assert [row["earlier_counts"]["batches"] for row in rows] == [0, 1, 2, 3]
    assert len({row["earlier_counts"]["digest"] for row in rows}) == 4
    stage = totals_stage(last)
    assert stage.freshness().fresh
    changed = {**stage.inputs["counts"], "b2": "another run"}
    stage.inputs = {"counts": changed}
    assert stage.freshness().state == "stale"


def test_the_row_of_an_earlier_release_that_names_all_batches_stays_valid(night_here, tmp_path):
    last = grow(night_here, tmp_path)
    counts = totals_stage(last).inputs["counts"]

    def name_all(rows: pa.Table) -> list[pa.Table]:
        changed = [
            {**row, "inputs": json.dumps({**json.loads(row["inputs"]), "counts": counts})}
            if row["stage"] == "totals" and row["batch"] == last.batch
            else row
            for row in rows.to_pylist()
        ]
        return [pa.Table.from_pylist(changed, schema=SCHEMAS["runs"])]

    last.lake.rewrite("runs", lambda files: files, name_all, changes_rows=True)
    assert totals_stage(last).freshness().fresh


def test_the_status_since_a_batch_is_that_part_of_the_status(night_here, tmp_path, monkeypatch):
    last = grow(night_here, tmp_path)
    whole = read_status(last)
    read = list[int]()
    rows_of = type(last.lake)._read_rows
    monkeypatch.setattr(
        type(last.lake),
        "_read_rows",
        lambda lake, name, files, *more: read.append(len(files)) or rows_of(lake, name, files, *more),
    )
    part = read_status(last, "b3")
    assert part.batches == ["b3", "b4"]
    assert part.stages == [stage for stage in whole.stages if stage.of in part.batches]
    assert part.tables == whole.tables
    assert max(read) == 1  # one file of `runs` at a time, and never all


def test_an_estimate_reads_the_newest_runs_only(night_here, tmp_path):
    last = grow(night_here, tmp_path)
    seconds, runs, _ = Estimates(last.lake, "b5").of("match")
    assert runs == 4
    assert seconds > 0
    assert Estimates(change(last, batch="b5").lake, "b5").of("no stage") == (None, 0, False)
