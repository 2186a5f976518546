"""One verified copy per host of an immutable file, shared by all its worker processes through the page cache.

A file on a local disk is used directly, and each process reads it once to verify it. A file on S3 is copied once into
the host's cache folder, under a lock, and verified on the way; every process of the host maps that copy. A small file
next to the copy records its size and modification time when it was verified; if they differ, the copy is fetched again.
Copies are named by content, so they are never stale. Everything in the cache can be fetched again, so it may be deleted
whenever no job runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from curation.errors import DamagedLakeError, UsageError
from curation.io.cache_dir import cache_folder
from curation.io.failures import named_failure
from curation.io.paths import is_s3
from curation.io.storage import Storage

CHUNK = 4 << 20


def checked_file(storage: Storage, path: str, sha256: str) -> Path:
    """Return a local path with the content of an immutable file.

    Args:
        storage: reads the file when it is on S3.
        path: a local path or an s3:// URI.
        sha256: the SHA-256 of its content, in hexadecimal.

    Raises InputError when the file is missing or unreadable, DamagedLakeError when it has other content, and UsageError
    when the cache folder cannot be written.
    """
    if not is_s3(path):
        check(storage, path, sha256)
        return Path(path)
    copy = cache_folder() / "files" / sha256[:2] / sha256
    return cached_copy(copy, lambda sink: _fetch(storage, path, sha256, sink))


def cached_copy(copy: Path, write: Callable[[BinaryIO], None]) -> Path:
    """Return a file in the cache after `write` has written it, unless it is there, unchanged since it was written.

    One process of the host writes; the others wait. Raises UsageError when the cache folder cannot be written, and what
    `write` raises.
    """
    if not _is_intact(copy):
        with _locked(copy):
            if not _is_intact(copy):  # another process may have written it while this one waited
                _write(copy, write)
                _record_of(copy).write_text(_state(copy))
    return copy


def _is_intact(copy: Path) -> bool:
    """Return whether a copy is unchanged since it was verified."""
    try:
        return _record_of(copy).read_text() == _state(copy)
    except OSError:  # missing or unreadable: `_locked` reports the cause
        return False


def _state(copy: Path) -> str:
    info = copy.stat()
    return f"{info.st_size} {info.st_mtime_ns}"


def _record_of(copy: Path) -> Path:
    return copy.with_suffix(".checked")


def check(storage: Storage, path: str, sha256: str) -> None:
    """Raise DamagedLakeError unless the file has this SHA-256."""
    digest = hashlib.sha256()
    for chunk in _chunks(storage, path):
        digest.update(chunk)
    _compare(path, digest.hexdigest(), sha256)


def _compare(path: str, actual: str, sha256: str) -> None:
    if actual != sha256:
        remedy = "run `python -m jobs.verify --config c.yaml --repair`, then the job that it names"
        raise DamagedLakeError(f"{path} is damaged: its checksum differs from the published one: {remedy}")


@contextmanager
def _locked(copy: Path) -> Iterator[None]:
    """Hold the host's lock on one copy; it is released when the process ends, in whatever way."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.with_suffix(".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UsageError(f"cannot write the cache {copy.parent}: {error.strerror}: set WORLDCURATE_CACHE") from error


def _chunks(storage: Storage, path: str) -> Iterator[bytes]:
    with named_failure("read", path), storage.open_input(path) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _fetch(storage: Storage, path: str, sha256: str, sink: BinaryIO) -> None:
    digest = hashlib.sha256()
    for chunk in _chunks(storage, path):
        digest.update(chunk)
        sink.write(chunk)
    _compare(path, digest.hexdigest(), sha256)


def _write(copy: Path, write: Callable[[BinaryIO], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{copy.name}.", dir=copy.parent)
    try:
        with os.fdopen(handle, "wb") as sink:
            write(sink)
            sink.flush()
            os.fsync(sink.fileno())  # a copy has its name only after its content is on disk, even if the host crashes
        Path(name).replace(copy)
    finally:
        Path(name).unlink(missing_ok=True)
