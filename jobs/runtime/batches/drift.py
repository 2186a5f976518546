"""Compares the figures of a night with those of the nights before it, before the stage publishes.

A figure that is far outside the range of the last nights is an alarm: it says that the inputs, a model or a network
have changed, which no counter shows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curation.errors import OutputError
from curation.report.night_figures import LEVELS, SHARE_OF, figures
from jobs.runtime.config import AlarmsSection

if TYPE_CHECKING:
    from jobs.runtime.stage import StageRun

log = logging.getLogger(__name__)

MIN_NIGHTS = 3  # that a range is made of
ALARMS = "alarms"  # key of the totals of a run


def with_alarms(run: StageRun, totals: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the totals of a run that is about to publish, with its alarms, each of which is logged.

    Raises OutputError instead if alarms are to stop the run.
    """
    section = run.config.alarms
    now = figures(run.name, totals) if section.nights else {}
    found = list(alarms(now, earlier_figures(run, section.nights), section)) if now else []
    if found and section.action == "fail":
        raise OutputError(
            f"alarms: {run.name} of batch {run.batch}: {'; '.join(found)}: nothing was published: look at the inputs "
            f"and the log; if the night is right, run it with --alarms.action warn"
        )
    for alarm in found:
        log.warning("alarms: %s of batch %s: %s", run.name, run.batch, alarm)
    return {**totals, ALARMS: found} if found else totals


def alarms(now: Mapping[str, float], earlier: Sequence[Mapping[str, float]], section: AlarmsSection) -> Iterator[str]:
    """Yield a line per figure that is outside the range of earlier nights.

    The range is widened by `tolerance` of its ends and, for shares, by `min_change`. A language that a night does not
    have has the share 0 there; any other figure is compared with the nights that have it.
    """
    languages = {name for night in (now, *earlier) for name in night if name.startswith(SHARE_OF)}
    for name in sorted(now.keys() | languages):
        values = [night.get(name, 0.0) for night in earlier if name in night or name in languages]
        if len(values) < MIN_NIGHTS:
            continue
        value, low, high = now.get(name, 0.0), min(values), max(values)
        slack = 0.0 if name in LEVELS else section.min_change
        if not low * (1 - section.tolerance) - slack <= value <= high * (1 + section.tolerance) + slack:
            yield f"{name} is {value:.4g}, and {low:.4g} to {high:.4g} in the last {len(values)} nights"


def earlier_figures(run: StageRun, nights: int) -> list[dict[str, float]]:
    """Return the figures of the complete runs that published the last `nights` batches before that of a run.

    The other values of the partition, such as the recipe, are the same.
    """
    lake, (table, partition) = run.lake, list(run.outputs.items())[-1]
    same = {key: value for key, value in partition.items() if key != "batch"}
    published = lake.snapshot(table, same).by("batch")
    batches = lake.up_to(run.batch, published)[:-1][-nights:]
    run_ids = sorted({run_id for batch in batches for run_id in published[batch].run_ids})
    rows = lake.rows("runs", {"run_id": run_ids, "complete": [True]}, ["totals"]).to_pylist() if run_ids else []
    return [figures(run.name, json.loads(row["totals"])) for row in rows]
