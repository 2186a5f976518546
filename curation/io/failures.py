"""Failures of disks, servers and the network as errors of one line that name the file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from curation.errors import InputError, StorageFullError, WorldcurateError

NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RUST_ERROR: Final = re.compile(r"\(os error (\d+)\)")  # in the text of errors of the package `deltalake`


@contextmanager
def named_failure(action: str, path: str, kind: type[WorldcurateError] = InputError) -> Iterator[None]:
    """Turn a failure of the disk, the server or the network into one line that names the file."""
    try:
        yield
    except WorldcurateError:
        raise
    except Exception as error:
        if not (isinstance(error, OSError | pa.ArrowException) or type(error).__module__.startswith("botocore")):
            raise
        if full := storage_full(error, path):
            raise full from error
        raise kind(f"cannot {action} {path}: {first_line(error)}") from error


@contextmanager
def full_storage_named(path: str) -> Iterator[None]:
    """Turn the error of a full disk or quota while a file is written into one line that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if full := storage_full(error, path):
            raise full from error
        raise


def storage_full(error: BaseException, path: str = "") -> StorageFullError | None:
    """Return the error of a full disk, a full quota or the limit of file sizes as one line; None for other errors."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (rust := RUST_ERROR.search(str(error))):
        number = int(rust[1])
    if number not in NO_ROOM:
        return None
    remedy = "raise the limit of file sizes (ulimit -f)" if number == errno.EFBIG else "make room"
    where = path or getattr(error, "filename", None) or "an output"
    return StorageFullError(f"cannot write {where}: {os.strerror(number)}: {remedy}, then run again")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
