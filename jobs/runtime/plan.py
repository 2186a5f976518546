"""Plans a night: which stages would run, why, and for about how long, without changing anything."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.lake.lake import Lake
from jobs.runtime.context import Context
from jobs.runtime.job import Job
from jobs.runtime.stage import Stage

RUNS_COUNTED = 5  # the newest runs of a stage, whose median is the estimate


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan: does it run, why, and the estimated seconds with the number of earlier runs they rest on."""

    stage: str
    runs: bool
    reason: str
    seconds: float | None = None
    earlier_runs: int = 0

    def line(self) -> str:
        """Return the line of the plan."""
        text = f"{self.stage}: {'runs' if self.runs else 'is skipped'}: {self.reason}"
        if self.runs and self.seconds is not None:
            text += f"; about {self.seconds:.0f} s (from {self.earlier_runs} earlier runs)"
        elif self.runs:
            text += "; no earlier run to estimate from"
        return text


def plan(context: Context, steps: Sequence[Job]) -> list[PlannedStage]:
    """Return what the stages of some jobs would do, in order; each stage reads the output of the one before.

    A stage decides here as it does when it runs. Raises the error with which the run would end before its first task.
    """
    estimates, planned = Estimates(context.lake, context.batch), list[PlannedStage]()
    before = ""
    for kind in (kind for step in steps for kind in step.stages):
        if before:
            runs, reason = True, f"{before} runs"
        else:
            stage = kind.open(context)
            runs, reason = _decide(stage)
            estimates.set_bytes(stage.inputs)
        planned.append(PlannedStage(kind.name, runs, reason, *estimates.of(kind.name)))
        before = kind.name if runs else ""
    for step in steps:
        if not step.stages:
            planned.append(PlannedStage(step.name, True, "it runs every time", *estimates.of(step.name)))
    return planned


def _decide(stage: Stage) -> tuple[bool, str]:
    freshness = stage.freshness()
    if freshness.fresh and freshness.row:
        return False, f"run {freshness.row['run_id']} did the same work"
    stage.check(freshness)
    return True, freshness.reason


class Estimates:
    """Estimates how long a stage takes, from the newest runs of it in a lake.

    A run of another batch counts in proportion to the input bytes of the batches, where both are known.
    """

    def __init__(self, lake: Lake, batch: str) -> None:
        self._batch = batch
        self._rows = lake.rows("runs").sort_by([("finished", "descending")]).to_pylist()
        self._bytes: dict[str, int] = {}
        for row in self._rows:
            if row["stage"] == "ingest":
                self._bytes.setdefault(row["batch"], _input_bytes(json.loads(row["inputs"])))

    def set_bytes(self, inputs: Mapping[str, Any]) -> None:
        """Take the size of the batch from the inputs of its ingest."""
        if "files" in inputs:
            self._bytes[self._batch] = _input_bytes(inputs)

    def of(self, stage: str) -> tuple[float | None, int]:
        """Return the estimated seconds of a stage, and the number of runs that they come from."""
        rows = [row for row in self._rows if row["stage"] == stage][:RUNS_COUNTED]
        if not rows:
            return None, 0
        return statistics.median(self._scaled(row) for row in rows), len(rows)

    def _scaled(self, row: Mapping[str, Any]) -> float:
        seconds = float(sum(json.loads(row["seconds"]).values()))
        then, now = self._bytes.get(row["batch"]), self._bytes.get(self._batch)
        return seconds * now / then if then and now else seconds


def _input_bytes(inputs: Mapping[str, Any]) -> int:
    return sum(size for _, size, *_ in inputs["files"])
