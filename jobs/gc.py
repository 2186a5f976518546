"""Remove files that no published version needs: replaced versions, runs that never published, working files.

The many small files of `runs`, `ledger` and `tombstones` are merged, and the log of each table gets a checkpoint, so
that a night starts as fast in an old lake as in a new one; the next run removes the files that were merged.

Nothing younger than `gc.retention_hours` is removed, so active runs and trainers that read an older version are safe.
With `--gc.dry_run true` nothing is removed: every file that would be is written to stdout with its size in bytes, and
the totals are those of the run without the option.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from curation.cli.counts import count
from curation.io.backend import FileStat
from curation.io.paths import join
from curation.lake.merge_files import PLANS, merge_files
from curation.lake.schemas import PARTITIONS
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.runs import Outcome, started_at

log = logging.getLogger(__name__)


def run(context: Context) -> list[Outcome]:
    """Vacuum every table and remove old working files. Raises UsageError if there is no lake, even with `create`."""
    context = Context(context.config.model_copy(update={"create": False}), context.name)
    dry_run = context.config.gc.dry_run
    before = datetime.now(UTC) - timedelta(hours=context.config.gc.retention_hours)
    tables = [file for name in PARTITIONS for file in vacuum_table(context, name)]
    runs, staging = remove_staging(context, before)
    groups = remove_groups(context, before)
    merged = sum(merge_files(context.lake, name, dry_run=dry_run) for name in PLANS)
    if not dry_run:
        context.lake.write_checkpoints()
    removed = [*tables, *staging, *groups]
    if dry_run:
        sys.stdout.writelines(f"{file.size}\t{file.path}\n" for file in removed)
    counters = {
        "files_removed": len(tables),
        "staging_removed": len(runs),
        "groups_removed": len(groups),
        "files_merged": merged,
        "bytes_removed": sum(file.size for file in removed),
    }
    return [Outcome("gc", "-", True, counters, dry_run=dry_run)]


def vacuum_table(context: Context, name: str) -> list[FileStat]:
    """Remove the data files of a table that no version within the retention needs; return them."""
    table, root, section = context.lake.table(name), context.lake.layout.table(name), context.config.gc
    if table is None:
        return _clear_table(context, name)
    sizes = {file.path: file for file in context.storage.list_files(root)}
    paths = table.vacuum(
        retention_hours=section.retention_hours,
        dry_run=section.dry_run,
        enforce_retention_duration=False,
        full=True,
    )
    files = [sizes.get(path, FileStat(path, 0, "")) for path in sorted(join(root, path) for path in paths)]
    _log(context, name, files)
    return files


def _clear_table(context: Context, name: str) -> list[FileStat]:
    """Remove the old files of a table that has no version, because its runs were killed before any published."""
    storage, root = context.storage, context.lake.layout.table(name)
    if any(storage.list_files(join(root, "_delta_log"))):
        return []
    before = datetime.now(UTC) - timedelta(hours=context.config.gc.retention_hours)
    files = [storage.stat(path) for path in sorted(storage.older_files(root, before))]
    if not context.config.gc.dry_run:
        storage.delete_files([file.path for file in files])
    _log(context, name, files)
    return files


def remove_staging(context: Context, before: datetime) -> tuple[list[str], list[FileStat]]:
    """Remove the working files of runs that started before a moment; return the runs and the files."""
    lake = context.lake
    files = [
        (run_id, file)
        for file in lake.storage.list_files(lake.layout.staging)
        if (run_id := lake.layout.staging_run_id(file.path)) and started_at(run_id) < before
    ]
    run_ids = sorted({run_id for run_id, _ in files})
    for run_id in run_ids:
        _log(context, f"working files of run {run_id}", [file for owner, file in files if owner == run_id])
        if not context.config.gc.dry_run:
            lake.storage.delete_folder(lake.layout.run_staging(run_id))
    return run_ids, [file for _, file in files]


def remove_groups(context: Context, before: datetime) -> list[FileStat]:
    """Remove cached groups of input files that were last written before a moment; return the files."""
    lake = context.lake
    sizes = {file.path: file for file in lake.storage.list_files(lake.layout.group_caches)}
    old = sorted(lake.storage.older_files(lake.layout.group_caches, before))
    files = [sizes.get(path) or lake.storage.stat(path) for path in old]  # hidden files are not listed
    _log(context, "cached groups of input files", files)
    if not context.config.gc.dry_run:
        lake.storage.delete_files([file.path for file in files])
    return files


def _log(context: Context, what: str, files: Sequence[FileStat]) -> None:
    done = "would be removed" if context.config.gc.dry_run else "removed"
    log.info("gc: %s: %s, %d bytes %s", what, count(len(files), "file"), sum(file.size for file in files), done)


JOB = Job("gc", __doc__ or "", run, required=("lake",), sections=("gc",))

if __name__ == "__main__":
    sys.exit(main("jobs.gc"))
