"""The `runs` table: one row per finished run of a stage, and its recovery from a commit.

A stage commits its tables first and appends its row in `runs` last. Each commit carries that row too, so the run of a
stage that was killed in between can be found, and its row restored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from curation import __version__
from curation.lake.delta.table_logs import may_contain
from curation.lake.lake import Lake
from curation.lake.schemas import SCHEMAS
from curation.redaction import redact_values

SETTINGS = "settings"  # keys of a run's `inputs` that are not inputs
VERSIONS = "table_versions"
MARKED_INCOMPLETE = "marked_incomplete"  # key of the totals of a run that `mark_incomplete` has marked


@dataclass
class Outcome:
    """The outcome of a stage, for the summary line, the metrics and the next stage; `fresh` is False without work.

    `complete` is False if inputs failed, so that the next run tries again. With `dry_run`, nothing was changed and the
    totals are those of the run that would change it.

    Attributes:
        elapsed: seconds that this command spent on the stage.
        reported: whether it was logged.
    """

    stage: str
    run_id: str
    fresh: bool
    totals: dict[str, Any] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    dry_run: bool = False
    complete: bool = True
    elapsed: float = 0.0
    reported: bool = False

    def line(self) -> str:
        """Return the one-line summary of the run."""
        if not self.fresh:
            return f"{self.stage}: nothing to do, run {self.run_id} did the same work already"
        parts = [f"{key} {value}" for key, value in self.totals.items() if not isinstance(value, (dict, list))]
        parts += [f"dropped {reason} {count}" for reason, count in sorted(self.drops.items())]
        if self.dry_run:
            return f"{self.stage}: a run without dry_run would give: {', '.join(parts)}"
        return f"{self.stage}: {', '.join(parts) or 'done'} ({sum(self.seconds.values()):.1f} s, run {self.run_id})"


def earlier_outcome(row: Mapping[str, Any]) -> Outcome:
    """Return the outcome of an earlier run, from its row."""
    totals, drops, seconds = (json.loads(row[key]) for key in ("totals", "drops", "seconds"))
    return Outcome(row["stage"], row["run_id"], False, totals, drops, seconds)


def started_at(run_id: str) -> datetime:
    """Return when a run started; its id starts with that time. A name that is not a run id is later than any moment."""
    try:
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def shortened(runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row records in the place of the runs of all earlier batches, which would grow every night."""
    return {"batches": len(runs), "digest": digest(runs)}


def find_run(lake: Lake, run_id: str, table: str) -> dict[str, Any] | None:
    """Return a run's row, from `runs` or from the run's commit of `table`; None if neither has it. Writes nothing."""
    if row := _recorded(lake, run_id):
        return row
    committed = _committed(lake, run_id, table)
    return {**committed, **_times(committed)} if committed else None


def recover_run(lake: Lake, run_id: str, table: str) -> dict[str, Any] | None:
    """Return a run's row as `find_run` does; a row found only in the commit of `table` is added to `runs`."""
    if row := _recorded(lake, run_id):
        return row
    if committed := _committed(lake, run_id, table):
        append_run(lake, committed)
        return _recorded(lake, run_id)
    return None


def describe_run(
    config: BaseModel,
    *,
    inputs: Mapping[str, Any],
    settings: Mapping[str, Any],
    versions: Mapping[str, int],
    totals: Mapping[str, Any],
    drops: Mapping[str, int],
    steps: Sequence[tuple[str, datetime]],
) -> dict[str, Any]:
    """Return the columns that describe a run which ends now, without secrets.

    `settings` are the keys of its fingerprint, `versions` those of the tables that it read, and `steps` the names of
    its steps with the times at which they ended; the first is the start of the run.
    """
    recorded = {**inputs, SETTINGS: settings, VERSIONS: versions}
    seconds: dict[str, float] = {}
    for (_, before), (name, after) in pairwise(steps):
        seconds[name] = round(seconds.get(name, 0.0) + (after - before).total_seconds(), 3)
    return {
        "started": steps[0][1].isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "code_version": __version__,
        "config": _redacted_json(config),
        "inputs": json.dumps(redact_values(recorded, by_name=False), sort_keys=True),
        "totals": json.dumps(redact_values(totals, by_name=False), sort_keys=True),
        "drops": json.dumps(dict(drops), sort_keys=True),
        "seconds": json.dumps(seconds),
    }


def _redacted_json(config: BaseModel) -> str:
    """Return the JSON of a config, without the secrets in it."""
    values = config.model_dump(mode="json")
    redacted = redact_values(values)
    return config.model_dump_json() if redacted == values else json.dumps(redacted, ensure_ascii=False)


def append_run(lake: Lake, row: Mapping[str, Any]) -> None:
    """Add one row to the `runs` table."""
    lake.append("runs", pa.Table.from_pylist([{**row, **_times(row)}], schema=SCHEMAS["runs"]))


def _times(row: Mapping[str, Any]) -> dict[str, datetime]:
    return {key: datetime.fromisoformat(row[key]) for key in ("started", "finished")}


def mark_incomplete(lake: Lake, run_id: str, *, forget_lists: Collection[str] = ()) -> None:
    """Mark a recorded run incomplete, so that its stage runs again.

    `forget_lists` are Wikipedias whose lists a later build must not take from this run.
    """

    def mark(row: dict[str, Any]) -> dict[str, Any]:
        if row["run_id"] != run_id:
            return row
        totals = json.loads(row["totals"])
        fingerprints = totals.get("fingerprints", {})
        totals[MARKED_INCOMPLETE] = True
        if forgotten := fingerprints.keys() & set(forget_lists):
            totals["fingerprints"] = {code: same for code, same in fingerprints.items() if code not in forgotten}
        return {**row, "complete": False, "totals": json.dumps(totals, sort_keys=True)}

    if _recorded(lake, run_id):
        lake.rewrite(
            "runs",
            lambda files: may_contain(files, {"run_id": [run_id]}),
            lambda rows: [pa.Table.from_pylist([mark(row) for row in rows.to_pylist()], schema=SCHEMAS["runs"])],
            changes_rows=True,
        )


def _recorded(lake: Lake, run_id: str) -> dict[str, Any] | None:
    rows = lake.rows("runs", {"run_id": [run_id]}).to_pylist()
    return dict(rows[0]) if rows else None


def _committed(lake: Lake, run_id: str, table: str) -> dict[str, Any] | None:
    commits = (commit for commit in lake.commits(table) if commit.get("run_id") == run_id and "run" in commit)
    return next((json.loads(commit["run"]) for commit in commits), None)
