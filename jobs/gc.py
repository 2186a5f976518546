"""Remove files that no published version needs: replaced versions, runs that never published, working files.

Nothing younger than `gc.retention_hours` is removed, so active runs and trainers that read an older version are safe.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta

from curation.lake.schemas import PARTITIONS
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.runs import Outcome

log = logging.getLogger(__name__)


def run(context: Context) -> list[Outcome]:
    """Vacuum every table and remove old working files."""
    before = datetime.now(UTC) - timedelta(hours=context.config.gc.retention_hours)
    counters = {
        "files_removed": vacuum_tables(context),
        "staging_removed": remove_staging(context, before),
        "groups_removed": remove_groups(context, before),
    }
    return [Outcome("gc", "-", True, counters)]


def vacuum_tables(context: Context) -> int:
    """Remove data files that no version within the retention needs; return their number, 0 in a dry run."""
    removed, section = 0, context.config.gc
    for name in PARTITIONS:
        table = context.lake.table(name)
        if table is None:
            continue
        files = table.vacuum(
            retention_hours=section.retention_hours,
            dry_run=section.dry_run,
            enforce_retention_duration=False,
            full=True,
        )
        removed += len(files)
        log.info("gc: %s: %d files %s", name, len(files), _done(context))
    return 0 if section.dry_run else removed


def remove_staging(context: Context, before: datetime) -> int:
    """Remove the working files of runs that started before a moment; return the number of runs."""
    lake = context.lake
    files = lake.storage.list_files(lake.layout.staging)
    run_ids = {run_id for file in files if (run_id := lake.layout.staging_run_id(file.path))}
    old = sorted(run_id for run_id in run_ids if started_at(run_id) < before)
    for run_id in old:
        log.info("gc: working files of run %s %s", run_id, _done(context))
        if not context.config.gc.dry_run:
            lake.storage.delete_folder(lake.layout.run_staging(run_id))
    return len(old)


def remove_groups(context: Context, before: datetime) -> int:
    """Remove cached groups of input files that were last written before a moment; return their number."""
    lake = context.lake
    groups = lake.storage.older_files(lake.layout.group_caches, before)
    log.info("gc: cached groups of %d input files %s", len(groups), _done(context))
    if not context.config.gc.dry_run:
        lake.storage.delete_files(groups)
    return len(groups)


def _done(context: Context) -> str:
    return "would be removed" if context.config.gc.dry_run else "removed"


def started_at(run_id: str) -> datetime:
    """Return when a run started; its id starts with that time."""
    return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


JOB = Job("gc", __doc__ or "", run, required=("lake",))

if __name__ == "__main__":
    sys.exit(main("jobs.gc"))
