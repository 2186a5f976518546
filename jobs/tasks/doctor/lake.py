"""Checks of the lake: whether it exists, and whether its storage does what jobs need."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.lake import Lake
from jobs.runtime.config import Config
from jobs.tasks.doctor.findings import Check, Finding, failed

MAX_SKEW = timedelta(seconds=60)  # leases last ten minutes, and `gc` compares the times of files with the clock
CONTENT = b"worldcurate doctor"


def lake_checks(config: Config) -> Iterator[tuple[str, Check]]:
    """Yield the checks of the config's lake; none if it names no lake.

    Their files are below `_staging`, in the folder of a run, so that `gc` removes what a killed doctor leaves.
    """
    if config.lake is None:
        return
    storage = config.open_storage()
    lake = Lake(config.lake, storage, config.batch_order)
    folder = lake.layout.run_staging(f"{datetime.now(UTC):%Y%m%dT%H%M%S}-doctor-{uuid.uuid4().hex[:8]}")
    yield "lake", lambda: _lake(lake, creates=config.create)
    if lake.exists() or config.create:
        yield "storage: write, read and list", lambda: _read_and_write(storage, folder)
        yield "storage: conditional write", lambda: _conditional_write(storage, folder)
        yield "clock", lambda: _clock(storage, folder)


def _lake(lake: Lake, *, creates: bool) -> Finding:
    if lake.exists():
        return Finding("lake", "ok", f"{lake.root}, {len(lake.batches())} batches")
    if creates:
        return Finding("lake", "ok", f"{lake.root} will be created")
    lake.check_exists()
    raise AssertionError("it was there a moment ago, or it is not there")


def _read_and_write(storage: Storage, folder: str) -> Finding:
    name, path = "storage: write, read and list", join(folder, "written")
    try:
        storage.write_bytes(path, CONTENT)
        if storage.read_bytes(path) != CONTENT:
            return failed(name, f"{path} has other content than was written", "use another storage", 4)
        if path not in [file.path for file in storage.list_files(folder)]:
            return failed(name, f"{path} was written and is not listed", "use a storage with consistent listings", 4)
        storage.delete_files([path])
        if storage.exists(path):
            return failed(name, f"{path} was deleted and is still there", "allow deletions to this user", 2)
    finally:
        storage.delete_folder(folder)
    return Finding(name, "ok", folder.rpartition("/")[0])


def _conditional_write(storage: Storage, folder: str) -> Finding:
    name, path = "storage: conditional write", join(folder, "condition")
    try:
        first, second = storage.put_if_absent(path, CONTENT), storage.put_if_absent(path, b"second")
        if not first or second or storage.read_bytes(path) != CONTENT:
            return failed(
                name,
                "a file that exists was replaced: two jobs could both publish",
                "use a storage that honors If-None-Match: *, such as AWS S3 or SeaweedFS",
            )
    finally:
        storage.delete_folder(folder)
    return Finding(name, "ok", "the second writer of a file is refused")


def _clock(storage: Storage, folder: str) -> Finding:
    """Compare the clock of this machine with that of the storage, which gives files their times."""
    path = join(folder, "clock")
    try:
        before = datetime.now(UTC)
        storage.write_bytes(path, CONTENT)
        after = datetime.now(UTC)
        is_behind = bool(storage.older_files(folder, before - MAX_SKEW))
        is_ahead = not storage.older_files(folder, after + MAX_SKEW)
    finally:
        storage.delete_folder(folder)
    limit = f"{MAX_SKEW.total_seconds():.0f} s"
    if is_behind or is_ahead:
        order = "behind" if is_behind else "ahead of"
        found = f"the clock of the storage is more than {limit} {order} that of this machine"
        return failed("clock", found, "synchronize the clocks (NTP, chrony)")
    return Finding("clock", "ok", f"within {limit} of the storage")
