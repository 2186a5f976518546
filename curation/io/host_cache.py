"""One checked copy a host of an immutable file, shared by all its worker processes through the page cache.

A file on a local disk is used where it lies, and read once a process to be checked. A file on S3 is copied once into
the host's cache folder, under a lock and checked on its way, and every process of the host maps that copy. A mark
beside it says its size and time when it was checked; a copy that is otherwise now is fetched anew. The cache is named
by content, so a copy is never stale; nothing in it is lost that cannot be fetched again, and it may be deleted whenever
no job runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation.errors import InputError, UsageError
from curation.io.cache_dir import cache_folder
from curation.io.failures import named_failure
from curation.io.paths import is_s3
from curation.io.storage import Storage

CHUNK = 4 << 20


def checked_file(storage: Storage, path: str, sha256: str) -> Path:
    """Return a local path with the content of an immutable file.

    Args:
        storage: reads the file when it is on S3.
        path: where the file lies, a local path or an s3:// URI.
        sha256: its content's SHA-256 in hexadecimal.

    Raises InputError when the file is missing, unreadable or has other content, UsageError when the cache folder
    cannot be written.
    """
    if not is_s3(path):
        check(storage, path, sha256)
        return Path(path)
    copy = cache_folder() / "files" / sha256[:2] / sha256
    if not _is_whole(copy):
        with _locked(copy):
            if not _is_whole(copy):  # another process may have brought it while this one waited
                _fetch(storage, path, sha256, copy)
                _mark_of(copy).write_text(_state(copy))
    return copy


def _is_whole(copy: Path) -> bool:
    """Tell whether a copy is as it was when it was checked."""
    try:
        return _mark_of(copy).read_text() == _state(copy)
    except OSError:  # not there, or not to be read: `_locked` says what is wrong
        return False


def _state(copy: Path) -> str:
    found = copy.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _mark_of(copy: Path) -> Path:
    return copy.with_suffix(".checked")


def check(storage: Storage, path: str, sha256: str) -> None:
    """Raise InputError unless the file has this SHA-256."""
    digest = hashlib.sha256()
    for chunk in _chunks(storage, path):
        digest.update(chunk)
    _compare(path, digest.hexdigest(), sha256)


def _compare(path: str, found: str, sha256: str) -> None:
    if found != sha256:
        raise InputError(f"{path} is damaged: its checksum is not the one it was published with")


@contextmanager
def _locked(copy: Path) -> Iterator[None]:
    """Hold the host's lock on one copy; it ends with the process, however that ends."""
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


def _fetch(storage: Storage, path: str, sha256: str, copy: Path) -> None:
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=f".{copy.name}.", dir=copy.parent)
    try:
        with os.fdopen(handle, "wb") as sink:
            for chunk in _chunks(storage, path):
                digest.update(chunk)
                sink.write(chunk)
            sink.flush()
            os.fsync(sink.fileno())  # a copy that has its name has its content, whatever happens to the host
        _compare(path, digest.hexdigest(), sha256)
        Path(name).replace(copy)
    finally:
        Path(name).unlink(missing_ok=True)
