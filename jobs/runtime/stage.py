"""One run of one stage: is there anything to do, where do its files go, and how are they published.

A stage's fingerprint is its semantic config, its inputs by content and its algorithm number. When every output
partition was written by one complete run with the same fingerprint, the stage is done and says so. Otherwise it writes
data files under a new run id and publishes: ledger rows first (rows of a run that never finishes count for nothing),
then the tables, the dependent one last, then the run's row. The commit carries the run's row too, so a run killed
between its last commit and its row is recognised, and the row restored, by the next one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import __version__
from curation.errors import InputError
from curation.io.storage import Storage
from curation.lake.lake import Lake, Snapshot, WrittenFile, describe
from curation.lake.parquet import FILE_BYTES, PartitionWriter
from curation.lake.schemas import SCHEMAS
from jobs.runtime.config import Config

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What a stage did, for the summary line, the metrics and the next stage."""

    stage: str
    run_id: str
    fresh: bool
    totals: dict[str, Any] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """Return the one-line summary of the run."""
        if not self.fresh:
            return f"{self.stage}: nothing to do, run {self.run_id} did the same work already"
        parts = [f"{key} {value}" for key, value in self.totals.items() if not isinstance(value, (dict, list))]
        parts += [f"dropped {reason} {count}" for reason, count in sorted(self.drops.items())]
        return f"{self.stage}: {', '.join(parts) or 'done'} ({sum(self.seconds.values()):.1f} s, run {self.run_id})"


class Stage:
    """A run of a stage.

    Args:
        name: the stage, as in the runs table.
        lake: where it reads and writes.
        config: the whole resolved config, stored in the run's row.
        semantic: what of the config (and algorithm numbers) changes the result.
        inputs: the inputs by content: run ids, or path, tag and size of files.
        outputs: output tables with their partitions, in the order of publication.
        batch: the batch, empty for stages that have none.
        reads: the input tables; their versions stand in the run's row and are no part of the fingerprint.
    """

    def __init__(
        self,
        name: str,
        lake: Lake,
        config: Config,
        *,
        semantic: Mapping[str, Any],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Mapping[str, str]],
        batch: str = "",
        reads: Sequence[Snapshot] = (),
    ) -> None:
        self.name, self.lake, self.config, self.batch = name, lake, config, batch
        self.outputs: dict[str, Mapping[str, str]]
        self.inputs = dict(inputs)
        self.versions = {snapshot.table: snapshot.version for snapshot in reads}
        self.fingerprint = digest({"stage": name, "semantic": semantic, "inputs": inputs})
        self.started = datetime.now(UTC)
        self.run_id = f"{self.started:%Y%m%dT%H%M%S}-{self.fingerprint[:12]}-{uuid.uuid4().hex[:8]}"
        self.set_outputs(outputs)
        self._steps = [("start", self.started)]

    def finished(self) -> Outcome | None:
        """Return the outcome of the complete run with this fingerprint that owns the outputs, if there is one."""
        owners = {run for runs in self._seen.values() for run in runs}
        if len(owners) != 1 or not all(self._seen.values()):
            return None
        row = find_run(self.lake, next(iter(owners)), next(iter(self.outputs)))
        if row is None or row["fingerprint"] != self.fingerprint or not row["complete"]:
            return None
        return _outcome(row)

    def done_before(self) -> Outcome | None:
        """Return the outcome of any complete run with this fingerprint, newest first.

        For a stage whose output partitions follow from its work; the caller checks that they are still there.
        """
        runs = self.lake.rows("runs")
        same = runs.filter(pc.and_(pc.equal(runs["fingerprint"], self.fingerprint), runs["complete"]))
        rows = same.sort_by([("finished", "descending")]).to_pylist()
        return _outcome(rows[0]) if rows else None

    def set_outputs(self, outputs: Mapping[str, Mapping[str, str]]) -> None:
        """Name the output partitions of a stage that learns them from its work, before it publishes."""
        self.outputs = dict(outputs)
        self._seen = {table: self.lake.snapshot(table, part).run_ids for table, part in self.outputs.items()}

    def writers(self) -> WriterFactory:
        """Return what workers need to write this run's files."""
        return WriterFactory(self.lake.storage, self.lake.root, self.run_id, self.outputs)

    def step(self, name: str) -> None:
        """Note that the step `name` ends now."""
        self._steps.append((name, datetime.now(UTC)))

    def publish(
        self,
        files: Mapping[str, Sequence[WrittenFile]],
        *,
        totals: Mapping[str, Any],
        drops: Mapping[str, int],
        complete: bool = True,
        ledger: Sequence[Mapping[str, Any]] = (),
    ) -> Outcome:
        """Commit the outputs in their order, then the run's row. Raises OutputError when another run was faster."""
        if ledger:
            self.append_ledger(ledger)
        self.step("publish")
        row = self._row(totals, drops, complete)
        for table, partition in self.outputs.items():
            self.lake.publish(
                table,
                partition,
                files[table],
                expected=self._seen[table],
                metadata={"run_id": self.run_id, "fingerprint": self.fingerprint, "run": json.dumps(row)},
            )
        append_run(self.lake, row)
        self.clean()
        return Outcome(self.name, self.run_id, True, dict(totals), dict(drops), json.loads(row["seconds"]))

    def append_ledger(self, ledger: Sequence[Mapping[str, Any]]) -> None:
        """Add one row an input file to the ledger."""
        rows = [{"run_id": self.run_id, "batch": self.batch, **row} for row in ledger]
        self.lake.append("ledger", pa.Table.from_pylist(rows, schema=SCHEMAS["ledger"]))

    @property
    def staging(self) -> str:
        """Folder of this run's working files; no other stage reads it."""
        return self.lake.uri("_staging", self.run_id)

    def clean(self) -> None:
        """Remove this run's working files."""
        self.lake.storage.delete_folder(self.staging)

    def _row(self, totals: Mapping[str, Any], drops: Mapping[str, int], complete: bool) -> dict[str, Any]:
        seconds: dict[str, float] = {}
        for (_, before), (name, after) in zip(self._steps, self._steps[1:], strict=False):
            seconds[name] = round(seconds.get(name, 0.0) + (after - before).total_seconds(), 3)
        return {
            "run_id": self.run_id,
            "stage": self.name,
            "batch": self.batch,
            "started": self.started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
            "code_version": __version__,
            "fingerprint": self.fingerprint,
            "complete": complete,
            "config": self.config.model_dump_json(),
            "inputs": json.dumps({**self.inputs, "table_versions": self.versions}, sort_keys=True),
            "totals": json.dumps(dict(totals), sort_keys=True),
            "drops": json.dumps(dict(drops), sort_keys=True),
            "seconds": json.dumps(seconds),
        }


@dataclass(frozen=True)
class WriterFactory:
    """Makes a run's writers inside workers."""

    storage: Storage
    root: str
    run_id: str
    outputs: Mapping[str, Mapping[str, str]]

    def __call__(self, table: str, ordinal: int, *, folder: str = "", file_bytes: int = FILE_BYTES) -> PartitionWriter:
        """Return a writer for one unit's files of `table`."""
        path = folder or "/".join(f"{key}={value}" for key, value in self.outputs[table].items())
        return PartitionWriter(
            self.storage,
            f"{self.root}/{table}",
            f"{path}/{self.run_id}",
            ordinal,
            SCHEMAS[table],
            file_bytes=file_bytes,
        )


def _outcome(row: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a run that did the work before."""
    totals, drops, seconds = (json.loads(row[key]) for key in ("totals", "drops", "seconds"))
    return Outcome(row["stage"], row["run_id"], False, totals, drops, seconds)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find_run(lake: Lake, run_id: str, table: str) -> dict[str, Any] | None:
    """Return a run's row; one that a killed run left only in the commit of `table` is restored first."""
    runs = lake.rows("runs")
    found = runs.filter(pc.equal(runs["run_id"], run_id)).to_pylist()
    if found:
        return dict(found[0])
    for commit in lake.commits(table):
        if commit.get("run_id") == run_id:
            append_run(lake, json.loads(commit["run"]))
            return find_run(lake, run_id, table)
    return None


def append_run(lake: Lake, row: Mapping[str, Any]) -> None:
    """Add one row to the runs table."""
    times = {key: datetime.fromisoformat(row[key]) for key in ("started", "finished")}
    lake.append("runs", pa.Table.from_pylist([{**row, **times}], schema=SCHEMAS["runs"]))


def require(lake: Lake, needed_by: str, make_with: str, table: str, **partition: str) -> Snapshot:
    """Return a published partition, or raise InputError that says which job makes it."""
    snapshot = lake.snapshot(table, partition)
    if not snapshot.files:
        raise InputError(f"{needed_by}: no {table} for {describe(partition)} in {lake.root}: run {make_with} first")
    return snapshot


def same_run(first: Snapshot, second: Snapshot) -> None:
    """Raise InputError unless two partitions that one stage writes came from the same run."""
    if first.run_ids != second.run_ids or len(first.run_ids) != 1:
        raise InputError(
            f"{first.table} (run {', '.join(first.run_ids)}) and {second.table} (run {', '.join(second.run_ids)}) do "
            f"not belong together, a run was cut off between them: run the stage that writes them again"
        )
