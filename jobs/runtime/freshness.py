"""Whether a stage has work to do, and why: the one decision that running, planning and reporting share.

The output of a stage is up to date if one complete run with the stage's fingerprint wrote all of it. Otherwise the
reason comes from the row of the run that wrote it, which has its inputs and settings, without the secrets in them. So a
stage that is opened again from that row, with these inputs, has no fingerprint to compare: its settings are compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from curation.redaction import REDACTED, redact, redact_values
from jobs.runtime.runs import MARKED_INCOMPLETE, SETTINGS, VERSIONS, digest

SHOWN_LENGTH = 60  # characters of a value in messages

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
    return {key: value for key, value in json.loads(row["inputs"]).items() if key not in (SETTINGS, VERSIONS)}


def made_with(row: Mapping[str, Any], stage: str, keys: Mapping[str, Any]) -> bool:
    """Return whether a run had these settings and algorithm numbers, whatever its inputs were."""
    settings = recorded_settings(row)
    if settings is not None and digest(settings) == digest(keys):
        return True
    return bool(row["fingerprint"] == fingerprint_of(stage, keys, recorded_inputs(row)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe each dotted key whose value differs, with both values."""
    old, new = dict(_dotted(before)), dict(_dotted(now))
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [f"{key} {_shown(old.get(key))} (now {_shown(new.get(key))})" for key in changed]


def assess(
    row: Mapping[str, Any] | None,
    owners: Sequence[str],
    stage: str,
    keys: Mapping[str, Any],
    inputs: Mapping[str, Any],
    recorded: Mapping[str, Any] | None = None,
) -> Freshness:
    """Return the state of an output: `owners` are the runs that wrote it, and `row` is the row of the only one.

    `recorded` is what a row has in the place of `inputs`, if that is not the same. No owner means that a table of the
    output has no partition, or that its tables were written by different runs.
    """
    if not owners:
        return Freshness("missing", "it has not been run")
    if len(owners) > 1:
        return Freshness("interrupted", "a run was interrupted between its tables")
    if row is None:
        return Freshness("stale", f"run {owners[0]} is not recorded")
    same = row["fingerprint"] == fingerprint_of(stage, keys, inputs)
    compared = inputs if recorded is None else recorded
    if not same and REDACTED in row["inputs"] and digest(recorded_inputs(row)) in (digest(inputs), digest(compared)):
        if recorded_settings(row) is None:
            reason = "the secrets in its inputs were not recorded, and neither were its settings (before 0.3.0)"
            return Freshness("unknown", reason, row)
        same = made_with(row, stage, keys)
    if not same:
        changes = _changes(row, stage, keys, compared)
        return Freshness("stale", f"changed: {', '.join(changes)}", row)
    if not row["complete"]:
        return Freshness("incomplete", f"run {owners[0]} was incomplete: {_why_incomplete(row)}", row)
    return Freshness("fresh", row=row)


def _changes(row: Mapping[str, Any], stage: str, keys: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[str]:
    """Name what differs between a run and the one that would replace it."""
    recorded, today = recorded_inputs(row), redact_values(inputs, by_name=False)
    changed = [key for key in sorted({*recorded, *today}) if digest(recorded.get(key)) != digest(today.get(key))]
    if made_with(row, stage, keys):
        return changed or ["secrets in the inputs"]
    settings = recorded_settings(row)
    if settings is None and REDACTED in row["inputs"] and changed:
        return changed  # its fingerprint cannot be compared, so nothing shows that the settings differ
    named = differences(settings, json.loads(json.dumps(keys))) if settings is not None else []
    return [*(named or ["settings or algorithm"]), *changed]


def recorded_settings(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings of a run as they entered its fingerprint; None for a run of an earlier release."""
    settings: dict[str, Any] | None = json.loads(row["inputs"]).get(SETTINGS)
    return settings


def _why_incomplete(row: Mapping[str, Any]) -> str:
    """Return why the next run repeats a run."""
    totals, drops = json.loads(row["totals"]), json.loads(row["drops"])
    if totals.get(MARKED_INCOMPLETE):
        return "jobs.verify --repair marked it, its output is made again"
    if "not_fetched" in drops:
        return (
            f"a takedown rebuilt it without downloads, images that were not stored ({drops['not_fetched']}) are fetched"
        )
    return "its failures are tried again"


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    text = redact(repr(value))
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
