"""Run one night: ingest, match, balance, fetch_images and report for one batch.

Each stage skips published work, so a night can be killed at any point and run again.
"""

from __future__ import annotations

import sys

from jobs import balance, fetch_images, ingest, match, report
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main, run_job
from jobs.runtime.runs import Outcome
from jobs.runtime.spec import open_match_spec, recipe_keys

STEPS = (ingest.JOB, match.JOB, balance.JOB, fetch_images.JOB, report.JOB)


def run(context: Context) -> list[Outcome]:
    """Run the steps in order; every step logs its own summary.

    Config errors that would stop a later step are looked for first, before Spark starts and hours pass.
    """
    match_id = open_match_spec(context).match_id
    context.lake.check_recipe(context.config.recipe, recipe_keys(context.config, match_id))
    for step in STEPS:
        run_job(step, context)
    return []


JOB = Job("nightly", __doc__ or "", run, required=("lake", "batch", "ingest.inputs"))

if __name__ == "__main__":
    sys.exit(main("jobs.nightly"))
