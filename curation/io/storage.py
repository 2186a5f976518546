"""Files on local disks, on S3 and on http(s) servers through one class.

A location is a path, an `s3://bucket/key` URI or, for reading only, an http(s) URL. `Storage` chooses the back end by
the location's scheme and turns failures into errors that name the file. It holds only options, so Spark can send it to
workers, which open their clients on first use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO

import pyarrow as pa

from curation.errors import InputError, UsageError
from curation.io.backend import Backend, FileStat
from curation.io.failures import full_storage_named, named_failure
from curation.io.http_files import HttpFiles
from curation.io.local_files import LocalFiles
from curation.io.paths import Scheme, is_about_data, is_hidden, matches_glob, normalize_path, scheme_of, split_glob
from curation.io.retry import RetryPolicy
from curation.io.s3_files import S3Files, S3Options
from curation.redaction import know_secrets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Storage:
    """Opens, lists and atomically writes files, local or on S3, and reads files on http(s) servers.

    S3 credentials come from the environment as boto3 reads it (`AWS_ACCESS_KEY_ID` …), `endpoint_url` and `region` from
    the config. With `anonymous`, requests are unsigned, as public buckets allow. `retry_policy` applies to inputs on
    servers.
    """

    endpoint_url: str | None = None
    region: str | None = None
    anonymous: bool = False
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    _backends: dict[tuple[Scheme, int], Backend] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        # as this process resolves them: a worker's environment may lack the variables
        s3 = self._s3_options
        resolved = {"endpoint_url": s3.endpoint_url, "region": s3.region, "anonymous": s3.anonymous}
        return {**resolved, "retry_policy": self.retry_policy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _backends={})
        know_secrets(state["endpoint_url"])

    @cached_property
    def _s3_options(self) -> S3Options:
        return S3Options.resolve(self.endpoint_url, self.region, anonymous=self.anonymous)

    def _backend(self, path: str) -> Backend:
        key = (scheme_of(path), os.getpid())  # a fork must not share its parent's connections
        if key not in self._backends:
            self._backends[key] = self._make_backend(key[0])
        return self._backends[key]

    def _make_backend(self, scheme: Scheme) -> Backend:
        if scheme == "s3":
            return S3Files(self._s3_options, self.retry_policy)
        return HttpFiles(self.retry_policy) if scheme == "http" else LocalFiles()

    def delta_options(self) -> dict[str, str]:
        """Return the options with which `deltalake` connects to the same S3."""
        return self._s3_options.delta_options()

    # Reading

    def open_input(self, path: str) -> Any:
        """Open a file for random access. Raises InputError when it is missing or cannot be read."""
        with named_failure("read", path):
            return self._backend(path).open_input(path)

    def open_stream(self, file: FileStat) -> BinaryIO:
        """Open an input, of the version that was listed, to be read as it arrives; it is seekable too.

        Raises InputError when it is missing, has changed or cannot be read, on opening or later.
        """
        with named_failure("read", file.path):
            return self._backend(file.path).open_stream(file)

    def read_bytes(self, path: str) -> bytes:
        """Return the content of a small file. Raises InputError when it is missing or cannot be read."""
        with self.open_input(path) as source:
            return bytes(source.read())

    def exists(self, path: str) -> bool:
        """Return whether a file (not a folder) of this name exists."""
        with named_failure("read", path):
            return self._backend(path).exists(path)

    def _is_folder(self, path: str) -> bool:
        with named_failure("read", path):
            return self._backend(path).is_folder(path)

    def stat(self, path: str) -> FileStat:
        """Return size and tag of one file. Raises InputError when it is missing or cannot be read."""
        with named_failure("read", path):
            return self._backend(path).stat(path)

    def list_files(self, prefix: str) -> Iterator[FileStat]:
        """Yield every file below a folder or prefix, in name order; nothing if the folder does not exist.

        Hidden files are omitted: files are hidden while they are written. Raises InputError when the folder cannot be
        listed.
        """
        with named_failure("list", prefix):
            yield from self._backend(prefix).list_files(prefix)

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the files and folders in a folder, sorted; nothing if it does not exist.

        Raises InputError when the folder cannot be listed.
        """
        with named_failure("list", folder):
            return self._backend(folder).list_names(folder)

    def expand(self, pattern: str) -> list[FileStat]:
        """Return the files that a path, folder or glob names, in name order.

        A file or folder that exists under this name is taken literally, although it contains wildcards. Hidden files of
        a folder (see `is_hidden`) and descriptions of the data (see `is_about_data`) are left out. Raises InputError
        when there are none or they cannot be read.
        """
        pattern = normalize_path(pattern)
        if not self._backend(pattern).has_folders:
            return [self.stat(pattern)]
        if self.exists(pattern):
            files = [self.stat(pattern)]
        else:
            folder, glob = split_glob(pattern, self._is_folder)
            start = 0 if folder == "." else len(folder.rstrip("/")) + 1
            named = [file for file in self.list_files(folder) if not glob or matches_glob(file.path[start:], glob)]
            visible = [file for file in named if not is_hidden(file.path[start:], glob)]
            if hidden := len(named) - len(visible):
                log.info("%s: hidden files left out, because their names start with _ or .: %d", pattern, hidden)
            files = [file for file in visible if not is_about_data(file.path[start:], glob)]
            if about := sorted({file.path[start:] for file in visible} - {file.path[start:] for file in files}):
                log.info("%s: left out descriptions of the data: %s", pattern, ", ".join(about[:3]))
        if not files:
            raise InputError(f"no file matches {pattern}")
        return files

    def expand_all(self, patterns: Sequence[str]) -> list[FileStat]:
        """Return the files that paths, folders and globs name, each once, sorted."""
        files = {file.path: file for pattern in patterns for file in self.expand(pattern)}
        return [files[path] for path in sorted(files)]

    # Writing

    def open_output(self, path: str) -> pa.NativeFile:
        """Open a new data file for writing; on a local disk its folder is created."""
        with full_storage_named(path):
            return self._backend(path).open_output(path)

    def sync(self, path: str) -> None:
        """Return when a closed file and its name would survive a loss of power. Raises UsageError if that fails."""
        with named_failure("write", path, UsageError):
            self._backend(path).sync(path)

    @contextmanager
    def open_whole(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a new data file that becomes visible, complete, when the block ends without an error."""
        with full_storage_named(path), self._backend(path).open_atomic(path) as sink:
            yield sink

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small file atomically, replacing an older one. Raises UsageError when it cannot be written."""
        with named_failure("write", path, UsageError):
            self._backend(path).write_bytes(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file atomically unless it exists; return whether this call wrote it.

        Exactly one of several concurrent writers succeeds (S3's `If-None-Match: *`, a hard link on a local disk).
        Raises UsageError when the file cannot be written.
        """
        with named_failure("write", path, UsageError):
            return self._backend(path).put_if_absent(path, data)

    def older_files(self, prefix: str, before: datetime) -> list[str]:
        """Return the files below a folder or prefix that were last written before a moment."""
        with named_failure("list", prefix):
            return self._backend(prefix).older_files(prefix, before)

    def delete_files(self, paths: Sequence[str]) -> None:
        """Delete the files that exist."""
        for path in paths:
            self._backend(path).delete_file(path)

    def delete_folder(self, prefix: str) -> int:
        """Delete every file below a folder or prefix; return their number."""
        return self._backend(prefix).delete_folder(prefix)
