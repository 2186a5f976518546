"""Metrics of stages and jobs as Prometheus text files, `worldcurate_<stage>.prom`.

Every run writes the status of its stages: when it ended and how, also if it failed or had nothing to do. The figures of
a stage are those of its last run that succeeded. A family without values is left out. A push gateway gets the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest, pushadd_to_gateway
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from curation.cli.run import exit_code_of
from curation.errors import WorldcurateError
from curation.io.paths import join
from curation.lake.lake import Lake
from jobs.runtime.batches.drift import ALARMS
from jobs.runtime.context import Context
from jobs.runtime.runs import Outcome

log = logging.getLogger(__name__)

PREFIX = "worldcurate_"
PUSH_TIMEOUT_S = 10
LEVELS = ("p", "t_en")  # totals that are no counts
LAST_SUCCESS = f"{PREFIX}last_success_timestamp_seconds"
STATUS = {
    LAST_SUCCESS: "When a run last ended with exit code 0",
    f"{PREFIX}last_run_timestamp_seconds": "When the last run ended",
    f"{PREFIX}last_run_duration_seconds": "Seconds that the last run took",
    f"{PREFIX}last_run_exit_code": "Exit code of the last run",
    f"{PREFIX}last_run_complete": "Whether the last run succeeded and no input failed",
}


@dataclass(frozen=True, eq=False)
class _Collected:
    """A collector of families that are known already."""

    families: Sequence[Metric]

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def write_outcome(context: Context, outcome: Outcome) -> None:
    """Write the status and the figures of a stage's run."""
    labels = {"stage": outcome.stage, "batch": context.config.batch or ""}
    status = _status(outcome.stage, outcome.elapsed, exit_code=0, complete=outcome.complete)
    _write(context, outcome.stage, [*status, *_figures(outcome, labels)])


def write_success(context: Context, job: str, elapsed: float, *, complete: bool) -> None:
    """Write the status of a job that has no stage of its name."""
    _write(context, job, _status(job, elapsed, exit_code=0, complete=complete))


def write_failure(context: Context, stage: str, elapsed: float, error: BaseException) -> None:
    """Write the status of a stage or job that failed; the figures of its last success stay.

    Nothing is written if there is no folder for metrics, and a failure to write is only logged.
    """
    try:
        earlier = _read(context, stage)
        success = [family for family in earlier if family.name == LAST_SUCCESS]
        figures = [family for family in earlier if family.name not in STATUS and family.samples]
        status = _status(stage, elapsed, exit_code=exit_code_of(error), complete=False)
        _write(context, stage, [*success, *status, *figures])
    except WorldcurateError as second:
        log.warning("metrics of %s: %s", stage, second)


def _status(stage: str, elapsed: float, *, exit_code: int, complete: bool) -> list[Metric]:
    now = time.time()
    values = ([now] if exit_code == 0 else [None]) + [now, elapsed, exit_code, complete]
    families = list[Metric]()
    for (name, text), value in zip(STATUS.items(), values, strict=True):
        if value is not None:
            family = GaugeMetricFamily(name, text, labels=["stage"])
            family.add_metric([stage], value)
            families.append(family)
    return families


def _figures(outcome: Outcome, labels: Mapping[str, str]) -> list[Metric]:
    """Return the figures of a run that have values: counts as counters, all else as gauges."""
    numbers = {
        key: value
        for key, value in outcome.totals.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    counts = {key: value for key, value in numbers.items() if isinstance(value, int) and key not in LEVELS}
    levels = {key: value for key, value in numbers.items() if key not in counts}
    levels[ALARMS] = len(outcome.totals.get(ALARMS, ()))
    families = list[Metric]()
    for kind, name, text, values, label in (
        (CounterMetricFamily, "worldcurate", "Counts of the batch", counts, "figure"),
        (CounterMetricFamily, f"{PREFIX}dropped", "Dropped, by reason", outcome.drops, "reason"),
        (GaugeMetricFamily, f"{PREFIX}level", "Figures of the batch that are no counts", levels, "figure"),
        (GaugeMetricFamily, f"{PREFIX}seconds", "Seconds by step", outcome.seconds, "step"),
    ):
        if values:
            family = kind(name, text, labels=[*labels, label])
            for key, value in values.items():
                family.add_metric([*labels.values(), key], value)
            families.append(family)
    return families


def _folder(context: Context) -> str | None:
    """Return the folder `metrics` of the config, or that of the lake; None if there is no lake."""
    if context.config.metrics or context.config.lake is None:
        return context.config.metrics
    lake = Lake(context.config.lake, context.storage)
    return lake.layout.metrics if lake.exists() else None


def _read(context: Context, stage: str) -> list[Metric]:
    """Return the families that the last run of a stage wrote; none if it wrote none that can be read."""
    folder = _folder(context)
    path = join(folder or "", f"{PREFIX}{stage}.prom")
    if folder is None or not context.storage.exists(path):
        return []
    try:
        return list(text_string_to_metric_families(context.storage.read_bytes(path).decode()))
    except Exception as error:  # the parser raises errors of many kinds
        log.warning("metrics of %s: %s is damaged and is replaced: %s", stage, path, error)
        return []


def _write(context: Context, stage: str, families: Sequence[Metric]) -> None:
    if folder := _folder(context):
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(families))
        context.storage.write_bytes(join(folder, f"{PREFIX}{stage}.prom"), generate_latest(registry))
        if address := context.config.push_gateway:
            _push(address, stage, registry)


def _push(address: str, stage: str, registry: CollectorRegistry) -> None:
    """Send the metrics of a stage to a push gateway, in a group of their own; a failure is only logged."""
    try:
        pushadd_to_gateway(address, "worldcurate", registry, {"stage": stage}, timeout=PUSH_TIMEOUT_S)
    except OSError as error:
        log.warning("push_gateway: the metrics of %s could not be sent to %s: %s", stage, address, error)
