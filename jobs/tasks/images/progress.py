"""What a run of `images` has fetched so far, so that nothing is fetched again after a kill.

A task that has written the files of a part records them among the run's working files. Their rows are copied into the
files of the next attempt of the task, or of the next run with the same fingerprint, so a published partition still has
one owner. `gc` removes what is left over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
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

FileRanges = list[tuple[str, OrderRange]]  # paths of files of `images`, each with the range of its order hashes


class FinishedFetch(msgspec.Struct):
    """The files of one part, their range of order hashes, and the fingerprint of its run."""

    fingerprint: str
    files: list[tuple[str, int, int]]  # path in the table, size, rows
    first: int
    last: int


@dataclass(frozen=True)
class FetchProgress:
    """Records the finished parts of a run; `table` is the folder of `images`."""

    storage: Storage
    folder: str
    fingerprint: str
    table: str

    @classmethod
    def of(cls, run: StageRun) -> FetchProgress:
        """Return the record of a run."""
        lake = run.lake
        return cls(lake.storage, f"{run.staging}/{FOLDER}", run.fingerprint, lake.layout.table("images"))

    def record(self, index: int, files: list[WrittenFile], hashes: OrderRange) -> None:
        """Record the files of a part."""
        names = [(file.path, file.size, file.rows) for file in files]
        finished = FinishedFetch(self.fingerprint, names, hashes.first, hashes.last)
        self.storage.write_bytes(self._path(index), json.dumps(msgspec.to_builtins(finished)).encode())

    def find(self, index: int) -> FileRanges:
        """Return the intact files of a part that an earlier attempt of its task has recorded."""
        path = self._path(index)
        return _intact_files(self.storage, [_read(self.storage, path)], self.table) if self.storage.exists(path) else []

    def _path(self, index: int) -> str:
        return f"{self.folder}/{index:06d}.json"


def find_finished(context: Context, run: StageRun) -> FileRanges:
    """Return the intact files that killed runs with the fingerprint of `run` have written.

    Runs that are older than the published one are left out.
    """
    lake, partition = context.lake, run.outputs["images"]
    published = max((started_at(run_id) for run_id in lake.snapshot("images", partition).run_ids), default=None)
    finished = []
    for record in lake.storage.list_files(lake.layout.staging):
        run_id = lake.layout.staging_run_id(record.path) or ""
        same = f"-{run.fingerprint[:12]}-" in run_id and f"/{FOLDER}/" in record.path
        if same and not (published and started_at(run_id) < published):
            finished.append(_read(lake.storage, record.path))
    same_work = [each for each in finished if each.fingerprint == run.fingerprint]
    return _intact_files(lake.storage, same_work, lake.layout.table("images"))


def _read(storage: Storage, path: str) -> FinishedFetch:
    return msgspec.json.decode(storage.read_bytes(path), type=FinishedFetch)


def _intact_files(storage: Storage, finished: Iterable[FinishedFetch], table: str) -> FileRanges:
    """Return the files of finished parts that have rows, exist, and have the recorded size."""
    files = [
        (DataFile(f"{table}/{path}", size, rows, {}), OrderRange(done.first, done.last))
        for done in finished
        for path, size, rows in done.files
    ]
    lost = file_problems(storage, [file for file, _ in files])
    return [(file.path, hashes) for file, hashes in files if file.rows and file.path not in lost]
