"""Run a job: as `python -m jobs.<command>`, as `spark-submit jobs/<command>.py`, or as a step of `jobs.nightly`."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from curation.cli.command import Command, CommandOptions
from curation.cli.run import run_command
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.metrics import write_metrics
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job: its name, its description in `--help`, the function that runs it, and the config keys it needs.

    `stages` are the stages that it runs, in order; each reads the output of the one before. The fields of `options` are
    flags that are fields of the context too. `sections` are the sections of the config that this job mainly uses;
    `--help` shows them first. A job with `creates_lake` needs no `--create`.
    """

    name: str
    summary: str
    run: Callable[[Context], list[Outcome]]
    required: Sequence[str] = field(default=("lake", "batch"))
    stages: Sequence[type[Stage]] = ()
    options: type[CommandOptions] = CommandOptions
    sections: Sequence[str] = ()
    creates_lake: bool = False


def main(module: str, argv: Sequence[str] | None = None) -> int:
    """Run the job that `module` defines as `JOB` and return its exit code.

    The module is imported by name even if it is the script being run, so that workers can import by the same name
    what Spark sends them.
    """
    job: Job = importlib.import_module(module).JOB

    def command(arguments: Sequence[str]) -> None:
        command_line = Command(f"python -m {module}", job.summary, job.options, Config, job.required, job.sections)
        options, config = command_line.parse(arguments)
        if job.creates_lake:
            config = config.model_copy(update={"create": True})
        run_job(job, Context(config, job.name, **options.model_dump()))

    return run_command(command, argv)


def run_job(job: Job, context: Context) -> list[Outcome]:
    """Run a job, then log one summary line per stage and write its metrics (of a dry run, none)."""
    if "lake" in job.required and not context.config.create:
        context.lake.check_exists()  # before inputs are listed and Spark starts
    outcomes = job.run(context)
    for outcome in outcomes:
        log.info("%s", outcome.line())
        if outcome.fresh and not outcome.dry_run:
            write_metrics(context, outcome)
    return outcomes
