"""Write crawl files in Common Crawl's WAT layout: WARC metadata records with JSON, one gzip member per record.

Like real files, a file also has a warcinfo record, records of requests, captures that are not HTML, and a few records
that are truncated or not UTF-8.
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from demo.site import Page

_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "worldcurate/demo")


def write_wat(path: Path, pages: Sequence[Page], night: str, rng: Random) -> None:
    """Write the pages to a `.warc.wat.gz`; `rng` decides where requests, non-HTML captures and broken records occur."""
    with path.open("wb") as file:
        for number, (kind, uri, body) in enumerate(_records(path.name, pages, rng)):
            record = _record(kind, uri, body, f"{night}T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z")
            file.write(gzip.compress(record, compresslevel=6, mtime=0))


def _records(name: str, pages: Sequence[Page], rng: Random) -> Iterable[tuple[str, str | None, bytes]]:
    """Yield (WARC type, target URI, body) of every record of a file."""
    yield "warcinfo", None, b"Software-Info: worldcurate demo\r\nformat: WARC File Format 1.0\r\n"
    for page in pages:
        if rng.random() < 0.1:
            yield "metadata", page.uri, _json(name, "request", page.uri, _request(page))
        body = _json(name, "response", page.uri, _response(page))
        yield "metadata", page.uri, body
        if rng.random() < 0.01:
            yield "metadata", page.uri + ".pdf", _json(name, "response", page.uri + ".pdf", _not_html())
        if rng.random() < 0.01:
            yield "metadata", page.uri, body[:-40]
        if rng.random() < 0.01:
            yield "metadata", page.uri, body.replace(b'"Title": "', b'"Title": "\xff\xfe', 1)


def _record(kind: str, uri: str | None, body: bytes, date: str) -> bytes:
    identifier = uuid.uuid5(_SPACE, f"{kind}|{uri}|{date}")
    content = "application/warc-fields" if kind == "warcinfo" else "application/json"
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        *([f"WARC-Target-URI: {uri}"] if uri else []),
        f"WARC-Date: {date}",
        f"WARC-Record-ID: <urn:uuid:{identifier}>",
        f"Content-Type: {content}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n\r\n"


def _json(name: str, kind: str, uri: str, payload: dict[str, Any]) -> bytes:
    """Return the JSON body of a record about a capture: its file, WARC type, address and content."""
    container = {"Filename": name.replace(".wat", ""), "Compressed": True, "Offset": "0"}
    header = {"WARC-Type": kind, "WARC-Target-URI": uri}
    envelope = {"Format": "WARC/1.0", "WARC-Header-Metadata": header, "Payload-Metadata": payload}
    return json.dumps({"Container": container, "Envelope": envelope}, ensure_ascii=False).encode()


def _request(page: Page) -> dict[str, Any]:
    message = {"Method": "GET", "Path": page.uri, "Version": "HTTP/1.1"}
    return {
        "Actual-Content-Type": "application/http; msgtype=request",
        "HTTP-Request-Metadata": {"Request-Message": message, "Headers": {"User-Agent": "demo"}},
    }


def _response(page: Page) -> dict[str, Any]:
    head: dict[str, Any] = {"Title": page.title, "Metas": [{"charset": "utf-8"}]}
    if page.base:
        head["Base"] = page.base
    links: list[dict[str, str]] = [{"path": "A@/href", "url": "/index.html", "text": page.title}]
    links += [{"path": "IMG@/src", "url": link.url, **link.texts} for link in page.links]
    return {
        "Actual-Content-Type": "application/http; msgtype=response",
        "HTTP-Response-Metadata": {
            "Response-Message": {"Version": "HTTP/1.1", "Status": "200", "Reason": "OK"},
            "Headers": {"Content-Type": "text/html; charset=utf-8"},
            "HTML-Metadata": {"Head": head, "Links": links},
        },
    }


def _not_html() -> dict[str, Any]:
    return {
        "Actual-Content-Type": "application/http; msgtype=response",
        "HTTP-Response-Metadata": {
            "Response-Message": {"Version": "HTTP/1.1", "Status": "200", "Reason": "OK"},
            "Headers": {"Content-Type": "application/pdf"},
        },
    }
