"""A cache on the local disk for row groups that several loader workers of a host need, limited in size.

If ranks × workers does not divide the streams, workers share streams and need the same row groups. The first worker
reads a row group from storage and writes its columns, decompressed, to an Arrow file; the others map that file, so they
share its memory too. When the files exceed the limit, those that were not used for longest are removed, each with its
record. A file that is still mapped stays readable until it is released. Unfinished files of killed processes are
removed, too.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from curation.io.cache_dir import cache_folder
from curation.io.host_cache import cached_copy

UNFINISHED_S = 3600  # a file under a temporary name that is older belongs to a killed process


class GroupCache:
    """Row groups as Arrow files below the cache folder.

    Args:
        max_bytes: limit of all files together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._folder, self._max_bytes = cache_folder() / "row-groups", max_bytes

    def table(self, key: str, read: Callable[[], pa.Table]) -> pa.Table:
        """Return the table of a key; `read` makes it if no process of this host has it in the cache.

        Raises UsageError if the cache folder cannot be written, and what `read` raises.
        """
        made: list[pa.Table] = []

        def write(sink: BinaryIO) -> None:
            made.append(read())
            with pa.ipc.new_file(sink, made[0].schema) as writer:
                writer.write_table(made[0])

        path = cached_copy(self._folder / hashlib.sha256(key.encode()).hexdigest(), write)
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # the time of change is part of its record
            if made:
                self._evict(path)
                return made[0]
            return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except FileNotFoundError:  # removed since, to make room
            return made[0] if made else read()

    def _evict(self, newest: Path) -> None:
        """Remove the files that were not used for longest until the rest is within the limit."""
        files = []
        for file in self._folder.iterdir():
            try:
                info = file.stat()
            except FileNotFoundError:  # another process removed it
                continue
            if not file.suffix:
                files.append((info, file))
            elif file.name.startswith(".") and time.time() - info.st_mtime > UNFINISHED_S:
                file.unlink(missing_ok=True)
        size = sum(info.st_size for info, _ in files)
        for info, file in sorted(files, key=lambda item: item[0].st_atime_ns):
            if size <= self._max_bytes:
                return
            if file != newest:
                for path in (file, file.with_suffix(".checked"), file.with_suffix(".lock")):
                    path.unlink(missing_ok=True)
                size -= info.st_size
