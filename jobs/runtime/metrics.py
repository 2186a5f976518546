"""Metrics of a stage run as a Prometheus text file, `worldcurate_<stage>.prom`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from curation.io.paths import join
from jobs.runtime.context import Context
from jobs.runtime.runs import Outcome


def write_metrics(context: Context, outcome: Outcome) -> None:
    """Write the counters and timings of a run to the folder `metrics` of the config, or to the lake's reports."""
    registry = CollectorRegistry()
    labels = {"stage": outcome.stage, "batch": context.config.batch or ""}

    def gauge(name: str, documentation: str, values: dict[str, float], label: str) -> None:
        metric = Gauge(f"worldcurate_{name}", documentation, [*labels, label], registry=registry)
        for key, value in values.items():
            metric.labels(*labels.values(), key).set(value)

    totals = {key: value for key, value in outcome.totals.items() if isinstance(value, int | float)}
    gauge("total", "Figures of the run", totals, "figure")
    gauge("dropped", "Dropped, by reason", dict(outcome.drops), "reason")
    gauge("seconds", "Seconds by step", outcome.seconds, "step")
    folder = context.config.metrics or context.lake.layout.metrics
    context.storage.write_bytes(join(folder, f"worldcurate_{outcome.stage}.prom"), generate_latest(registry))
