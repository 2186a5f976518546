"""Makes a lake as many nights would leave it, from one night that was really run.

The partitions, runs and ledger rows of that night are repeated under the names of other batches. The logs hold every
file of every night, and `runs` and `ledger` one small file per run of a stage, as the nights would have left them. Of
the other tables only the newest totals exist as files, because no later night reads more of them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from curation.io.paths import join
from curation.lake.delta.actions import add_action, bounds
from curation.lake.files import DataFile, WrittenFile
from curation.lake.lake import ROWS, Lake
from curation.lake.layout import partition_folder
from curation.lake.parquet import PartitionWriter
from curation.lake.schemas import PARTITIONS, SCHEMAS
from jobs.runtime.freshness import fingerprint_of
from jobs.runtime.runs import SETTINGS, shortened

WRITERS = 16
TABLES = {
    "ingest": ("pairs",),
    "match": ("counts", "matches"),
    "totals": ("totals",),
    "balance": ("thresholds", "curated"),
    "images": ("images",),
    "duplicates": ("duplicates",),
    "shards": ("shards",),
}


@dataclass(frozen=True)
class Night:
    """One night that did not happen: its batch, and the id of the run of each stage."""

    batch: str
    runs: Mapping[str, str]

    @classmethod
    def on(cls, day: date, stages: Sequence[str]) -> Night:
        """Return the night of a day."""
        started = f"{day:%Y%m%d}T03"
        return cls(
            str(day),
            {s: f"{started}{n:02d}00-{uuid.uuid4().hex[:12]}-{uuid.uuid4().hex[:8]}" for n, s in enumerate(stages)},
        )


def age(lake: Lake, nights: int) -> None:
    """Repeat the newest night of a lake for `nights` nights before it."""
    template = lake.batches()[-1]
    rows = {row["stage"]: row for row in lake.rows("runs").to_pylist() if row["batch"] == template}
    first = date.fromisoformat(template)
    past = [Night.on(first - timedelta(days=nights - n), list(rows)) for n in range(nights)]
    for stage in rows:
        for table in TABLES[stage]:
            _repeat_partitions(lake, table, stage, template, past)
    with ThreadPoolExecutor(WRITERS) as pool:
        _append(lake, "runs", pool.map(lambda row: _write(lake, "runs", [row]), _runs(rows, template, past)))
        ledger = [row for row in lake.rows("ledger").to_pylist() if row["batch"] == template]
        copies = ([{**row, "batch": night.batch, "run_id": night.runs["ingest"]} for row in ledger] for night in past)
        _append(lake, "ledger", pool.map(lambda rows: _write(lake, "ledger", rows), copies))
        pages = [lake.layout.batch_page(rows["balance"]["config"] and "default", night.batch) for night in past]
        list(pool.map(lambda path: lake.storage.write_bytes(path, b"<!doctype html>"), pages))


def _repeat_partitions(lake: Lake, table: str, stage: str, template: str, past: Sequence[Night]) -> None:
    """Publish the template's partition of a table for all nights, in one commit."""
    snapshot = lake.snapshot(table, {"batch": template})
    root = lake.layout.table(table)
    keys = {key: value for key, value in snapshot.files[0].partition.items() if key != "batch"}
    files = [_copy(file, night.batch, night.runs[stage]) for night in past for file in snapshot.files]
    if table == "totals":
        for copy, file in zip(files[-len(snapshot.files) :], snapshot.files, strict=True):
            lake.storage.write_bytes(join(root, copy.path), lake.storage.read_bytes(file.path))
    opened = lake.table(table)
    assert opened is not None
    opened.create_write_transaction(
        [add_action(file, keys) for file in files],
        mode="append",
        schema=opened.schema(),
        partition_by=list(PARTITIONS[table]),
    )


def _copy(file: DataFile, batch: str, run_id: str) -> WrittenFile:
    partition = {**file.partition, "batch": batch}
    return WrittenFile(
        f"{partition_folder(partition)}/{run_id}/{file.name}", file.size, file.rows, "", {"batch": batch}
    )


def _runs(rows: Mapping[str, Mapping[str, Any]], template: str, past: Sequence[Night]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the runs of all nights; those of totals have the fingerprints that their inputs give."""
    counts: dict[str, str] = {}
    for night in past:
        counts[night.batch] = night.runs["match"]
        for stage, row in rows.items():
            run_id = night.runs[stage]
            started = datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
            own = {
                **row,
                "run_id": run_id,
                "batch": night.batch,
                "started": started,
                "finished": started + timedelta(minutes=5),
            }
            own["config"] = row["config"].replace(template, night.batch)
            own["fingerprint"] = run_id.split("-")[1] + uuid.uuid4().hex
            if stage == "totals":
                inputs = json.loads(row["inputs"])
                earlier = {batch: run for batch, run in counts.items() if batch != night.batch}
                recorded = {"counts": {night.batch: counts[night.batch]}}
                recorded["earlier_counts"] = shortened(earlier)
                own["inputs"] = json.dumps({**inputs, **recorded}, sort_keys=True)
                own["fingerprint"] = fingerprint_of("totals", inputs[SETTINGS], {"counts": counts})
            yield own


def _write(lake: Lake, table: str, rows: Sequence[Mapping[str, Any]]) -> tuple[WrittenFile, dict[str, Any]]:
    content = pa.Table.from_pylist(list(rows), schema=SCHEMAS[table])
    with PartitionWriter(lake.storage, lake.layout.table(table), ROWS, 0, SCHEMAS[table]) as writer:
        writer.write(content)
    return writer.files[0], bounds(table, content)


def _append(lake: Lake, table: str, written: Iterator[tuple[WrittenFile, dict[str, Any]]]) -> None:
    opened = lake.table(table)
    assert opened is not None
    actions = [add_action(file, statistics=statistics) for file, statistics in written]
    opened.create_write_transaction(actions, mode="append", schema=opened.schema())
