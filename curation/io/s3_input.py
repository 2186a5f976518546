"""Read an object of S3 at any position through pyarrow, again after failures that pass.

pyarrow repeats requests too, but not all: of a throttled request for fewer bytes than the server's error message has,
it only knows that the message does not fit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, Final, cast

import pyarrow as pa

from curation.io.retry import TransientError
from curation.io.s3_requests import patiently

# what pyarrow calls errors that another attempt would meet again
LASTING: Final = re.compile(
    "AWS Error (ACCESS_DENIED|NO_SUCH|RESOURCE_NOT_FOUND|INVALID_|SIGNATURE_DOES_NOT_MATCH|MISSING_)"
)


def open_patiently(path: str, open_file: Callable[[], pa.NativeFile]) -> pa.NativeFile:
    """Open an object whose reads are repeated. Raises InputError if failures do not pass; other errors of pyarrow."""
    return pa.PythonFile(_S3Input(path, _repeated(path, open_file)), mode="r")


class _S3Input(io.RawIOBase):
    """A file of pyarrow whose reads start again at the position where they started."""

    def __init__(self, path: str, file: pa.NativeFile) -> None:
        self._path, self._file = path, file

    def read_buffer(self, size: int = -1) -> pa.Buffer:
        """Return the next bytes as a buffer."""
        start = self._file.tell()

        def read() -> pa.Buffer:
            self._file.seek(start)
            return self._file.read_buffer(None if size < 0 else size)

        return _repeated(self._path, read)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        return bytes(self.read_buffer(size))

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position."""
        return cast("int", self._file.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return cast("int", self._file.tell())

    def readable(self) -> bool:
        """Return True: this is a stream to read from."""
        return True

    def seekable(self) -> bool:
        """Return True: reading can continue at any position."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _repeated(path: str, read: Callable[[], Any]) -> Any:
    def attempt() -> Any:
        try:
            return read()
        except OSError as error:
            if isinstance(error, FileNotFoundError) or LASTING.search(str(error)) or "AWS Error" not in str(error):
                raise
            raise TransientError(str(error)) from error

    return patiently(path, attempt)
