"""Run a job: as `python -m jobs.<command>`, as `spark-submit jobs/<command>.py`, or as a step of `jobs.nightly`."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from curation.cli.run import run_command
from curation.cli.settings import load_config
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.metrics import write_metrics
from jobs.runtime.runs import Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job: its name, its description in `--help`, the function that runs it, and the config keys it needs."""

    name: str
    summary: str
    run: Callable[[Context], list[Outcome]]
    required: Sequence[str] = field(default=("lake", "batch"))


def main(module: str, argv: Sequence[str] | None = None) -> int:
    """Run the job that `module` defines as `JOB` and return its exit code.

    The module is imported by name even if it is the script being run, so that workers can import by the same name
    what Spark sends them.
    """
    job: Job = importlib.import_module(module).JOB

    def command(arguments: Sequence[str]) -> None:
        prog = f"python -m {module}"
        config = load_config(Config, arguments, prog=prog, description=job.summary, required=job.required)
        run_job(job, Context(config, job.name))

    return run_command(command, argv)


def run_job(job: Job, context: Context) -> list[Outcome]:
    """Run a job, then log one summary line per stage and write its metrics (of a dry run, none)."""
    outcomes = job.run(context)
    for outcome in outcomes:
        log.info("%s", outcome.line())
        if outcome.fresh and not outcome.dry_run:
            write_metrics(context, outcome)
    return outcomes
