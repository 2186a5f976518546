"""Published tables: reads their logs, and replaces partitions as a whole.

Stages write the data files (see `curation.lake.parquet`), and this module commits them with the `deltalake` package. So
a partition is replaced atomically, older versions stay readable, and a writer that lost a race gets an error. The path
of a data file names the run that wrote it (see `curation.lake.layout`), so the owner of a partition is part of the
table's state and is not recorded anywhere else.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, Transaction

from curation.errors import InputError, OutputError
from curation.io.failures import first_line, storage_full
from curation.io.paths import is_s3, join
from curation.io.storage import Storage
from curation.lake.delta.actions import add_action
from curation.lake.delta.delta_paths import delta_location
from curation.lake.delta.table_logs import TableLogs, data_files, matching, partitions_of
from curation.lake.files import Snapshot, WrittenFile
from curation.lake.names import LakeNames
from curation.lake.schemas import PARTITIONS, SCHEMAS

COMMIT_ATTEMPTS = 20
STORAGE_ATTEMPTS = 9  # of these, after each of which the pause doubles
PAUSE_S = 0.05

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class PublishedTables(LakeNames):
    """The tables of a lake (see `Lake`)."""

    def __init__(self, root: str, storage: Storage) -> None:
        super().__init__(root, storage)
        self._logs = TableLogs(self.layout, storage)

    # Reading

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """Open a table at a version or at its newest; None if it was never written.

        Raises InputError if the version does not exist (any more) or the lake cannot be reached.
        """
        return self._read_log(name, version, lambda: self._logs.open(name, version))

    def snapshot(self, name: str, partition: Mapping[str, str] | None = None, version: int | None = None) -> Snapshot:
        """Return the files of the partitions with the values of `partition`; no files if nothing is published."""
        found = self._read_log(name, version, lambda: self._logs.files(name, version))
        if found is None:
            return Snapshot(name, -1, ())
        files = matching(found[1], name, partition or {})
        return Snapshot(name, found[0], tuple(data_files(files, name, self.layout.table(name))))

    def version(self, name: str) -> int:
        """Return the newest version of a table; -1 if it was never written."""
        found = self._read_log(name, None, lambda: self._logs.files(name))
        return found[0] if found else -1

    def partitions(self, name: str) -> list[dict[str, str]]:
        """Return the partitions of a table that are published, sorted."""
        found = self._read_log(name, None, lambda: self._logs.files(name))
        return partitions_of(found[1], name) if found else []

    def _read_log(self, name: str, version: int | None, read: Callable[[], Result]) -> Result | None:
        """Return what is read from the log of a table; None if it was never written."""
        try:
            return read()
        except TableNotFoundError:
            return None
        except Exception as error:
            if version is not None:
                raise InputError(f"{self.layout.table(name)} has no version {version}") from error
            raise InputError(f"cannot read {self.layout.table(name)}: {first_line(error)}") from error

    def commits(self, name: str) -> list[dict[str, Any]]:
        """Return the table's commits, newest first, with their metadata."""
        table = self.table(name)
        return table.history() if table else []

    def file_sums(self, name: str) -> dict[str, tuple[str, str]]:
        """Return the SHA-256 and the footer's CRC-32 of data files by path, as far back as the table's log reaches."""
        sums: dict[str, tuple[str, str]] = {}
        for commit in self.commits(name):
            for path, (_, sha256, footer) in json.loads(commit.get("files", "{}")).items():
                sums[join(self.layout.table(name), path)] = (sha256, footer)
        return sums

    # Writing

    def publish(
        self,
        name: str,
        partition: Mapping[str, str],
        files: Sequence[WrittenFile],
        *,
        expected: Sequence[str],
        metadata: Mapping[str, str],
    ) -> int:
        """Replace one partition by `files` in one commit and return the new version.

        `expected` are the run ids that the partition had when the stage started. If another run has published it since,
        nothing changes and OutputError is raised. A conflict with commits to other partitions is retried. The commit
        holds `metadata` and the checksums of the files, which `file_sums` returns.
        """
        sums = {file.path: [file.size, file.sha256, file.footer] for file in files}
        actions: list[AddAction | RemoveAction] = [add_action(file, partition) for file in files]

        def write(table: DeltaTable) -> None:
            current = self.snapshot(name, partition).run_ids
            if tuple(expected) != current:
                changed = f"published by run {', '.join(current)}" if current else "removed"
                raise OutputError(
                    f"{name} {describe(partition)}: it was {changed} during this run: nothing was changed, run again"
                )
            table.create_write_transaction(
                actions,
                mode="overwrite",
                schema=table.schema(),
                partition_by=list(PARTITIONS[name]),
                partition_filters=[(key, "=", value) for key, value in partition.items()],
                commit_properties=CommitProperties(
                    custom_metadata={**metadata, "files": json.dumps(sums)},
                    # Delta misses a conflict between two first writers of a partition; this counter reveals it.
                    app_transactions=[next_transaction(table, describe(partition))],
                ),
            )

        ours = {join(self.layout.table(name), file.path) for file in files}

        def is_committed() -> bool:
            return bool(ours) and {file.path for file in self.snapshot(name, partition).files} == ours

        return self.commit(name, f"{name} {describe(partition)}", write, is_committed)

    def commit(
        self, name: str, what: str, write: Callable[[DeltaTable], None], is_committed: Callable[[], bool]
    ) -> int:
        """Let `write` commit to a table, again if another process was first; return the new version.

        A commit whose answer was lost on the way from S3 looks like one that failed: `is_committed` tells whether the
        table has it. Raises OutputError, which names `what`, if all attempts fail, InputError if the lake cannot be
        reached.
        """
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                table = self._open_to_write(name)
                write(table)
            except (CommitFailedError, OSError) as error:
                if storage_full(error) or not (isinstance(error, CommitFailedError) or is_s3(self.root)):
                    raise
                if is_committed():
                    return self.version(name)
                self._pause(name, attempt, error)
                continue
            self._sync_log(name, int(table.version()) + 1)
            return int(table.version()) + 1
        raise OutputError(f"{what}: all {COMMIT_ATTEMPTS} commit attempts failed: run again")

    def _pause(self, name: str, attempt: int, error: Exception) -> None:
        """Wait before the next attempt: longer each time if the storage failed, which raises InputError in the end."""
        if isinstance(error, CommitFailedError):
            time.sleep(PAUSE_S)
        elif attempt < STORAGE_ATTEMPTS:
            log.info("%s: %s, trying again", self.layout.table(name), first_line(error))
            time.sleep(PAUSE_S * 2**attempt)
        else:
            raise InputError(f"cannot write {self.layout.table(name)}: {first_line(error)}") from error

    def write_checkpoints(self) -> None:
        """Write a checkpoint of the log of every table: readers start at the newest and read the commits after it."""
        for table in filter(None, map(self.table, PARTITIONS)):
            table.create_checkpoint()

    def _sync_log(self, name: str, version: int) -> None:
        """Flush a commit to the disk; the package `deltalake` does not."""
        self.storage.sync(join(self.layout.table(name), "_delta_log", f"{version:020d}.json"))

    def _open_to_write(self, name: str) -> DeltaTable:
        """Open a table with all of its columns: one that an earlier release wrote gets those that it lacks."""
        table = self.table(name) or self._create(name)
        known = {field.name for field in table.schema().fields}
        if added := [field for field in Schema.from_arrow(SCHEMAS[name]).fields if field.name not in known]:
            # fails if another process adds them at the same time; then the table has them
            with suppress(CommitFailedError):
                table.alter.add_columns(added)
            table = self._logs.open(name)
            self._sync_log(name, table.version())
        return table

    def _create(self, name: str) -> DeltaTable:
        fields = [*SCHEMAS[name], *(pa.field(key, pa.string()) for key in PARTITIONS[name])]
        # fails if another process creates the table at the same time; then it exists
        with suppress(CommitFailedError):
            DeltaTable.create(
                delta_location(self.layout.table(name), create=True),
                schema=pa.schema(fields),
                mode="ignore",
                partition_by=list(PARTITIONS[name]),
                storage_options=self.storage.delta_options(),
            )
        return self._logs.open(name)


def next_transaction(table: DeltaTable, app_id: str) -> Transaction:
    """Return the next number of a counter: of two commits with the same number, Delta refuses the second."""
    return Transaction(app_id, (table.transaction_version(app_id) or 0) + 1)


def describe(partition: Mapping[str, str]) -> str:
    """Return a partition for messages, `key=value …`."""
    return " ".join(f"{key}={value}" for key, value in partition.items())
