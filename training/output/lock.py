"""The output folder of a run: created and locked before anything else, so that two runs never share one."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation.errors import InputError, UsageError

log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
NOT_WRITABLE = {errno.EACCES, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS}


@contextmanager
def lock_output(folder: Path) -> Iterator[None]:
    """Create an output folder and lock it while the block runs; the lock ends with the process, however it ends.

    Raises UsageError if the folder cannot be written or another run has locked it, and InputError if the disk fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        problem = f"output: cannot write to {folder} ({error.strerror})"
        if error.errno in NOT_WRITABLE:
            raise UsageError(f"{problem}: choose a folder that this user can write to") from error
        raise InputError(f"{problem}: check the disk") from error
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def unseen_output(rank: int, folder: Path) -> UsageError:
    """Return the error of a rank that does not see the output folder of rank 0."""
    return UsageError(
        f"output: rank {rank} does not see {folder}: choose a folder on a disk that all ranks see, or "
        f"s3://bucket/prefix, and continue with resume: true"
    )


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
        raise UsageError(
            f"output: another run ({owner}) is writing to {folder}: wait for it, or choose another folder"
        ) from error
    except OSError as error:
        log.warning("output: %s cannot be locked (%s): start no other run in it", folder, error.strerror)
        return
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
