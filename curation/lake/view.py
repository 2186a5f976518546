"""A view of a lake at one moment: every table is read once, and some partitions can be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curation.io.storage import Storage
from curation.lake.files import DataFile, Snapshot
from curation.lake.lake import Lake
from curation.lake.schemas import PARTITIONS
from curation.lake.small_tables import matching_rows


class LakeView(Lake):
    """A lake for readers that ask many questions.

    Args:
        root: the folder or prefix of the lake.
        storage: access to its files.
        order: the order of batches, as that of a lake.
        without: a batch, a recipe or both, by partition key, to show the lake as if they had been removed.
        few: whether the questions are about few runs: small tables are not read as a whole for them.
    """

    def __init__(
        self,
        root: str,
        storage: Storage,
        order: Sequence[str] = (),
        without: Mapping[str, str] | None = None,
        *,
        few: bool = False,
    ) -> None:
        super().__init__(root, storage, order)
        self.without, self._few = dict(without or {}), few
        self._snapshots: dict[str, Snapshot] = {}
        self._partitions: dict[str, dict[tuple[str, ...], list[DataFile]]] = {}
        self._rows: dict[str, pa.Table] = {}

    def snapshot(self, name: str, partition: Mapping[str, str] | None = None, version: int | None = None) -> Snapshot:
        """Return the files of some partitions, from the version that this view read first."""
        assert version is None, "a view has one version"
        if name not in self._snapshots:
            self._read(name)
        whole = self._snapshots[name]
        if partition and set(partition) == set(PARTITIONS[name]):
            files = self._partitions[name].get(tuple(partition[key] for key in PARTITIONS[name]), [])
            return Snapshot(name, whole.version, tuple(files))
        return whole.of(**partition) if partition else whole

    def partitions(self, name: str) -> list[dict[str, str]]:
        """Return the partitions of a table that are published, sorted."""
        self.snapshot(name)
        return [dict(zip(PARTITIONS[name], values, strict=True)) for values in sorted(self._partitions[name])]

    def rows(
        self, name: str, where: Mapping[str, Sequence[Any]] | None = None, columns: Sequence[str] = ()
    ) -> pa.Table:
        """Return rows of a small table, which is read once, unless the questions are about few runs."""
        if self._few and where:
            return super().rows(name, where, columns)
        if name not in self._rows:
            self._rows[name] = super().rows(name)
        rows = matching_rows(self._rows[name], where or {})
        return rows.select(columns) if columns else rows

    def _read(self, name: str) -> None:
        whole = super().snapshot(name)
        if removed := removed_partition(name, self.without):
            hidden = {file.path for file in whole.of(**removed).files}
            whole = Snapshot(name, whole.version, tuple(file for file in whole.files if file.path not in hidden))
        self._snapshots[name] = whole
        groups = self._partitions[name] = {}
        for file in whole.files:
            groups.setdefault(tuple(file.partition[key] for key in PARTITIONS[name]), []).append(file)


def removed_partition(table: str, selection: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the partitions that go with a batch, a recipe or both; nothing if the table has none."""
    return dict(selection) if selection and set(selection) <= set(PARTITIONS[table]) else {}
