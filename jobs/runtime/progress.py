"""What a killed run of a stage has finished: the next run with the same fingerprint continues it, under its run id.

A task that has finished a work unit records its result among the working files of the run. The files that it names keep
their paths, so the published partition has one owner. If the run was not killed but is still going on, both do the same
work under the same id, and the second one to publish gets an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import msgspec

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs.runtime.context import Context
from jobs.runtime.run_tasks import Task
from jobs.runtime.runs import started_at
from jobs.runtime.stage import StageRun

log = logging.getLogger(__name__)

STAGES: Final = {
    "compact": "compacted",
    "annotate": "annotations",
}  # the stages whose killed runs are continued, with the table of each

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """The results of the finished work units of one pass."""

    storage: Storage
    folder: str

    def record(self, number: int, result: object) -> None:
        """Record the result of a work unit, after its files are complete."""
        self.storage.write_bytes(join(self.folder, f"{number:06d}.json"), msgspec.json.encode(result))

    def finished(self, kind: type[Result], is_intact: Callable[[Result], bool]) -> dict[int, Result]:
        """Return the recorded results by work unit, without those whose files are not intact any more."""
        results = {
            int(file.path.rpartition("/")[2].removesuffix(".json")): msgspec.json.decode(
                self.storage.read_bytes(file.path), type=kind
            )
            for file in self.storage.list_files(self.folder)
        }
        return {number: result for number, result in results.items() if is_intact(result)}


def run_rest(
    context: Context, name: str, units: Sequence[Unit], task: Task[Unit, Result], done: dict[int, Result]
) -> list[Result]:
    """Run the work units that are not done; return the results of all, in order."""
    left = [number for number in range(len(units)) if number not in done]
    results = context.run_tasks(name, [units[number] for number in left], task)
    done |= dict(zip(left, results, strict=True))
    return [done[number] for number in range(len(units))]


def continue_killed(run: StageRun) -> None:
    """Give a run the id of the newest killed run with its fingerprint that is not older than the published one.

    `gc` judges working files by the age of their run. So a run that is older than half of `gc.retention_hours` is not
    continued: its files could be removed while the run goes on.
    """
    lake = run.lake
    oldest = run.started - timedelta(hours=run.config.gc.retention_hours / 2)
    published = {run_id for table, part in run.outputs.items() for run_id in lake.snapshot(table, part).run_ids}
    since = max(map(started_at, published), default=None)
    newer = [
        run_id
        for run_id in killed_runs(lake, run.name, run.fingerprint)
        if run_id not in published and started_at(run_id) >= max(since or oldest, oldest)
    ]
    if newer:
        run.run_id = max(newer)
        log.info("%s: continuing run %s, which did not finish", run.name, run.run_id)
    else:
        lake.storage.write_bytes(_marker(lake, run.run_id, run.name), run.fingerprint.encode())


def killed_runs(lake: Lake, stage: str, fingerprint: str | None = None) -> list[str]:
    """Return the runs of a stage that have working files, of one fingerprint or of all."""
    runs = []
    for file in lake.storage.list_files(lake.layout.staging):
        run_id = lake.layout.staging_run_id(file.path)
        if not run_id or file.path != _marker(lake, run_id, stage):
            continue
        if fingerprint in (None, lake.storage.read_bytes(file.path).decode()):
            runs.append(run_id)
    return runs


def _marker(lake: Lake, run_id: str, stage: str) -> str:
    """Return the path of the file that marks the working files of a run, and has its fingerprint."""
    return join(lake.layout.run_staging(run_id), f"{stage}.fingerprint")
