"""The runs table: a run that is only in a commit is found without writing, and restored only by the stage itself."""

from __future__ import annotations

from datetime import UTC

import pyarrow as pa
import pytest

from curation.lake.schemas import SCHEMAS
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run, recover_run
from jobs.runtime.stage import Publication, StageRun


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A run of ingest that was killed between its commit and its row in `runs`."""
    context = Context(Config(lake=str(tmp_path / "lake"), create=True, batch="b1"), "test")
    run = new_run(context)
    with run.writers()("pairs", 0) as writer:
        writer.write(pa.Table.from_pylist([], schema=SCHEMAS["pairs"]))
    with monkeypatch.context() as patch:
        patch.setattr("jobs.runtime.stage.append_run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.publish(Publication({"pairs": writer.files}, totals={"read": 7}))
    return context, run.run_id


def new_run(context):
    outputs = {"pairs": {"batch": "b1"}}
    return StageRun("ingest", context.lake, context.config, fingerprint_keys={}, inputs={}, outputs=outputs, batch="b1")


def test_finding_a_run_reads_its_commit_and_writes_nothing(killed):
    context, run_id = killed
    row = find_run(context.lake, run_id, "pairs")
    assert (row["run_id"], row["stage"]) == (run_id, "ingest")
    assert row["started"].tzinfo == UTC, "as the table has it, for the page of a night"
    assert find_run(context.lake, "another", "pairs") is None
    assert context.lake.rows("runs").num_rows == 0


def test_the_next_run_restores_the_row_once_and_has_nothing_to_do(killed):
    context, run_id = killed
    for _ in range(2):
        outcome = new_run(context).finished()
        assert (outcome.run_id, outcome.fresh, outcome.totals) == (run_id, False, {"read": 7})
    assert context.lake.rows("runs")["run_id"].to_pylist() == [run_id]
    assert recover_run(context.lake, "another", "pairs") is None
