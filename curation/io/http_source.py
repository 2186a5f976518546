"""Files on http(s) servers: what they are (`stat`), and their bytes from any position on (`open_at`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

import urllib3
from urllib3 import exceptions
from urllib3.response import HTTPResponse
from urllib3.util.retry import Retry

from curation.errors import InputError
from curation.io.remote_file import RETRIED, Body, TransientError, changed

USER_AGENT = "worldcurate (https data reader)"
REDIRECTS = Retry(total=None, connect=0, read=0, other=0, redirect=5)


class HttpFiles:
    """Asks http(s) servers for files, one connection a file at a time."""

    def __init__(self, timeout_s: float) -> None:
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        self._headers = headers
        self._pool = urllib3.PoolManager(maxsize=4, headers=headers, timeout=timeout_s, retries=REDIRECTS)

    def stat(self, url: str) -> tuple[int, str]:
        """Return size in bytes and tag (ETag, else the date of change). Raises PassingError or InputError."""
        # a range, not HEAD: signed URLs and some servers allow GET alone
        with closing(self._get(url, {"Range": "bytes=0-0"})) as response:
            if response.status == 206:
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
            elif response.status == 416:  # an empty file
                total = "0"
            else:
                total = response.headers.get("Content-Length", "")
            if not total.isdecimal():
                raise InputError(f"cannot read {url}: the server does not say how long it is")
            return int(total), _tag(response)

    def open_at(self, url: str, position: int, size: int, tag: str) -> Body:
        """Begin to read a file of that size and tag at a position. Raises PassingError or InputError."""
        response = self._get(url, {"Range": f"bytes={position}-"} if position else {})
        try:
            if tag and _tag(response) not in ("", tag):
                raise changed(url)
            if response.status == 200:  # a server without ranges sends all again
                return _HttpBody(response, skip=position)
            given, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if response.status != 206 or given.partition("-")[0] != str(position) or total not in (str(size), "*"):
                raise TransientError(f"the server answers {response.status} {given}/{total} to {position}-")
            return _HttpBody(response, skip=0)
        except BaseException:
            response.close()
            raise

    def _get(self, url: str, headers: dict[str, str]) -> HTTPResponse:
        with _passing():
            answer = self._pool.request("GET", url, headers=self._headers | headers, preload_content=False)
        response = cast("HTTPResponse", answer)  # of the two kinds of answers the one that a pool's request gives
        failed = response.status >= 400 and response.status != 416
        if failed:
            response.close()
        if response.status in RETRIED:
            raise TransientError(f"the server answers {response.status}", _retry_after(response))
        if failed:
            raise InputError(f"cannot read {url}: the server answers {response.status} {response.reason}")
        return response


class _HttpBody:
    def __init__(self, response: HTTPResponse, skip: int) -> None:
        self._response, self._skip = response, skip

    def read(self, size: int) -> bytes:
        with _passing():
            while self._skip:
                passed = self._response.read1(min(self._skip, 1 << 20))
                if not passed:
                    return b""
                self._skip -= len(passed)
            # what has arrived: of a chunk that a broken connection cuts off nothing would be kept
            return self._response.read1(size)

    def close(self) -> None:
        self._response.close()


@contextmanager
def _passing() -> Iterator[None]:
    """Turn what breaks under way into a PassingError."""
    try:
        yield
    except (exceptions.HTTPError, OSError) as error:
        raise TransientError(str(error) or type(error).__name__) from error


def _tag(response: HTTPResponse) -> str:
    return (response.headers.get("ETag") or response.headers.get("Last-Modified") or "").strip('"')


def _retry_after(response: Any) -> float:
    with suppress(exceptions.InvalidHeader, OverflowError):
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    return 0.0
