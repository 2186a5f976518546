"""Reads the logs of tables; the newest state of each is kept, and later reads only add what was committed since.

A lake grows by several commits and files per night. Reading a log again for each question would take longer every year.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.delta.delta_paths import delta_location, link_entries
from curation.lake.files import DataFile
from curation.lake.layout import LakeLayout
from curation.lake.schemas import PARTITIONS


class TableLogs:
    """The logs of the tables of one lake. `deltalake` raises the errors of all methods."""

    def __init__(self, layout: LakeLayout, storage: Storage) -> None:
        self._layout, self._storage = layout, storage
        self._newest: dict[str, DeltaTable] = {}
        self._files: dict[str, tuple[int, pa.Table]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_layout": self._layout, "_storage": self._storage}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_layout"], state["_storage"])  # type: ignore[misc]  # an empty cache in each process

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Open a table at a version or at its newest."""
        location = self._layout.table(name)
        options = self._storage.delta_options()
        table = DeltaTable(delta_location(location), version=version, storage_options=options)
        link_entries(location)
        return table

    def files(self, name: str, version: int | None = None) -> tuple[int, pa.Table]:
        """Return a version and its data files: `path`, `size_bytes`, `num_records` and one column per partition key.

        Files that were written with statistics have columns `min.<name>` and `max.<name>` too.
        """
        if version is not None:
            return version, files_of(self.open(name, version))
        with self._lock:
            newest = self._open_newest(name)
            known = self._files.get(name)
            if known is None or known[0] != newest.version():
                known = self._files[name] = newest.version(), files_of(newest)
            return known

    def _open_newest(self, name: str) -> DeltaTable:
        if table := self._newest.pop(name, None):
            try:
                table.update_incremental()
            except Exception:  # the table was replaced: the log has to be read from its start
                table = None
            else:
                link_entries(self._layout.table(name))
        self._newest[name] = table = table or self.open(name)
        return table


def files_of(table: DeltaTable) -> pa.Table:
    """Return the data files of an open table, as `TableLogs.files` does."""
    return pa.table(table.get_add_actions(flatten=True))


def matching(files: pa.Table, name: str, partition: Mapping[str, str]) -> pa.Table:
    """Return the files of a table of the partitions that have some values."""
    for key, value in partition.items():
        assert key in PARTITIONS[name], f"{name} is not partitioned by {key}"
        files = files.filter(pc.equal(files[f"partition.{key}"], value))
    return files


def partitions_of(files: pa.Table, name: str) -> list[dict[str, str]]:
    """Return the partitions that files of a table belong to, sorted."""
    keys = PARTITIONS[name]
    columns = [f"partition.{key}" for key in keys]
    unique = (
        files.select(columns).group_by(columns).aggregate([]).sort_by([(column, "ascending") for column in columns])
    )
    return [
        dict(zip(keys, values, strict=True)) for values in zip(*(unique[c].to_pylist() for c in columns), strict=True)
    ]


def data_files(files: pa.Table, name: str, root: str) -> list[DataFile]:
    """Return files of a table as data files, in row order; `root` is the location of the table."""
    keys = PARTITIONS[name]
    paths, sizes, rows = (files[column].to_pylist() for column in ("path", "size_bytes", "num_records"))
    values = zip(*(files[f"partition.{key}"].to_pylist() for key in keys), strict=True) if keys else [()] * len(paths)
    found = [
        DataFile(join(root, path), size, count, dict(zip(keys, value, strict=True)))
        for path, size, count, value in zip(paths, sizes, rows, values, strict=True)
    ]
    return sorted(found, key=lambda file: (tuple(file.partition.values()), file.name))


def may_contain(files: pa.Table, values: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return the files that may have rows in which every named column has one of the values given for it.

    Files without statistics of a column may have any value.
    """
    for column, wanted in values.items():
        if not wanted:
            return files.slice(0, 0)
        if f"min.{column}" in files.column_names:
            low, high = files[f"min.{column}"], files[f"max.{column}"]
            hits = (pc.and_(pc.less_equal(low, value), pc.greater_equal(high, value)) for value in wanted)
            files = files.filter(pc.fill_null(reduce(pc.or_, hits), True))
    return files
