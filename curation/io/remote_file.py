"""Read a file on a server as a stream that survives broken connections and never mixes two versions of the file.

A `RemoteFile` requests the bytes from its position on and returns them as they arrive; nothing is staged on disk. After
a transient failure (a dropped connection, a stalled or short body, 403, 408, 429, 500, 502, 503, 504) it requests the
rest from the first missing byte, as `curation.io.retry` prescribes. Every response must be of the version that was
listed.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Protocol, cast

from curation.errors import InputError
from curation.io.backend import FileStat
from curation.io.retry import RetryPolicy, TransientError, retry

SHORT_HOP = 256 << 10  # bytes to read and discard rather than send another request


class Body(Protocol):
    """The bytes of a response. Both methods raise TransientError for transient failures."""

    def read(self, size: int) -> bytes:
        """Return some of the next bytes, at most `size`, none at the end."""

    def close(self) -> None:
        """Close the connection."""


class Source(Protocol):
    """A kind of server. Both methods make one attempt; they raise TransientError for transient failures."""

    def stat(self, name: str, /) -> tuple[int, str]:
        """Return size in bytes and tag of a file."""

    def open_at(self, name: str, /, position: int, size: int, tag: str) -> Body:
        """Start reading a file of that size and tag at a position."""


def stat_remote(source: Source, path: str, policy: RetryPolicy) -> FileStat:
    """Return size and tag of a file. Raises InputError when it is missing or cannot be read."""
    return FileStat(path, *retry(path, policy, lambda: source.stat(path)))


def open_remote(source: Source, file: FileStat, policy: RetryPolicy) -> BinaryIO:
    """Open a file, of the version that was listed, as a stream. Raises InputError, on opening or later."""
    if not file.etag:  # size and version were not known when it was listed
        file = stat_remote(source, file.path, policy)
    open_at = partial(source.open_at, file.path, size=file.size, tag=file.etag)
    return cast("BinaryIO", RemoteFile(file.path, file.size, open_at, policy))


class RemoteFile(io.RawIOBase):
    """A file of known size on a server, as a readable and seekable stream.

    `open_at(position)` requests the file from a byte on. Reading raises InputError when the retry policy gives up, the
    file is missing, or it has changed since it was listed.
    """

    def __init__(
        self,
        name: str,
        size: int,
        open_at: Callable[[int], Body],
        retry_policy: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name, self._size, self._open_at = name, size, open_at
        self._retry_policy, self._sleep = retry_policy or RetryPolicy(), sleep
        self._position = self._body_at = 0
        self._body: Body | None = None
        self._failure: InputError | None = None

    def readable(self) -> bool:
        """Return True: this is a stream to read from."""
        return True

    def seekable(self) -> bool:
        """Return True: reading can continue at any position."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position; the next read sends the request, if one is needed."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def size(self) -> int:
        """Return the number of bytes."""
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end, or before a failure that the next call raises."""
        end = self._size if size < 0 else min(self._size, self._position + size)
        data = bytearray()
        while self._position < end:
            if self._failure:
                raise self._failure
            try:
                data += self._read_some(end - self._position)
            except InputError as error:
                self._failure = error
                if data:
                    break
        return bytes(data)

    def readinto(self, buffer: Any, /) -> int:
        """Read as `read` does, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._drop_body()
        super().close()

    def _read_some(self, size: int) -> bytes:
        data = retry(self._name, self._retry_policy, lambda: self._try_read(size), sleep=self._sleep)
        self._position += len(data)
        return data

    def _try_read(self, size: int) -> bytes:
        try:
            data = self._body_at_position().read(size)
        except BaseException:
            self._drop_body()
            raise
        if not data:
            self._drop_body()
            raise TransientError(f"the response ended after {self._position} of {self._size} bytes")
        self._body_at += len(data)
        return data

    def _body_at_position(self) -> Body:
        """Return a body whose next byte is the one at the position."""
        ahead = self._position - self._body_at
        if self._body is None or not 0 <= ahead <= SHORT_HOP:
            self._drop_body()
            self._body, self._body_at = self._open_at(self._position), self._position
        while self._body_at < self._position:
            skipped = self._body.read(self._position - self._body_at)
            if not skipped:
                raise TransientError("the response ended early")
            self._body_at += len(skipped)
        return self._body

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            with suppress(Exception):  # the connection is abandoned anyway
                body.close()


def changed(name: str) -> InputError:
    """Return the error for a file that has changed since it was listed."""
    return InputError(f"cannot read {name}: it has changed since it was listed, run again")
