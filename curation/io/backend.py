"""The interface of storage back ends, and the operations that local disks and S3 share through pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.fs

from curation.io.paths import key_of


@dataclass(frozen=True)
class FileStat:
    """One stored file: its path, its size in bytes and a tag that changes with its content.

    The tag is the ETag on S3 or http, and is made of size and modification time on a local disk. An empty tag means
    that the file's size and version could not be determined.
    """

    path: str
    size: int
    etag: str


class Backend(Protocol):
    """One kind of storage. `curation.io.storage.Storage` documents the methods and names the file in their errors.

    Without `has_folders`, a path is always that of one file: it cannot be listed or expanded.
    """

    @property
    def has_folders(self) -> bool:
        """Return whether files can be listed."""

    def open_input(self, path: str) -> Any:
        """Open a file for random access."""

    def open_stream(self, file: FileStat) -> BinaryIO:
        """Open a file, of the version that was listed, to be read as it arrives."""

    def exists(self, path: str) -> bool:
        """Return whether a file (not a folder) of this name exists."""

    def is_folder(self, path: str) -> bool:
        """Return whether a folder of this name, or a prefix that contains files, exists."""

    def stat(self, path: str) -> FileStat:
        """Return size and tag of one file."""

    def list_files(self, prefix: str) -> Iterator[FileStat]:
        """Yield every file below a folder or prefix that is not hidden, in name order."""

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the files and folders in a folder, sorted; nothing if it does not exist."""

    def open_output(self, path: str) -> pa.NativeFile:
        """Open a new data file for writing."""

    def open_atomic(self, path: str) -> AbstractContextManager[pa.NativeFile]:
        """Open a new data file that becomes visible when the block ends without an error."""

    def sync(self, path: str) -> None:
        """Return when a closed file and its name would survive a loss of power."""

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small file atomically, replacing an older one."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file atomically unless it exists; return whether this call wrote it."""

    def older_files(self, prefix: str, before: datetime) -> list[str]:
        """Return the files below a folder or prefix that were last written before a moment."""

    def delete_file(self, path: str) -> None:
        """Delete a file if it exists."""

    def delete_folder(self, prefix: str) -> int:
        """Delete every file below a folder or prefix; return the number of files that are not hidden."""


class ArrowBackend:
    """Operations of a pyarrow file system, which is opened on first use; `prefix` turns its paths into locations."""

    has_folders = True

    def __init__(self, prefix: str, open_arrow: Callable[[], pyarrow.fs.FileSystem]) -> None:
        self._prefix, self._open_arrow = prefix, open_arrow

    @cached_property
    def arrow(self) -> pyarrow.fs.FileSystem:
        """Return the pyarrow file system."""
        return self._open_arrow()

    def open_input(self, path: str) -> Any:
        """Open a file for random access."""
        return self.arrow.open_input_file(key_of(path))

    def exists(self, path: str) -> bool:
        """Return whether a file (not a folder) of this name exists."""
        return bool(self.arrow.get_file_info(key_of(path)).type == pyarrow.fs.FileType.File)

    def is_folder(self, path: str) -> bool:
        """Return whether a folder of this name, or a prefix that contains files, exists."""
        return bool(self.arrow.get_file_info(key_of(path)).type == pyarrow.fs.FileType.Directory)

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the files and folders in a folder, sorted; nothing if it does not exist."""
        selector = pyarrow.fs.FileSelector(key_of(folder), allow_not_found=True)
        return sorted(info.base_name for info in self.arrow.get_file_info(selector))

    def open_output(self, path: str) -> pa.NativeFile:
        """Open a new data file for writing."""
        return self.arrow.open_output_stream(key_of(path))

    def older_files(self, prefix: str, before: datetime) -> list[str]:
        """Return the files below a folder or prefix that were last written before a moment."""
        selector = pyarrow.fs.FileSelector(key_of(prefix), recursive=True, allow_not_found=True)
        infos = self.arrow.get_file_info(selector)
        return [self._prefix + info.path for info in infos if info.is_file and info.mtime < before]

    def delete_file(self, path: str) -> None:
        """Delete a file if it exists."""
        with suppress(FileNotFoundError):
            self.arrow.delete_file(key_of(path))
