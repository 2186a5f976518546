"""Writes HTML pages: `LAKE/reports/<recipe>/<batch>.html` about a batch, `index.html` and `trends.html` about all.

The page of a batch shows every stage that has run and names those that have not, so it can be written at any time.
"""

from __future__ import annotations

import logging
import sys
import time

from curation.report import index_page, night_page, trends_page
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.runs import Outcome
from jobs.tasks.report import index, night

log = logging.getLogger(__name__)


def run(context: Context) -> list[Outcome]:
    """Write the page of the batch and recipe, the index of all pages, and the trends."""
    started = time.monotonic()
    lake, recipe, batch = context.lake, context.config.recipe, context.batch
    page = lake.layout.batch_page(recipe, batch)
    context.storage.write_bytes(page, night_page.render(night.collect(lake, recipe, batch)).encode())
    _write_index(context)
    log.info("report: %s, listed in %s", page, lake.layout.index_page)
    return [Outcome("report", "-", True, {"page": page}, seconds={"report": round(time.monotonic() - started, 3)})]


def _write_index(context: Context) -> None:
    """Write the index of all pages and the trends, unless those that exist were made from the same data."""
    storage, path = context.storage, context.lake.layout.index_page
    if storage.exists(path):
        page = storage.read_bytes(path).decode("utf-8", "replace")
        if index_page.is_made_from(page, index.state(context.lake)):
            return
    found = index.collect(context.lake)
    storage.write_bytes(context.lake.layout.trends_page, trends_page.render(found).encode())
    storage.write_bytes(path, index_page.render(found).encode())  # last, because it says what both were made from


JOB = Job("report", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.report"))
