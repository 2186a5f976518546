"""Files on a local disk; writes are atomic by renaming or linking a temporary file in the same folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.fs

from curation.io.backend import ArrowBackend, FileStat


class LocalFiles(ArrowBackend):
    """The storage back end for local paths."""

    def __init__(self) -> None:
        super().__init__("", pyarrow.fs.LocalFileSystem)

    def open_stream(self, file: FileStat) -> BinaryIO:
        """Open a file for reading."""
        return cast("BinaryIO", self.open_input(file.path))

    def stat(self, path: str) -> FileStat:
        """Return the size of a file, and size and modification time as its tag."""
        return _stat(Path(path))

    def list_files(self, prefix: str) -> Iterator[FileStat]:
        """Yield every file below a folder that is not hidden, in name order."""
        for path in sorted(p for p in Path(prefix).rglob("*") if not p.name.startswith(".") and p.is_file()):
            yield _stat(path)

    def open_output(self, path: str) -> pa.NativeFile:
        """Open a new data file for writing, and create its folder."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return super().open_output(path)

    @contextmanager
    def open_atomic(self, path: str) -> Iterator[pa.NativeFile]:
        """Open a new data file that gets its name when the block ends without an error."""
        temporary = _temporary(Path(path))
        try:
            with self.open_output(str(temporary)) as sink:
                yield sink
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def sync(self, path: str) -> None:
        """Flush a closed file and its folder to the disk."""
        sync_path(Path(path))
        sync_path(Path(path).parent)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small file atomically, replacing an older one."""
        _write_temporary(Path(path), data).replace(path)
        sync_path(Path(path).parent)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file atomically unless it exists; return whether this call wrote it."""
        temporary = _write_temporary(Path(path), data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync_path(Path(path).parent)
        return True

    def delete_folder(self, prefix: str) -> int:
        """Delete a folder and everything in it; return the number of files that were not hidden."""
        count = sum(1 for _ in self.list_files(prefix))
        if Path(prefix).is_dir():
            self.arrow.delete_dir(prefix)
        return count


def _stat(path: Path) -> FileStat:
    info = path.stat()
    return FileStat(str(path), info.st_size, f"{info.st_size:x}-{info.st_mtime_ns:x}")


def sync_path(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _write_temporary(path: Path, data: bytes) -> Path:
    """Write and sync a temporary file in the folder of `path`, so that linking or renaming it is atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    with temporary.open("xb") as sink:
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())
    return temporary
