"""The lake: tables whose partitions are replaced as a whole, tables to which rows are added, and a few small files.

Every run of a stage adds rows to `runs` and `ledger`, in a file of their own. A lookup reads only files that may have
what it looks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable

from curation import __version__
from curation.errors import InputError, UsageError
from curation.io.paths import absolute
from curation.io.storage import Storage
from curation.lake.delta.actions import Action, add_action, bounds, remove_action
from curation.lake.delta.published_tables import PublishedTables, next_transaction
from curation.lake.delta.table_logs import data_files, files_of, may_contain
from curation.lake.files import Snapshot
from curation.lake.names import check_name
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import PARTITIONS, SCHEMAS
from curation.lake.small_tables import read_small_table

ROWS = "rows"  # folder of the data files of tables without partitions
REWRITE = "rewrite"  # counter of the commits that replace files of a small table


class Lake(PublishedTables):
    """A lake at a local folder or an S3 prefix: its tables, and the names of its batches and recipes.

    Args:
        root: the folder or `s3://bucket/prefix`.
        storage: access to its files.
        order: batches that come first, in this order; the others follow in the order of their names.
    """

    def __init__(self, root: str, storage: Storage, order: Sequence[str] = ()) -> None:
        super().__init__(root, storage)
        self.order = tuple(order)

    def exists(self) -> bool:
        """Return whether there is a lake at this location.

        A lake that was made by a version before 0.3 has no marker, but matchers or tables.
        """
        known = (self.layout.marker, self.layout.latest_matchers)
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

    def batches(self) -> list[str]:
        """Return the batches whose pairs are published, in their order."""
        return self.in_order(partition["batch"] for partition in self.partitions("pairs"))

    def batches_up_to(self, batch: str) -> list[str]:
        """Return the batches up to and including one, which may be new.

        Raises UsageError for a name that cannot be a partition value.
        """
        check_name("batch", batch)
        return self.up_to(batch, self.batches())

    def up_to(self, batch: str, batches: Iterable[str]) -> list[str]:
        """Return those of some batches that come before one, in their order, and that one last."""
        ordered = self.in_order([*batches, batch])
        return ordered[: ordered.index(batch) + 1]

    def in_order(self, batches: Iterable[str]) -> list[str]:
        """Return some batches in their order, each once."""
        position = {batch: number for number, batch in enumerate(self.order)}
        return sorted(set(batches), key=lambda batch: (position.get(batch, len(position)), batch))

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

    # Tables of few rows

    def file_table(self, name: str) -> pa.Table:
        """Return the data files of a small table with their statistics (see `TableLogs.files`); none if it has none."""
        found = self._read_log(name, None, lambda: self._logs.files(name))
        return found[1] if found else pa.table({"path": [], "size_bytes": [], "num_records": []})

    def rows(
        self, name: str, where: Mapping[str, Sequence[Any]] | None = None, columns: Sequence[str] = ()
    ) -> pa.Table:
        """Return the rows of a small table (runs, ledger, tombstones), or some columns; none if it was never written.

        With `where`, the rows in which every column named there has one of the values given for it; files whose
        statistics exclude such a row are not read. Columns that the table does not have, because an earlier release
        wrote it, are null. Raises DamagedLakeError if a file of it is missing or damaged.
        """
        return self._read_rows(name, may_contain(self.file_table(name), where or {}), where, columns)

    def newest_rows(self, name: str, where: Mapping[str, Sequence[Any]], count: int) -> pa.Table:
        """Return the `count` rows with the largest run ids among those that `rows` returns, the largest first.

        Run ids start with a time. Files are read from the newest on, until no other can have such a row.
        """
        files = may_contain(self.file_table(name), where)
        if "max.run_id" in files.column_names:
            files = files.sort_by([("max.run_id", "descending")])
            files = pa.concat_tables(
                [files.filter(files["max.run_id"].is_null()), files.filter(files["max.run_id"].is_valid())]
            )
        newest = [None] * len(files) if "max.run_id" not in files.column_names else files["max.run_id"].to_pylist()
        found = SCHEMAS[name].empty_table()
        for number, limit in enumerate(newest):
            if limit is not None and len(found) == count and found["run_id"][-1].as_py() >= limit:
                break
            rows = pa.concat_tables([found, self._read_rows(name, files.slice(number, 1), where)])
            found = rows.sort_by([("run_id", "descending")]).slice(0, count)
        return found

    def _read_rows(
        self,
        name: str,
        files: pa.Table,
        where: Mapping[str, Sequence[Any]] | None = None,
        columns: Sequence[str] = (),
    ) -> pa.Table:
        paths = [file.path for file in data_files(files, name, self.layout.table(name))]
        return read_small_table(self.storage, name, paths, where, columns)

    def append(self, name: str, rows: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
        """Append rows to a small unpartitioned table (runs, ledger, tombstones)."""
        actions = self._write_rows(name, rows)

        def write(table: DeltaTable) -> None:
            table.create_write_transaction(
                actions,
                mode="append",
                schema=table.schema(),
                commit_properties=CommitProperties(custom_metadata=dict(metadata or {})),
            )

        self.commit(name, name, write, lambda: self._has_files(name, actions))

    def rewrite(
        self,
        name: str,
        select: Callable[[pa.Table], pa.Table],
        change: Callable[[pa.Table], Iterable[pa.Table]],
        *,
        changes_rows: bool = False,
    ) -> None:
        """Replace files of a small table by one file for each table that `change` makes of their rows.

        `select` chooses them among all files (see `TableLogs.files`). Rows that are appended at the same time stay; if
        another process rewrites the table at the same time, both happen one after the other.
        """
        adds = list[Action]()

        def write(table: DeltaTable) -> None:
            files = select(files_of(table))
            replaced = zip(files["path"].to_pylist(), files["size_bytes"].to_pylist(), strict=True)
            removes = [remove_action(path, size, changes_rows=changes_rows) for path, size in replaced]
            parts = change(self._read_rows(name, files))
            adds[:] = [action for part in parts for action in self._write_rows(name, part, changes_rows=changes_rows)]
            table.create_write_transaction(
                [*removes, *adds],
                mode="append",
                schema=table.schema(),
                # Delta accepts two commits that remove the same file; this counter reveals them.
                commit_properties=CommitProperties(app_transactions=[next_transaction(table, REWRITE)]),
            )

        self.commit(name, name, write, lambda: self._has_files(name, adds))

    def _has_files(self, name: str, added: Sequence[Action]) -> bool:
        """Return whether a small table has the files that were to be added to it."""
        return bool(added) and {action.path for action in added} <= set(self.file_table(name)["path"].to_pylist())

    def _write_rows(self, name: str, rows: pa.Table, *, changes_rows: bool = True) -> list[Action]:
        """Write rows of a small table; return the actions that add them."""
        rows = rows.select(SCHEMAS[name].names).cast(SCHEMAS[name])
        with PartitionWriter(self.storage, self.layout.table(name), ROWS, 0, SCHEMAS[name]) as writer:
            writer.write(rows)
        statistics = bounds(name, rows)
        return [add_action(file, statistics=statistics, changes_rows=changes_rows) for file in writer.files]
