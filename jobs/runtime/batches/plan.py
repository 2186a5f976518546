"""Plans a night: which stages would run, why, and for about how long, without changing anything."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.cli.counts import count
from curation.cli.progress import describe_duration
from curation.lake.lake import Lake
from jobs.runtime.context import Context
from jobs.runtime.job import Job
from jobs.runtime.stage import Stage

RUNS_COUNTED = 5  # the newest runs of a stage, whose median is the estimate
START_S = 10.0  # seconds of a run that do not depend on its input: tasks, commits, loading of models


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan: does it run, why, and the estimated seconds with the number of earlier runs they rest on.

    `at_least` means that the earlier runs were too short to tell how the time grows with the input.
    """

    stage: str
    runs: bool
    reason: str
    seconds: float | None = None
    earlier_runs: int = 0
    at_least: bool = False

    def line(self) -> str:
        """Return the line of the plan."""
        text = f"{self.stage}: {'runs' if self.runs else 'is skipped'}: {self.reason}"
        if self.runs and self.seconds is not None:
            how = "at least" if self.at_least else "about"
            text += f"; {how} {describe_duration(self.seconds)} (from {count(self.earlier_runs, 'earlier run')})"
        elif self.runs:
            text += "; no earlier run to estimate from"
        return text


def plan(context: Context, steps: Sequence[Job]) -> list[PlannedStage]:
    """Return what the stages of some jobs would do, in order; each stage reads the output of the one before.

    A stage decides here as it does when it runs. Raises the error with which the run would end before its first task.
    """
    estimates, planned = Estimates(context.lake, context.batch), list[PlannedStage]()
    before = ""
    for kind in (kind for step in steps for kind in step.stages if kind.applies(context.config)):
        if before:
            runs, reason = True, f"{before} runs"
        else:
            stage = kind.open(context)
            runs, reason = decide(stage)
            estimates.set_bytes(stage.inputs)
        planned.append(PlannedStage(kind.name, runs, reason, *estimates.of(kind.name)))
        before = kind.name if runs else ""
    for step in steps:
        if not step.stages:
            planned.append(PlannedStage(step.name, True, "it runs every time", *estimates.of(step.name)))
    return planned


def decide(stage: Stage) -> tuple[bool, str]:
    """Return whether a stage would run, and why or why not. Raises UsageError if it must not replace its output."""
    freshness = stage.freshness()
    if freshness.fresh and freshness.row:
        return False, f"run {freshness.row['run_id']} did the same work"
    stage.check(freshness)
    return True, freshness.reason


class Estimates:
    """Estimates how long a stage takes, from the newest runs of it in a lake.

    Up to START_S seconds of a run are taken as fixed, the others as proportional to the input bytes of its batch, where
    both batches' are known.
    """

    def __init__(self, lake: Lake, batch: str) -> None:
        self._lake, self._batch = lake, batch
        self._own_bytes: int | None = None

    def set_bytes(self, inputs: Mapping[str, Any]) -> None:
        """Take the size of the batch from the inputs of its ingest."""
        if "files" in inputs:
            self._own_bytes = _input_bytes(inputs)

    def of(self, stage: str) -> tuple[float | None, int, bool]:
        """Return the estimated seconds of a stage, the number of earlier runs, and whether it is a minimum."""
        rows = self._lake.newest_rows("runs", {"stage": [stage]}, RUNS_COUNTED).to_pylist()
        if not rows:
            return None, 0, False
        sizes = self._input_bytes_of({self._batch, *(row["batch"] for row in rows)})
        measured = [self._measured(row, sizes) for row in rows]
        is_minimum = all(growth > 1 and seconds <= START_S for seconds, growth in measured)
        return statistics.median(_scaled(*each) for each in measured), len(rows), is_minimum

    def _input_bytes_of(self, batches: Collection[str]) -> dict[str, int]:
        """Return the bytes of the inputs of batches, as their newest ingest read them."""
        runs = self._lake.rows("runs", {"stage": ["ingest"], "batch": sorted(batches)})
        rows = runs.select(["batch", "finished", "inputs"]).sort_by("finished").to_pylist()
        sizes = {row["batch"]: _input_bytes(json.loads(row["inputs"])) for row in rows}
        return sizes if self._own_bytes is None else {**sizes, self._batch: self._own_bytes}

    def _measured(self, row: Mapping[str, Any], sizes: Mapping[str, int]) -> tuple[float, float]:
        """Return the seconds of a run, and the input bytes of the batch per byte of the run's batch; 1 if unknown."""
        seconds = float(sum(json.loads(row["seconds"]).values()))
        then, now = sizes.get(row["batch"]), sizes.get(self._batch)
        return seconds, now / then if then and now else 1.0


def _scaled(seconds: float, growth: float) -> float:
    fixed = min(seconds, START_S)
    return fixed + (seconds - fixed) * growth


def _input_bytes(inputs: Mapping[str, Any]) -> int:
    return sum(size for _, size, *_ in inputs["files"])
