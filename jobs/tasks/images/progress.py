"""What a run of `images` has fetched so far, so that the run after a killed one does not fetch it again.

A task that has written its files records them among the run's working files. Their rows are copied into the files of
the next run with the same fingerprint, so a published partition still has one owner. `gc` removes what is left over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec

from curation.io.storage import Storage
from curation.lake.files import DataFile, WrittenFile
from curation.lake.presence import file_problems
from jobs.runtime.context import Context
from jobs.runtime.runs import started_at
from jobs.runtime.stage import StageRun
from jobs.tasks.images.reuse import OrderRange

FOLDER = "fetched"
REBUILT_FROM = "rebuilt_from"  # in the totals of a run without downloads: the run whose images it stores again


class FinishedFetch(msgspec.Struct):
    """The files of one task, their range of order hashes, and the fingerprint of its run."""

    fingerprint: str
    files: list[tuple[str, int, int]]  # path in the table, size, rows
    first: int
    last: int


@dataclass(frozen=True)
class FetchProgress:
    """Records the finished tasks of a run."""

    storage: Storage
    folder: str
    fingerprint: str

    @classmethod
    def of(cls, run: StageRun) -> FetchProgress:
        """Return the record of a run."""
        return cls(run.lake.storage, f"{run.staging}/{FOLDER}", run.fingerprint)

    def record(self, index: int, files: list[WrittenFile], hashes: OrderRange) -> None:
        """Record the files that a task has written."""
        names = [(file.path, file.size, file.rows) for file in files]
        finished = FinishedFetch(self.fingerprint, names, hashes.first, hashes.last)
        self.storage.write_bytes(f"{self.folder}/{index:06d}.json", json.dumps(msgspec.to_builtins(finished)).encode())


def find_finished(context: Context, run: StageRun) -> list[tuple[str, OrderRange]]:
    """Return the intact files that killed runs with the fingerprint of `run` have written since the last published run.

    Each comes with the range of its order hashes.
    """
    lake, partition = context.lake, run.outputs["images"]
    published = max((started_at(run_id) for run_id in lake.snapshot("images", partition).run_ids), default=None)
    ranges: list[tuple[DataFile, OrderRange]] = []
    for record in lake.storage.list_files(lake.layout.staging):
        run_id = lake.layout.staging_run_id(record.path) or ""
        same = f"-{run.fingerprint[:12]}-" in run_id and f"/{FOLDER}/" in record.path
        if not same or (published and started_at(run_id) < published):
            continue
        done = msgspec.json.decode(lake.storage.read_bytes(record.path), type=FinishedFetch)
        if done.fingerprint == run.fingerprint:
            for path, size, rows in done.files:
                file = DataFile(f"{lake.layout.table('images')}/{path}", size, rows, partition)
                ranges.append((file, OrderRange(done.first, done.last)))
    lost = file_problems(lake.storage, [file for file, _ in ranges])
    return [(file.path, hashes) for file, hashes in ranges if file.rows and file.path not in lost]
