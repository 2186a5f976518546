"""Compare what the tables of two lakes contain, whatever their files and runs are called."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pyarrow.parquet as pq

from curation.lake.lake import Lake
from curation.lake.schemas import PARTITIONS

OF_RUNS = ("runs", "ledger")  # they say when and how often, which is not content

Contents = dict[str, dict[str, str]]


def read_contents(lake: Lake) -> Contents:
    """Return a digest of the rows of every partition by table and partition, rows in their order."""
    return {table: _digests(lake, table) for table in PARTITIONS if table not in OF_RUNS}


def differences(one: Contents, other: Contents) -> list[str]:
    """Return the partitions that differ or are in one lake only, as `table key=value …`."""
    return [
        f"{table} {partition}"
        for table in one
        for partition in sorted({*one[table], *other[table]})
        if one[table].get(partition) != other[table].get(partition)
    ]


def _digests(lake: Lake, table: str) -> dict[str, str]:
    digests: dict[str, hashlib._Hash] = defaultdict(hashlib.sha256)
    for file in lake.snapshot(table).files:
        digest = digests[" ".join(f"{key}={value}" for key, value in file.partition.items())]
        with lake.storage.open_input(file.path) as source:
            for row in pq.read_table(source, partitioning=None).to_pylist():
                digest.update(repr(row).encode("utf-8", "surrogatepass"))
    return {partition: digest.hexdigest() for partition, digest in digests.items()}
