"""Run one night: ingest, match, balance, fetch_images and report for one batch.

Each stage skips published work, so a night can be killed at any point and run again. With `--dry_run`, the command
writes to stdout which stages would run and why, with an estimate from earlier runs, and changes nothing.
"""

from __future__ import annotations

import sys

from pydantic import Field

from jobs import balance, fetch_images, ingest, match, report
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main, run_job
from jobs.runtime.plan import plan
from jobs.runtime.runs import Outcome
from jobs.runtime.spec import open_match_spec, recipe_keys
from jobs.tasks.images.checks import check_settings

STEPS = (ingest.JOB, match.JOB, balance.JOB, fetch_images.JOB, report.JOB)


def run(context: Context) -> list[Outcome]:
    """Run the steps in order; every step logs its own summary.

    Config errors that would stop a later step are looked for first, before Spark starts and hours pass.
    """
    match_id = open_match_spec(context).match_id
    check_settings(context)
    context.lake.check_recipe(context.config.recipe, recipe_keys(context.config, match_id))
    if context.dry_run:
        sys.stdout.writelines(f"{stage.line()}\n" for stage in plan(context, STEPS))
        return []
    return [outcome for step in STEPS for outcome in run_job(step, context)]


class NightlyOptions(ingest.IngestOptions):
    """Whether to run the night or only to plan it."""

    dry_run: bool = Field(False, description="only print which stages would run, why, and for about how long")


REQUIRED = ("lake", "batch", "ingest.inputs|ingest.sources")
JOB = Job("nightly", __doc__ or "", run, required=REQUIRED, options=NightlyOptions)

if __name__ == "__main__":
    sys.exit(main("jobs.nightly"))
