"""Whether a stage has work to do, and why: the one decision that running, planning and reporting share.

The output of a stage is up to date if one complete run with the stage's fingerprint wrote all of it. Otherwise the
reason comes from the row of the run that wrote it: its recorded inputs, hashed with the settings of today, tell changed
inputs from changed settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jobs.runtime.runs import digest

State = Literal["fresh", "missing", "interrupted", "incomplete", "stale", "damaged", "unknown"]


@dataclass(frozen=True)
class Freshness:
    """The state of a stage's output, the reason unless it is fresh, and the row of the run that wrote it, if known."""

    state: State
    reason: str = ""
    row: Mapping[str, Any] | None = None

    @property
    def fresh(self) -> bool:
        """Return whether the stage has nothing to do."""
        return self.state == "fresh"


def fingerprint_of(stage: str, keys: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Return the fingerprint of a stage's run, from the keys and algorithm numbers that affect it and its inputs."""
    return digest({"stage": stage, "semantic": keys, "inputs": inputs})


def recorded_inputs(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that are part of a run's fingerprint, from its row."""
    return {key: value for key, value in json.loads(row["inputs"]).items() if key != "table_versions"}


def made_with(row: Mapping[str, Any], stage: str, keys: Mapping[str, Any]) -> bool:
    """Return whether a run had these settings and algorithm numbers, whatever its inputs were."""
    return bool(row["fingerprint"] == fingerprint_of(stage, keys, recorded_inputs(row)))


def assess(
    row: Mapping[str, Any] | None, owners: Sequence[str], stage: str, keys: Mapping[str, Any], inputs: Mapping[str, Any]
) -> Freshness:
    """Return the state of an output: `owners` are the runs that wrote it, and `row` is the row of the only one.

    No owner means that a table of the output has no partition, or that its tables were written by different runs.
    """
    if not owners:
        return Freshness("missing", "it has not been run")
    if len(owners) > 1:
        return Freshness("interrupted", "a run was interrupted between its tables")
    if row is None:
        return Freshness("stale", f"run {owners[0]} is not recorded")
    if row["fingerprint"] != fingerprint_of(stage, keys, inputs):
        return Freshness("stale", f"changed: {', '.join(_changes(row, stage, keys, inputs))}", row)
    if not row["complete"]:
        return Freshness("incomplete", f"run {owners[0]} was incomplete, its failures are tried again", row)
    return Freshness("fresh", row=row)


def _changes(row: Mapping[str, Any], stage: str, keys: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[str]:
    """Name what differs between a run and the one that would replace it."""
    recorded = recorded_inputs(row)
    changed = [key for key in sorted({*recorded, *inputs}) if digest(recorded.get(key)) != digest(inputs.get(key))]
    return changed if made_with(row, stage, keys) else ["settings or algorithm", *changed]
