"""One night: ingest, match, balance, fetch_images and report for one batch.

Each stage skips what is published already, so the night can be killed anywhere and simply run again.
"""

from __future__ import annotations

import sys

from jobs import balance, fetch_images, ingest, match, report
from jobs.runtime.job import Context, Job, main, run_job
from jobs.runtime.stage import Outcome

STEPS = (ingest.JOB, match.JOB, balance.JOB, fetch_images.JOB, report.JOB)


def run(context: Context) -> list[Outcome]:
    """Run the steps in order; every step says what it did as it ends.

    What could stop a later step for its config is looked at first, before Spark starts and hours go by.
    """
    match_id = match.open_matching(context).match_id
    context.lake.check_recipe(context.config.recipe, balance.meaning(context.config, match_id))
    for step in STEPS:
        run_job(step, context)
    return []


JOB = Job("nightly", __doc__ or "", run, required=("lake", "batch", "ingest.inputs"))

if __name__ == "__main__":
    sys.exit(main("jobs.nightly"))
