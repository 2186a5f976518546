"""Removes what no published version needs: files of replaced versions, of runs that never published, working files.

Nothing younger than `gc.retention_hours` goes, so a run at work and a trainer that reads an older version are safe.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta

from curation.lake.schemas import PARTITIONS
from jobs.runtime.job import Context, Job, main
from jobs.runtime.stage import Outcome

log = logging.getLogger(__name__)


def run(context: Context) -> list[Outcome]:
    """Vacuum every table and drop old working folders."""
    lake, hours, dry_run = context.lake, context.config.gc.retention_hours, context.config.gc.dry_run
    removed = 0
    for name in PARTITIONS:
        table = lake.table(name)
        if table is None:
            continue
        files = table.vacuum(retention_hours=hours, dry_run=dry_run, enforce_retention_duration=False, full=True)
        removed += len(files)
        log.info("gc: %s: %d files %s", name, len(files), "would go" if dry_run else "removed")
    before = datetime.now(UTC) - timedelta(hours=hours)
    folders = {
        file.path.partition("/_staging/")[2].split("/")[0] for file in lake.storage.list_files(lake.uri("_staging"))
    }
    old = {run_id for run_id in folders - {"groups"} if started_at(run_id) < before}
    for run_id in sorted(old):
        log.info("gc: working files of run %s %s", run_id, "would go" if dry_run else "removed")
        if not dry_run:
            lake.storage.delete_folder(lake.uri("_staging", run_id))
    groups = lake.storage.older_files(lake.uri("_staging", "groups"), before)
    log.info("gc: kept groups of %d input files %s", len(groups), "would go" if dry_run else "removed")
    if not dry_run:
        lake.storage.delete_files(groups)
    figures = {"files_removed": 0 if dry_run else removed, "staging_removed": len(old), "groups_removed": len(groups)}
    return [Outcome("gc", "-", True, figures)]


def started_at(run_id: str) -> datetime:
    """Return when a run started, which its id begins with."""
    return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


JOB = Job("gc", __doc__ or "", run, required=("lake",))

if __name__ == "__main__":
    sys.exit(main("jobs.gc"))
