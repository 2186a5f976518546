"""Counts up to a batch: the total of the batch before, plus this batch's counts.

Each total lists the runs whose counts are in it. A batch matched again makes the later totals stale: they are rebuilt
in the lake's order, so that a batch is always balanced with the counts up to it and no others.
"""

from __future__ import annotations

import logging

import pyarrow as pa

from curation.balancing import sum_counts
from curation.lake import Snapshot
from curation.parquet import read_batches
from curation.schemas import SCHEMAS
from curation.storage import Storage
from jobs.runner import Context
from jobs.stage import Outcome, Stage

log = logging.getLogger(__name__)

ALGORITHM = 1


def build_totals(context: Context, match_id: str) -> Outcome:
    """Make the total of the config's batch, and any earlier one it needs; return the outcome of the last."""
    lake = context.lake
    known = lake.batches()
    matched: dict[str, Snapshot] = {}
    for batch in known[: known.index(context.batch) + 1]:
        counts = lake.snapshot("counts", {"match_id": match_id, "batch": batch})
        if counts.files:
            matched[batch] = counts
        else:
            log.warning("batch %s has no counts of match_id %s: it is not in the totals", batch, match_id)
    included: dict[str, str] = {}
    stages = []
    for batch, counts in matched.items():
        included = {**included, batch: counts.run_ids[0]}
        stages.append(_stage(context, match_id, batch, included))
    outcomes = [stage.finished() for stage in stages]
    newest = max((place for place, outcome in enumerate(outcomes) if outcome), default=-1)
    outcome = outcomes[newest]
    for stage in stages[newest + 1 :]:
        if lake.snapshot("totals", stage.outputs["totals"]).files:
            log.warning("totals of batch %s are stale, an earlier batch was matched again: rebuilding", stage.batch)
        before = list(matched)[: list(matched).index(stage.batch)][-1:]
        tables = [
            read_counts(context.storage, lake.snapshot("totals", {"match_id": match_id, "batch": b})) for b in before
        ]
        tables.append(read_counts(context.storage, matched[stage.batch]))
        outcome = _publish(stage, sum_counts(tables))
    assert outcome is not None, "the batch itself has counts"
    return outcome


def read_counts(storage: Storage, snapshot: Snapshot) -> pa.Table:
    """Return a partition of counts or totals as one table."""
    batches = [batch for file in snapshot.files for batch in read_batches(storage, file.path, rows=1 << 16)]
    return pa.Table.from_batches([batch.cast(SCHEMAS["counts"]) for batch in batches], SCHEMAS["counts"])


def _stage(context: Context, match_id: str, batch: str, included: dict[str, str]) -> Stage:
    return Stage(
        "totals",
        context.lake,
        context.config,
        semantic={"algorithm": ALGORITHM},
        inputs={"counts": included},
        outputs={"totals": {"match_id": match_id, "batch": batch}},
        batch=batch,
    )


def _publish(stage: Stage, table: pa.Table) -> Outcome:
    with stage.writers()("totals", 0) as writer:
        writer.write(table)
    stage.step("sum")
    matches = pa.compute.sum(table["count"]).as_py() or 0
    totals = {"batches": len(stage.inputs["counts"]), "entries_seen": table.num_rows, "matches": matches}
    return stage.publish({"totals": writer.files}, totals=totals, drops={})
