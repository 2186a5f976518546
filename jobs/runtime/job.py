"""Run a job: as `python -m jobs.<command>`, as `spark-submit jobs/<command>.py`, or as a step of `jobs.nightly`."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from curation.cli.command import Command, CommandOptions
from curation.cli.run import run_command
from curation.cli.tracing import span
from curation.io.lease import hold_lease
from curation.lake.names import check_name
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.metrics import write_failure, write_outcome, write_success
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Stage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A job: its name, its description in `--help`, the function that runs it, and the config keys it needs.

    `stages` are the stages that it runs, in order; each reads the output of the one before. The fields of `options` are
    flags that are fields of the context too. `sections` are the sections of the config that this job mainly uses;
    `--help` shows them first. A job with `creates_lake` needs no `--create`. One with `holds_lease` writes what a night
    writes, so one process at a time runs it for a recipe.
    """

    name: str
    summary: str
    run: Callable[[Context], list[Outcome]]
    required: Sequence[str] = field(default=("lake", "batch"))
    stages: Sequence[type[Stage]] = ()
    options: type[CommandOptions] = CommandOptions
    sections: Sequence[str] = ()
    creates_lake: bool = False
    holds_lease: bool = False


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
        started = time.monotonic()
        outcomes = run_job(job, Context(config, job.name, **options.model_dump()))
        if len(outcomes) > 1:
            log.info("%s", summary(job.name, outcomes, time.monotonic() - started))

    return run_command(command, argv)


def run_job(job: Job, context: Context, *, is_step: bool = False) -> list[Outcome]:
    """Run a job, then log one summary line per stage and write the metrics (of a dry run, none).

    A job that fails writes metrics too. A step is a part of another job, which holds the lease. Raises InputError if
    another process holds it.
    """
    started = time.monotonic()
    try:
        if "lake" in job.required and not context.config.create:
            context.lake.check_exists()  # before inputs are listed and Spark starts
        lease = _lease(context) if job.holds_lease and not is_step else nullcontext()
        with lease, span(job.name, batch=context.config.batch or "", recipe=context.config.recipe):
            outcomes = job.run(context)
    except BaseException as error:
        if not (context.dry_run or (job.name == "gc" and context.config.gc.dry_run)):
            write_failure(context, job.name, time.monotonic() - started, error)
        raise
    elapsed = time.monotonic() - started
    for outcome in (outcome for outcome in outcomes if not outcome.reported):
        log.info("%s", outcome.line())
        outcome.reported = True
        outcome.elapsed = outcome.elapsed or elapsed
        if not outcome.dry_run:
            write_outcome(context, outcome)
    if not context.dry_run and job.name not in {outcome.stage for outcome in outcomes}:
        write_success(context, job.name, elapsed, complete=all(outcome.complete for outcome in outcomes))
    return outcomes


def _lease(context: Context) -> AbstractContextManager[None]:
    """Return the lease of the recipe, to be held while a job runs; nothing for a dry run."""
    if context.dry_run:
        return nullcontext()
    lake, recipe = context.lake, context.config.recipe
    check_name("recipe", recipe)
    return hold_lease(context.storage, lake.layout.lease(recipe), f"{context.name}: recipe {recipe} in {lake.root}")


def summary(job: str, outcomes: Sequence[Outcome], elapsed: float) -> str:
    """Return the line that ends a job of several stages."""
    worked = [outcome.stage for outcome in outcomes if outcome.fresh]
    incomplete = [outcome.stage for outcome in outcomes if not outcome.complete]
    parts = [f"ran {', '.join(worked)}"] if worked else []
    if idle := [outcome.stage for outcome in outcomes if not outcome.fresh]:
        parts.append(f"nothing to do for {', '.join(idle)}")
    result = f"incomplete ({', '.join(incomplete)}): the next run tries again" if incomplete else "complete"
    return f"{job}: {result}: {'; '.join(parts)} ({elapsed:.1f} s)"
