"""Run one night: ingest, match, balance, fetch_images and report for one batch.

Each stage skips published work, so a night can be killed at any point and run again. With `--dry_run`, the command
writes to stdout which stages would run and why, with an estimate from earlier runs, and changes nothing.

With `--catch_up` and no batch, it runs every night that has something to do, in order: batches whose inputs arrived
late, that failed, are incomplete, or became stale because an earlier one changed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydantic import Field

from curation.errors import UsageError
from jobs import balance, fetch_images, ingest, match, report
from jobs.runtime.batches.catch_up import catch_up
from jobs.runtime.batches.plan import plan
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main, run_job
from jobs.runtime.runs import Outcome
from jobs.runtime.spec import open_match_spec, recipe_keys
from jobs.tasks.images.checks import check_settings

STEPS = (ingest.JOB, match.JOB, balance.JOB, fetch_images.JOB, report.JOB)


def run(context: Context) -> list[Outcome]:
    """Run one night, or with `catch_up` all nights that have something to do."""
    _check_batch(context)
    return catch_up(context, STEPS, run_night) if context.catch_up else run_night(context, STEPS)


def _check_batch(context: Context) -> None:
    """Raise UsageError unless there is either a batch or `--catch_up`."""
    if context.catch_up and context.config.batch is not None:
        raise UsageError("--catch_up: it finds the batches itself: leave out `batch`")
    if not context.catch_up and context.config.batch is None:
        raise UsageError(
            "config: key `batch` is missing: python -m jobs.nightly needs it: set it in the file or as --batch, or "
            "give --catch_up"
        )


def run_night(context: Context, steps: Sequence[Job]) -> list[Outcome]:
    """Run the steps in order; every step logs its own summary.

    Config errors that would stop a later step are looked for first, before Spark starts and hours pass.
    """
    match_id = open_match_spec(context).match_id
    check_settings(context)
    context.lake.check_recipe(context.config.recipe, recipe_keys(context.config, match_id))
    if context.dry_run:
        sys.stdout.writelines(f"{stage.line()}\n" for stage in plan(context, steps))
        return []
    return [outcome for step in steps for outcome in run_job(step, context, is_step=True)]


class NightlyOptions(ingest.IngestOptions):
    """Whether to run the night or only to plan it."""

    dry_run: bool = Field(False, description="only print which stages would run, why, and for about how long")
    catch_up: bool = Field(False, description="run all nights that have something to do, in order")
    since: str | None = Field(None, description="the first batch that --catch_up looks at; default: all")


REQUIRED = ("lake", "ingest.inputs|ingest.sources")
JOB = Job("nightly", __doc__ or "", run, required=REQUIRED, options=NightlyOptions, holds_lease=True)

if __name__ == "__main__":
    sys.exit(main("jobs.nightly"))
