"""The lake: Delta tables whose partitions are replaced as a whole, and a few small files beside them.

Stages write the data files (see `curation.lake.parquet`), and this module commits them with the `deltalake` package. So
a partition is replaced atomically, older versions stay readable, and a writer that lost a race gets an error. The path
of a data file names the run that wrote it (see `curation.lake.layout`), so the owner of a partition is part of the
table's state and is not recorded anywhere else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, Transaction

from curation import __version__
from curation.errors import InputError, OutputError, UsageError
from curation.io.failures import first_line
from curation.io.paths import absolute, join
from curation.lake.delta_paths import delta_location, link_entries
from curation.lake.files import DataFile, Snapshot, WrittenFile
from curation.lake.names import LakeNames
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import PARTITIONS, SCHEMAS
from curation.lake.small_tables import read_small_table

COMMIT_ATTEMPTS = 20
ROWS = "rows"  # folder of the data files of tables without partitions


class Lake(LakeNames):
    """A lake at a local folder or an S3 prefix: its tables, and the names of its batches and recipes."""

    def exists(self) -> bool:
        """Return whether there is a lake at this location.

        A lake that was made by a version before 0.3 has no marker, but matchers, batches or tables.
        """
        known = (self.layout.marker, self.layout.latest_matchers, self.layout.batch(0))
        return any(map(self.storage.exists, known)) or any(self.table(name) for name in PARTITIONS)

    def check_exists(self) -> None:
        """Raise UsageError unless there is a lake at this location."""
        if not self.exists():
            raise UsageError(
                f"lake: there is no lake at {absolute(self.root)}: correct the path, or create a lake with "
                f"jobs.build_metadata or --create"
            )

    def create(self) -> None:
        """Create the lake unless it exists."""
        marker = json.dumps({"created_by": __version__}).encode()
        if not self.storage.exists(self.layout.marker):
            self.storage.put_if_absent(self.layout.marker, marker)

    # Reading

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """Open a table at a version or at its newest; None if it was never written.

        Raises InputError if the version does not exist (any more) or the lake cannot be reached.
        """
        try:
            return self._open(name, version)
        except TableNotFoundError:
            return None
        except Exception as error:
            if version is not None:
                raise InputError(f"{self.layout.table(name)} has no version {version}") from error
            raise InputError(f"cannot read {self.layout.table(name)}: {first_line(error)}") from error

    def snapshot(self, name: str, partition: Mapping[str, str] | None = None, version: int | None = None) -> Snapshot:
        """Return the files of the partitions with the values of `partition`; no files if nothing is published."""
        table = self.table(name, version)
        if table is None:
            return Snapshot(name, -1, ())
        actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        files = [
            DataFile(
                path=join(self.layout.table(name), action["path"]),
                size=action["size_bytes"],
                rows=action["num_records"],
                partition={key: action[f"partition.{key}"] for key in PARTITIONS[name]},
            )
            for action in actions
            if all(action[f"partition.{key}"] == value for key, value in (partition or {}).items())
        ]
        files.sort(key=lambda file: (tuple(file.partition.values()), file.name))
        return Snapshot(name, table.version(), tuple(files))

    def dataset(self, recipe: str, name: str, version: int | None = None) -> Snapshot:
        """Return the files of a compacted dataset at a version of the table `compacted` (default: the newest).

        Raises UsageError if the recipe was never used, InputError if it has no such dataset.
        """
        snapshot = self.snapshot("compacted", {"recipe": recipe, "dataset": name}, version)
        if not snapshot.files:
            self.require_recipe(recipe)
            files = self.snapshot("compacted", {"recipe": recipe}).files
            names = ", ".join(sorted({file.partition["dataset"] for file in files}))
            at = "" if version is None else f" at version {version} of the table compacted"
            remedy = f"use one of {names}, or run jobs.compact first" if names else "run jobs.compact first"
            raise InputError(f"dataset: recipe {recipe!r} has no dataset {name!r} in {self.root}{at}: {remedy}")
        return snapshot

    def rows(self, name: str) -> pa.Table:
        """Return all rows of a small table (runs, ledger, tombstones); empty if it was never written.

        Columns that the table does not have, because an earlier release wrote it, are null. Raises DamagedLakeError if
        a file of it is missing or damaged.
        """
        return read_small_table(self.storage, name, [file.path for file in self.snapshot(name).files])

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
        actions: list[AddAction | RemoveAction] = [_add_action(file, partition) for file in files]
        app_id = describe(partition)
        for _ in range(COMMIT_ATTEMPTS):
            table = self._open_to_write(name)
            current = self.snapshot(name, partition).run_ids
            if tuple(expected) != current:
                changed = f"published by run {', '.join(current)}" if current else "removed"
                raise OutputError(
                    f"{name} {describe(partition)}: it was {changed} during this run: nothing was changed, run again"
                )
            try:
                table.create_write_transaction(
                    actions,
                    mode="overwrite",
                    schema=table.schema(),
                    partition_by=list(PARTITIONS[name]),
                    partition_filters=[(key, "=", value) for key, value in partition.items()],
                    commit_properties=CommitProperties(
                        custom_metadata={**metadata, "files": json.dumps(sums)},
                        # Delta misses a conflict between two first writers of a partition; this counter reveals it.
                        app_transactions=[Transaction(app_id, (table.transaction_version(app_id) or 0) + 1)],
                    ),
                )
            except CommitFailedError:
                time.sleep(0.05)
                continue
            self._sync_log(name, int(table.version()) + 1)
            return int(table.version()) + 1
        raise OutputError(f"{name} {describe(partition)}: all {COMMIT_ATTEMPTS} commit attempts failed: run again")

    def append(self, name: str, rows: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
        """Append rows to a small unpartitioned table (runs, ledger, tombstones)."""
        with PartitionWriter(self.storage, self.layout.table(name), ROWS, 0, SCHEMAS[name]) as writer:
            writer.write(rows.select(SCHEMAS[name].names).cast(SCHEMAS[name]))
        table = self._open_to_write(name)
        table.create_write_transaction(
            [_add_action(file) for file in writer.files],
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(custom_metadata=dict(metadata or {})),
        )

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
            table = self._open(name)
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
        return self._open(name)

    def _open(self, name: str, version: int | None = None) -> DeltaTable:
        location = self.layout.table(name)
        options = self.storage.delta_options()
        table = DeltaTable(delta_location(location), version=version, storage_options=options)
        link_entries(location)
        return table


def _add_action(file: WrittenFile, partition: Mapping[str, str] = MappingProxyType({})) -> AddAction:
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={**partition, **file.partition},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.rows}),
    )


def describe(partition: Mapping[str, str]) -> str:
    """Return a partition for messages, `key=value …`."""
    return " ".join(f"{key}={value}" for key, value in partition.items())
