"""Counts up to a batch: the total of the batch before, plus this batch's counts.

Each total lists the runs whose counts are in it. A batch matched again makes the later totals stale: they are rebuilt
in the lake's order, so that a batch is always balanced with the counts up to it and no others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from curation.balance.counts import LanguageCounts, add_up, counts_table, read_counts
from curation.lake.lake import Snapshot
from jobs.runtime.job import Context
from jobs.runtime.stage import Outcome, Stage

log = logging.getLogger(__name__)

ALGORITHM = 1


def build_totals(context: Context, match_id: str, batch: str) -> Outcome:
    """Make the total of a batch that has counts, and any earlier one it needs; return the outcome of the last."""
    lake = context.lake
    known = lake.batches()
    place = known.index(batch) + 1
    counts = lake.snapshot("counts", {"match_id": match_id})
    matched = {batch: part for batch in known[:place] if (part := counts.of(batch=batch)).files}
    for name in known[:place]:
        if name not in matched:
            log.warning("batch %s has no counts of match_id %s: it is not in the totals", name, match_id)
    included = {batch: part.run_ids[0] for batch, part in matched.items()}

    outcome, missing = None, []
    for number, name in reversed(list(enumerate(matched))):
        stage = _stage(context, match_id, name, dict(list(included.items())[: number + 1]))
        if outcome := stage.finished():
            break
        missing.append(stage)
    for stage in reversed(missing):
        if lake.snapshot("totals", stage.outputs["totals"]).files:
            log.warning("totals of batch %s are stale, a batch up to it was matched again: rebuilding", stage.batch)
        outcome = _publish(stage, add_up(_parts(context, match_id, stage.batch, matched)))
    if missing:
        _warn_of_later(context, match_id, known[place:])
    assert outcome is not None, "the batch itself has counts"
    return outcome


def _parts(context: Context, match_id: str, batch: str, matched: dict[str, Snapshot]) -> list[Iterator[LanguageCounts]]:
    """Return the total of the batch before, if there is one, and the batch's own counts."""
    before = list(matched)[: list(matched).index(batch)][-1:]
    totals = [context.lake.snapshot("totals", {"match_id": match_id, "batch": name}) for name in before]
    return [read_counts(context.storage, part) for part in [*totals, matched[batch]]]


def _warn_of_later(context: Context, match_id: str, later: list[str]) -> None:
    totals = context.lake.snapshot("totals", {"match_id": match_id})
    if stale := [batch for batch in later if totals.of(batch=batch).files]:
        log.warning("totals of the later batches %s are now stale: run their nights again", ", ".join(stale))


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


def _publish(stage: Stage, summed: Iterable[LanguageCounts]) -> Outcome:
    seen = matches = 0
    with stage.writers()("totals", 0) as writer:
        for part in summed:
            writer.write(counts_table(part))
            seen, matches = seen + len(part.entry_ids), matches + int(part.counts.sum())
    stage.step("sum")
    totals = {"batches": len(stage.inputs["counts"]), "entries_seen": seen, "matches": matches}
    return stage.publish({"totals": writer.files}, totals=totals, drops={})
