"""Download files over http(s): resumed after a broken connection, retried politely, verified, renamed when complete.

A partial file is stored next to its target as `.name.part`, and the server's validator of that version as
`.name.part.tag`. A later attempt, or a later run, requests the rest of the same version (`Range`, `If-Range`); a server
that has another version by then sends all of it. Only a file with the expected size and SHA-1 gets its final name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from urllib3.response import HTTPResponse

from curation.errors import InputError, OutputError
from curation.io.http_source import HttpBody, HttpSource, MissingError, transient_failures
from curation.io.retry import TRANSIENT_STATUSES, RetryPolicy, TransientError, retry

log = logging.getLogger(__name__)

CHUNK = 1 << 20
MAX_WAIT_S = 600.0  # if a server asks for a longer pause, the download ends

Outcome = Literal["fetched", "there", "missing"]


@dataclass(frozen=True)
class DownloadFile:
    """A file to fetch: its URL, its path below the output folder, and its size and SHA-1 where they are known.

    An optional file may be missing on the server.
    """

    url: str
    path: str
    size: int | None = None
    sha1: str | None = None
    optional: bool = False


class Downloader:
    """Fetches files over http(s).

    A broken connection and the statuses 408, 429, 500, 502, 503 and 504 are retried, up to `retries` times in a row
    without a new byte. The pause before the first retry is `backoff_s` seconds and doubles each time, or is as long as
    the server asks (`Retry-After`).
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
        self._policy = RetryPolicy(retries, backoff_s, timeout_s, MAX_WAIT_S, jitter=False)
        self._sleep = sleep
        self._source = HttpSource(
            timeout_s, user_agent=user_agent, connections=connections, transient=TRANSIENT_STATUSES
        )

    def text(self, url: str) -> str:
        """Return a small document. Raises InputError when it cannot be fetched."""

        def attempt() -> bytes:
            with closing(self._source.get(url, {})) as response, transient_failures():
                return response.read(decode_content=True)

        return retry(url, self._policy, attempt, sleep=self._sleep).decode(errors="replace")

    def json(self, url: str) -> Any:
        """Return a small JSON document. Raises InputError when it cannot be fetched or is not valid JSON."""
        try:
            return json.loads(self.text(url))
        except ValueError as error:
            raise InputError(f"{url} is not a JSON document: {error}") from error

    def fetch(self, file: DownloadFile, folder: Path) -> Outcome:
        """Download one file to its path below `folder`, unless it exists. Raises InputError or OutputError."""
        target = folder / file.path
        if target.exists() and file.size in (None, target.stat().st_size):
            return "there"
        part = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                retry(
                    file.url,
                    self._policy,
                    lambda: self._fetch_rest(file, part),
                    progress=lambda: _size(part),
                    sleep=self._sleep,
                )
                problem = _verify(file, part)
                if problem is None:
                    part.replace(target)
                    _tag_of(part).unlink(missing_ok=True)
                    return "fetched"
                log.warning("download: %s: %s, fetching it again", file.url, problem)
                part.unlink()
            raise InputError(f"{file.url}: {problem}")
        except MissingError:
            if file.optional:
                return "missing"
            raise
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error}") from error

    def _fetch_rest(self, file: DownloadFile, part: Path) -> None:
        """Append the missing bytes to `part`, or start again if the server has another version."""
        tag = _tag_of(part)
        received = _size(part) if tag.exists() else 0
        if received and received == file.size:
            return
        headers = {"Range": f"bytes={received}-", "If-Range": tag.read_text()} if received else {}
        with closing(self._source.get(file.url, headers)) as response:
            content_range = response.headers.get("Content-Range", "")
            if response.status == 416 and content_range == f"bytes */{received}":
                return
            resumed = response.status == 206 and content_range.startswith(f"bytes {received}-")
            if not resumed and response.status != 200:
                part.unlink(missing_ok=True)
                raise TransientError(f"the server answers {response.status} to a range")
            if not resumed:
                part.unlink(missing_ok=True)
                validator = _validator(response)
                tag.write_text(validator) if validator else tag.unlink(missing_ok=True)
            with part.open("ab") as sink:
                _copy(response, sink)


def _copy(response: HTTPResponse, sink: BinaryIO) -> None:
    body = HttpBody(response)
    while block := body.read(CHUNK):
        sink.write(block)
    sink.flush()
    os.fsync(sink.fileno())


def _verify(file: DownloadFile, part: Path) -> str | None:
    """Return the difference from the expected size or SHA-1, or None."""
    if file.size not in (None, _size(part)):
        return f"it has {_size(part)} bytes, not {file.size}"
    if file.sha1:
        with part.open("rb") as source:
            sha1 = hashlib.file_digest(source, "sha1").hexdigest()
        if sha1 != file.sha1:
            return f"its SHA-1 is {sha1}, not {file.sha1}"
    return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _validator(response: HTTPResponse) -> str | None:
    """Return the validator of this version of the file: a strong ETag, otherwise Last-Modified."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
