"""Files on http(s) servers, which can only be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa

from curation.errors import UsageError
from curation.io.backend import FileStat
from curation.io.http_source import HttpSource, MissingError
from curation.io.remote_file import open_remote, stat_remote
from curation.io.retry import RetryPolicy


class HttpFiles:
    """The storage back end for http(s) URLs, for one process."""

    has_folders = False

    def __init__(self, retry_policy: RetryPolicy) -> None:
        self._source, self._policy = HttpSource(retry_policy.timeout_s), retry_policy

    def open_input(self, path: str) -> Any:
        """Open a file for random access."""
        return self.open_stream(self.stat(path))

    def open_stream(self, file: FileStat) -> BinaryIO:
        """Open a file, of the version that was listed, to be read as it arrives."""
        return open_remote(self._source, file, self._policy)

    def exists(self, path: str) -> bool:
        """Return whether the server has this file."""
        try:
            self.stat(path)
        except MissingError:
            return False
        return True

    def is_folder(self, path: str) -> bool:  # noqa: ARG002 - as in every back end
        """Return False: servers have no folders."""
        return False

    def stat(self, path: str) -> FileStat:
        """Return size and tag of one file."""
        return stat_remote(self._source, path, self._policy)

    def list_files(self, prefix: str) -> Iterator[FileStat]:
        """Raise UsageError: servers do not list files."""
        _refuse(prefix)

    def list_names(self, folder: str) -> list[str]:
        """Raise UsageError: servers do not list files."""
        _refuse(folder)

    def open_output(self, path: str) -> pa.NativeFile:
        """Raise UsageError: servers are only read."""
        _refuse(path)

    def open_atomic(self, path: str) -> AbstractContextManager[pa.NativeFile]:
        """Raise UsageError: servers are only read."""
        _refuse(path)

    def sync(self, path: str) -> None:
        """Raise UsageError: servers are only read."""
        _refuse(path)

    def write_bytes(self, path: str, data: bytes) -> None:  # noqa: ARG002 - as in every back end
        """Raise UsageError: servers are only read."""
        _refuse(path)

    def put_if_absent(self, path: str, data: bytes) -> bool:  # noqa: ARG002 - as in every back end
        """Raise UsageError: servers are only read."""
        _refuse(path)

    def older_files(self, prefix: str, before: datetime) -> list[str]:  # noqa: ARG002 - as in every back end
        """Raise UsageError: servers do not list files."""
        _refuse(prefix)

    def delete_file(self, path: str) -> None:
        """Raise UsageError: servers are only read."""
        _refuse(path)

    def delete_folder(self, prefix: str) -> int:
        """Raise UsageError: servers are only read."""
        _refuse(prefix)


def _refuse(path: str) -> NoReturn:
    raise UsageError(f"{path} can only be read: name a folder or s3://bucket/prefix")
