"""How a job runs: `python -m jobs.x`, `spark-submit jobs/x.py` and as a step of `jobs.nightly` share this one path."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from pyspark.sql import SparkSession

from curation.cli.run import run_command
from curation.cli.settings import load_config
from curation.io.storage import Storage, join
from curation.lake.lake import Lake
from jobs.runtime import session
from jobs.runtime.config import Config
from jobs.runtime.stage import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """What every job works with; the Spark session starts when a job first asks for it."""

    config: Config
    name: str

    @cached_property
    def storage(self) -> Storage:
        """How files are reached."""
        return self.config.open_storage()

    @cached_property
    def lake(self) -> Lake:
        """The lake of the config."""
        assert self.config.lake is not None, "checked when the config was read"
        return Lake(self.config.lake, self.storage)

    @cached_property
    def spark(self) -> SparkSession:
        """The Spark session."""
        return session.start(self.name, self.config.spark)

    @property
    def batch(self) -> str:
        """The batch of the config."""
        assert self.config.batch is not None, "checked when the config was read"
        return self.config.batch


@dataclass(frozen=True)
class Job:
    """A job: its name, what `--help` says of it, the keys it cannot do without, and what it does."""

    name: str
    summary: str
    run: Callable[[Context], list[Outcome]]
    required: Sequence[str] = field(default=("lake", "batch"))


def main(module: str, argv: Sequence[str] | None = None) -> int:
    """Run the job that `module` defines as `JOB` and return its exit code.

    The module is imported by name even when it is the script being run, so that what Spark sends to the workers is
    found there under the same name.
    """
    job: Job = importlib.import_module(module).JOB

    def command(arguments: Sequence[str]) -> None:
        prog = f"python -m {module}"
        config = load_config(Config, arguments, prog=prog, description=job.summary, required=job.required)
        run_job(job, Context(config, job.name))

    return run_command(command, argv)


def run_job(job: Job, context: Context) -> list[Outcome]:
    """Run a job, then say in a line a stage what it did and write its metrics."""
    outcomes = job.run(context)
    for outcome in outcomes:
        log.info("%s", outcome.line())
        if outcome.fresh:
            write_metrics(context, outcome)
    return outcomes


def write_metrics(context: Context, outcome: Outcome) -> None:
    """Write a run's figures as a Prometheus text file, `worldcurate_<stage>.prom`."""
    registry = CollectorRegistry()
    labels = {"stage": outcome.stage, "batch": context.config.batch or ""}

    def gauge(name: str, meaning: str, figures: dict[str, float], label: str) -> None:
        metric = Gauge(f"worldcurate_{name}", meaning, [*labels, label], registry=registry)
        for key, value in figures.items():
            metric.labels(*labels.values(), key).set(value)

    totals = {key: value for key, value in outcome.totals.items() if isinstance(value, int | float)}
    gauge("total", "Figures of the run", totals, "figure")
    gauge("dropped", "Dropped, by reason", dict(outcome.drops), "reason")
    gauge("seconds", "Seconds by step", outcome.seconds, "step")
    folder = context.config.metrics or context.lake.uri("reports", "metrics")
    context.storage.write_bytes(join(folder, f"worldcurate_{outcome.stage}.prom"), generate_latest(registry))
