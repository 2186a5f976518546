"""Data files of the lake: those of a table version, and those written but not yet committed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from curation.lake.layout import run_id_of


@dataclass(frozen=True)
class DataFile:
    """One data file of a table version: its full path, size in bytes, rows, partition and the run that wrote it."""

    path: str
    size: int
    rows: int
    partition: Mapping[str, str]

    @property
    def name(self) -> str:
        """The file name; names of one partition sort in row order."""
        return self.path.rpartition("/")[2]

    @property
    def run_id(self) -> str:
        """The run that wrote the file."""
        return run_id_of(self.path)


@dataclass(frozen=True)
class Snapshot:
    """The files of some partitions of a table at one version, in row order."""

    table: str
    version: int
    files: tuple[DataFile, ...]

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that wrote these files, sorted."""
        return tuple(sorted({file.run_id for file in self.files}))

    def of(self, **partition: str) -> Snapshot:
        """Return the part of this snapshot whose partitions have these values."""
        files = (f for f in self.files if all(f.partition[key] == value for key, value in partition.items()))
        return Snapshot(self.table, self.version, tuple(files))

    def by(self, key: str) -> dict[str, Snapshot]:
        """Return the parts of this snapshot by the value of a partition key."""
        groups: dict[str, list[DataFile]] = {}
        for file in self.files:
            groups.setdefault(file.partition[key], []).append(file)
        return {value: Snapshot(self.table, self.version, tuple(files)) for value, files in groups.items()}

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class WrittenFile:
    """A data file that is written but not yet committed.

    `path` is relative to the table, `size` is in bytes, `sha256` is the hash of the bytes, and `footer` the CRC-32 of
    the footer. `partition` holds the partition keys that differ between the files of one commit.
    """

    path: str
    size: int
    rows: int
    sha256: str
    partition: Mapping[str, str] = field(default_factory=dict)
    footer: str = ""
