"""Actions of Delta commits: adds and removes of data files, with the statistics by which readers skip files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import AddAction, RemoveAction

from curation.lake.files import WrittenFile

Action = AddAction | RemoveAction

# columns of the small tables by which rows are looked up
LOOKED_UP: Final[Mapping[str, tuple[str, ...]]] = {
    "runs": ("run_id", "stage", "batch", "fingerprint"),
    "ledger": ("run_id", "batch"),
    "tombstones": (),
}
NO_BOUNDS: Final[Mapping[str, Any]] = MappingProxyType({})


def bounds(name: str, rows: pa.Table) -> dict[str, Any]:
    """Return the statistics of rows of a small table: the smallest and largest value of each column of `LOOKED_UP`."""
    limits = {column: pc.min_max(rows[column]).as_py() for column in LOOKED_UP[name]}
    known = {column: limit for column, limit in limits.items() if limit["min"] is not None}
    return {
        "minValues": {column: limit["min"] for column, limit in known.items()},
        "maxValues": {column: limit["max"] for column, limit in known.items()},
        "nullCount": {column: rows[column].null_count for column in limits},
    }


def add_action(
    file: WrittenFile,
    partition: Mapping[str, str] = MappingProxyType({}),
    statistics: Mapping[str, Any] = NO_BOUNDS,
    *,
    changes_rows: bool = True,
) -> AddAction:
    """Return the action that adds a file to a partition; `changes_rows` is False if it only replaces other files."""
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values={**partition, **file.partition},
        modification_time=_now(),
        data_change=changes_rows,
        stats=json.dumps({"numRecords": file.rows, **statistics}),
    )


def remove_action(path: str, size: int, *, changes_rows: bool = True) -> RemoveAction:
    """Return the action that removes a file of an unpartitioned table."""
    return RemoveAction(path=path, data_change=changes_rows, deletion_timestamp=_now(), size=size, partition_values={})


def _now() -> int:
    """Return the time in milliseconds since 1970."""
    return int(time.time() * 1000)
