"""Totals: the counts of a match_id up to and including a batch, from the previous totals and the batch's own counts.

Totals follow the order of batches. If an earlier batch is matched again, the totals from that batch on are stale; those
that the balanced batch needs are rebuilt in order, and later ones are reported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from curation.balance.counts import LanguageCounts, add_up, counts_table, read_counts
from curation.lake.files import Snapshot
from jobs.runtime.context import Context
from jobs.runtime.partitions import require
from jobs.runtime.runs import Outcome, shortened
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks import url_algorithms
from jobs.tasks.balance.inputs import BalanceInputs

log = logging.getLogger(__name__)

ALGORITHM = 1
SHOWN = 5  # batches in a warning


class TotalsStage(Stage):
    """Adds the counts of one batch to the totals of the batch before it.

    Args:
        context: the job's context.
        match_id: whose counts are added.
        counts: the published counts of the batches up to and including this one, in the lake's order.
    """

    name: ClassVar[str] = "totals"
    tables: ClassVar[tuple[str, ...]] = ("totals",)

    def __init__(self, context: Context, match_id: str, counts: Mapping[str, Snapshot]) -> None:
        super().__init__(context)
        self.match_id, self.counts = match_id, counts
        self.batches = list(counts)
        self.batch = self.batches[-1]
        self.fingerprint_keys = {"algorithm": ALGORITHM}
        runs = {batch: part.run_ids[0] for batch, part in counts.items()}
        self.inputs = {"counts": runs}
        earlier = {batch: run for batch, run in runs.items() if batch != self.batch}
        self.recorded = {"counts": {self.batch: runs[self.batch]}, "earlier_counts": shortened(earlier)}
        self.outputs = {"totals": {"match_id": match_id, "batch": self.batch}}

    @classmethod
    def open(cls, context: Context) -> Self:
        """Return the stage that builds the totals with which the context's batch is balanced."""
        return cls.up_to(context, **BalanceInputs.open(context).counted)

    @classmethod
    def reopen(cls, context: Context, row: Mapping[str, Any], partition: Mapping[str, str]) -> Self:  # noqa: ARG003
        """Return the stage that built the totals of a partition."""
        return cls.up_to(context, **partition)

    @classmethod
    def up_to(cls, context: Context, match_id: str, batch: str) -> Self:
        """Return the stage that builds the totals of a batch from the counts that are published now."""
        require(context.lake, "totals", "jobs.match", "counts", match_id=match_id, batch=batch)
        published = context.lake.snapshot("counts", {"match_id": match_id}).by("batch")
        return cls(context, match_id, {name: published[name] for name in context.lake.up_to(batch, published)})

    def execute(self, run: StageRun) -> Publication:
        """Add up the previous totals and the batch's own counts, language by language."""
        lake = self.context.lake
        if lake.snapshot("totals", self.outputs["totals"]).files:
            log.warning(
                "totals of batch %s are stale because a batch up to it was matched again: rebuilding", self.batch
            )
        entries_seen = matches = 0
        with run.writers()("totals", 0) as writer:
            for part in add_up(self._parts()):
                writer.write(counts_table(part))
                entries_seen, matches = entries_seen + len(part.entry_ids), matches + int(part.counts.sum())
        run.step("sum")
        totals = {"batches": len(self.batches), "entries_seen": entries_seen, "matches": matches}
        return Publication({"totals": writer.files}, totals)

    def _parts(self) -> list[Iterator[LanguageCounts]]:
        """Return the totals of the previous batch, if there is one, and the batch's own counts."""
        storage, lake = self.context.storage, self.context.lake
        previous = [
            lake.snapshot("totals", {"match_id": self.match_id, "batch": batch}) for batch in self.batches[-2:-1]
        ]
        return [read_counts(storage, part) for part in [*previous, self.counts[self.batch]]]


def build_totals(context: Context) -> Outcome:
    """Build the totals with which the context's batch is balanced; return their outcome."""
    return build_totals_up_to(context, TotalsStage.open(context))


def build_totals_up_to(context: Context, last: TotalsStage) -> Outcome:
    """Build the totals of a stage, and the earlier totals they need; return their outcome."""
    match_id = last.match_id
    if uncounted := [name for name in context.lake.batches_up_to(last.batch) if name not in last.counts]:
        shown = ", ".join(uncounted[:SHOWN]) + (f" and {len(uncounted) - SHOWN} more" if len(uncounted) > SHOWN else "")
        log.warning("totals: no counts of match_id %s, and so not included: %s", match_id, shown)
    outcome, missing = None, list[TotalsStage]()
    for length in range(len(last.counts), 0, -1):
        stage = TotalsStage(context, match_id, dict(list(last.counts.items())[:length]))
        if outcome := stage.finished():
            break
        missing.append(stage)
    if missing:
        _check_url_algorithms(context, missing)
    for stage in reversed(missing):
        outcome = stage.run()
    if missing:
        _warn_of_stale(context, last)
    assert outcome is not None, "the batch itself has counts"
    return outcome


def _check_url_algorithms(context: Context, missing: Sequence[TotalsStage]) -> None:
    """Raise UsageError unless all batches of the last of these totals have the same URL algorithm.

    The batches of the totals that are finished were compared when these were made, so one of them is enough.
    """
    batches = [stage.batch for stage in missing]
    counts = missing[0].counts
    compared = {batch: counts[batch] for batch in [*missing[-1].batches[-2:-1], *reversed(batches)]}
    remedy = "ingest and match the batches of the smaller number again, in their order"
    url_algorithms.check_same(url_algorithms.of_counts(context.lake, compared), "totals", remedy)


def _warn_of_stale(context: Context, last: TotalsStage) -> None:
    published = context.lake.snapshot("totals", {"match_id": last.match_id}).by("batch")
    earlier = context.lake.up_to(last.batch, published)
    if stale := [batch for batch in context.lake.in_order(published) if batch not in earlier]:
        log.warning(
            "totals of the later batches %s are now stale: run these batches again, or jobs.nightly --catch_up",
            ", ".join(stale),
        )
