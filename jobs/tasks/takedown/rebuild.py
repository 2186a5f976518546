"""Rebuilds the partitions of some batches, each with the config that its run recorded, without any download."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from curation.errors import OutputError, RebuildError, WorldcurateError
from curation.lake.delta.published_tables import describe
from curation.lake.schemas import PARTITIONS
from curation.lake.view import LakeView
from jobs.runtime.batches.inventory import Inventory
from jobs.runtime.context import Context
from jobs.runtime.freshness import recorded_inputs
from jobs.runtime.job import Job, run_job
from jobs.runtime.runs import find_run
from jobs.runtime.stage import Stage

log = logging.getLogger(__name__)


class Rebuild:
    """Runs the jobs of a night again for the published partitions of some batches.

    Args:
        context: gives access to the lake; only the keys of access of its config are used.
        steps: the jobs of a night, in order, with the one that reads the inputs.
        view: the lake as it was before the takedown, whose runs recorded the configs.
        batches: the batches to rebuild; datasets that have one of them are rebuilt too.
        runs: runs whose datasets or duplicates are rebuilt even if they are of none of these batches.
    """

    def __init__(
        self, context: Context, steps: Sequence[Job], view: LakeView, batches: set[str], runs: Collection[str] = ()
    ) -> None:
        self.context = replace(context, fetch=False)
        self.context.__dict__.update(storage=context.storage, lake=context.lake)
        self.steps = [step for step in steps if step.stages and step.name != "ingest"]
        kinds = [kind for step in steps for kind in step.stages]
        self.view, self.inventory = view, Inventory(self.context, kinds, view)
        self.order = [batch for batch in view.batches() if batch in batches]
        self.datasets = [part for part in view.partitions("compacted") if self._has_images(part, runs)]
        self.duplicates = [
            part
            for part in view.partitions("duplicates")
            if part["batch"] not in batches and not set(view.snapshot("duplicates", part).run_ids).isdisjoint(runs)
        ]

    def partitions(self) -> Iterator[tuple[Job, dict[str, str]]]:
        """Yield the partitions to rebuild with their job: matches, recipes (batches in order), datasets.

        Batches whose duplicates alone name an image get new duplicates and shards from the images that they have.
        """
        for step in self.steps:
            if _table(step) == "compacted":
                yield from ((step, partition) for partition in self.datasets)
                continue
            published = self.view.partitions(_table(step))
            for batch in self.view.batches():
                of_batch = [partition for partition in published if partition["batch"] == batch]
                yield from ((step, each) for each in of_batch if batch in self.order or self._names_image(step, each))

    def _names_image(self, step: Job, partition: dict[str, str]) -> bool:
        of_batch = {key: partition[key] for key in ("recipe", "batch") if key in partition}
        return _table(step) in ("images", "annotations") and of_batch in self.duplicates

    def _has_images(self, partition: dict[str, str], runs: Collection[str]) -> bool:
        """Return whether a dataset was made by one of some runs, or from a batch that is rebuilt."""
        owners = self.view.snapshot("compacted", partition).run_ids
        rows = (find_run(self.view, owner, "compacted") for owner in owners)
        batches = {batch for row in rows if row for batch in recorded_inputs(row)["shards"]}
        return not batches.isdisjoint(self.order) or not set(owners).isdisjoint(runs)

    def run(self, pages: Job) -> list[str]:
        """Rebuild the partitions, then the pages that exist; return the problems of those that could not be rebuilt."""
        problems = []
        for step, partition in self.partitions():
            try:
                self._rebuild(step, partition)
            except WorldcurateError as error:
                table = error.table if isinstance(error, RebuildError) else _table(step)
                problems.append(f"{table} {describe(partition)}: {error}")
        for partition in self.view.partitions("curated"):
            page = self.context.lake.layout.batch_page(partition["recipe"], partition["batch"])
            is_rebuilt = partition["batch"] in self.order or partition in self.duplicates
            if is_rebuilt and self.context.storage.exists(page):
                run_job(pages, self.context.with_config(self.context.config.model_copy(update=partition)))
        return problems

    def _rebuild(self, step: Job, partition: dict[str, str]) -> None:
        table, row = _table(step), self._newest_run(step, partition)
        if row is None:
            raise OutputError("its run is not recorded: run the night again")
        context = self.context.with_config(self.inventory.recorded_config(partition, row))
        if table == "matches" and dict(step.stages[0].open(context).outputs[table]) != partition:
            raise OutputError("the language-ID model or an algorithm of matching has changed: remove it (jobs.remove)")
        run_job(step, context)

    def _newest_run(self, step: Job, partition: dict[str, str]) -> dict[str, Any] | None:
        """Return the newest run of a job's stages for a partition: it has the config with which the job ran last."""
        tables = [name for kind in step.stages for name in kind.tables if set(PARTITIONS[name]) == set(partition)]
        owners = {run_id: table for table in tables for run_id in self.view.snapshot(table, partition).run_ids}
        rows = [find_run(self.view, run_id, table) for run_id, table in owners.items()]
        return max((row for row in rows if row), key=lambda row: row["finished"], default=None)


def _table(step: Job) -> str:
    """Return the table whose partitions say where a job has run: its main table."""
    return {
        "match": "matches",
        "balance": "curated",
        "fetch_images": "images",
        "compact": "compacted",
        "annotate": "annotations",
    }[step.name]


def kinds_of(steps: Sequence[Job]) -> list[type[Stage]]:
    """Return the stages of some jobs, in order."""
    return [kind for step in steps for kind in step.stages]
