"""Failures of disks, servers and the network as errors of one line that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from curation.errors import InputError, WorldcurateError


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
        raise kind(f"cannot {action} {path}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
