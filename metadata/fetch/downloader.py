"""Downloads that survive what networks do: resumed where they stopped, tried again politely, checked, moved into place.

A file grows beside its place as `.name.part`, with the server's validator of that version in `.name.part.tag`. A later
try, or a later run, asks for the rest of the same version (`Range`, `If-Range`); a server that has another version by
then sends it whole. Only a file with the expected size and SHA-1 gets its name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from curation.errors import InputError, OutputError

log = logging.getLogger(__name__)

CHUNK = 1 << 20
MAX_WAIT_S = 600.0  # a server that asks for more is left in peace
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
REDIRECTS = urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=5)

Answer = TypeVar("Answer")
Outcome = Literal["fetched", "there", "missing"]


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its URL, its place below the output folder, and its size and SHA-1 where they are known.

    An optional one may be missing on the server.
    """

    url: str
    place: str
    size: int | None = None
    sha1: str | None = None
    optional: bool = False


class MissingError(InputError):
    """The server has no such file."""


class _FailedForNow(Exception):  # noqa: N818 - caught here, never shown
    """A failure that may pass, and for how many seconds the server asks to wait."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Downloader:
    """Fetches files over http(s).

    `retries` further tries in a row without a new byte follow connections that break, 408, 429 and 5xx, after
    `backoff_s` seconds, doubled each time, or after what the server asks for (`Retry-After`).
    """

    def __init__(
        self,
        user_agent: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 5,
        backoff_s: float = 1.0,
        connections: int = 2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._pool = urllib3.PoolManager(maxsize=connections, headers=headers, timeout=timeout_s, retries=REDIRECTS)
        self._headers, self._retries, self._backoff_s, self._sleep = headers, retries, backoff_s, sleep

    def text(self, url: str) -> str:
        """Return a small document. Raises InputError when it cannot be had."""

        def attempt() -> bytes:
            with self._request(url, {}) as response:
                return response.data

        return self._retrying(url, attempt, lambda: 0).decode(errors="replace")

    def json(self, url: str) -> Any:
        """Return a small JSON document. Raises InputError when it cannot be had or is none."""
        try:
            return json.loads(self.text(url))
        except ValueError as error:
            raise InputError(f"{url} is no JSON document: {error}") from error

    def fetch(self, file: RemoteFile, folder: Path) -> Outcome:
        """Bring one file to its place below `folder`, unless it is there. Raises InputError when it cannot be had."""
        target = folder / file.place
        if target.exists() and file.size in (None, target.stat().st_size):
            return "there"
        part = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                self._retrying(file.url, lambda: self._get_rest(file, part), lambda: _size(part))
                wrong = _wrong(file, part)
                if wrong is None:
                    part.replace(target)
                    _tag_of(part).unlink(missing_ok=True)
                    return "fetched"
                log.warning("download: %s: %s, fetching it again", file.url, wrong)
                part.unlink()
            raise InputError(f"{file.url}: {wrong}")
        except MissingError:
            if file.optional:
                return "missing"
            raise
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error}") from error

    def _get_rest(self, file: RemoteFile, part: Path) -> None:
        """Append to `part` what it lacks, or begin again where the server has another version."""
        tag = _tag_of(part)
        have = _size(part) if tag.exists() else 0
        if have and have == file.size:
            return
        headers = {"Range": f"bytes={have}-", "If-Range": tag.read_text()} if have else {}
        with self._request(file.url, headers) as response:
            if response.status == 416 and response.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if not resumed and response.status != 200:
                part.unlink(missing_ok=True)
                raise _FailedForNow(f"the server answers {response.status} to a range")
            if not resumed:
                part.unlink(missing_ok=True)
                validator = _validator(response)
                tag.write_text(validator) if validator else tag.unlink(missing_ok=True)
            with part.open("ab") as sink:
                _copy(response, sink)

    @contextmanager
    def _request(self, url: str, headers: dict[str, str]) -> Iterator[HTTPResponse]:
        """Open an answer; raises MissingError for 404 and 410, `_FailedForNow` for what may pass."""
        try:
            headers = {**self._headers, **headers}
            # of the two kinds of answers the one that a pool's request gives
            response = cast("HTTPResponse", self._pool.request("GET", url, headers=headers, preload_content=False))
            try:
                if response.status in RETRIED:
                    raise _FailedForNow(f"the server answers {response.status}", _retry_after(response))
                if response.status in (404, 410):
                    raise MissingError(f"{url}: there is no such file on the server")
                if response.status >= 400 and response.status != 416:
                    raise InputError(f"{url}: the server answers {response.status} {response.reason}")
                yield response
            finally:
                response.close()
        except HTTPError as error:
            raise _FailedForNow(str(error)) from error

    def _retrying(self, url: str, attempt: Callable[[], Answer], progress: Callable[[], int]) -> Answer:
        failures, reached = 0, progress()
        while True:
            try:
                return attempt()
            except _FailedForNow as problem:
                now = progress()
                failures = 1 if now > reached else failures + 1
                reached = now
                wait_s = max(problem.wait_s, self._backoff_s * 2 ** (failures - 1))
                if failures > self._retries:
                    raise InputError(f"{url}: {problem}; gave up after {failures} tries") from problem
                if problem.wait_s > MAX_WAIT_S:
                    raise InputError(f"{url}: {problem} and asks to wait {wait_s:.0f} s: run again then") from problem
                log.info("download: %s: %s, trying again in %.1f s", url, problem, wait_s)
                self._sleep(min(wait_s, MAX_WAIT_S))


def _copy(response: HTTPResponse, sink: BinaryIO) -> None:
    # what has arrived, not whole chunks: of a chunk that a broken connection cuts off nothing would be kept
    while block := response.read1(CHUNK, decode_content=False):
        sink.write(block)
    sink.flush()
    os.fsync(sink.fileno())


def _wrong(file: RemoteFile, part: Path) -> str | None:
    """Return what is wrong with a whole file, None when its size and SHA-1 are those expected."""
    if file.size not in (None, _size(part)):
        return f"it has {_size(part)} bytes, not {file.size}"
    if file.sha1:
        with part.open("rb") as source:
            found = hashlib.file_digest(source, "sha1").hexdigest()
        if found != file.sha1:
            return f"its SHA-1 is {found}, not {file.sha1}"
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _validator(response: HTTPResponse) -> str | None:
    """Return what names this version of the file: a strong ETag, or else the time of its last change."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _retry_after(response: HTTPResponse) -> float:
    """Return the seconds a server asks to wait, 0 when it does not say."""
    value = response.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
