"""Whatever one URL does, it costs that URL alone: raw responses that break HTTP, and failures that nobody foresees."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.images import rows as rows_module
from curation.images.decode import ImageLimits
from curation.images.download import Downloader, FetchSettings
from curation.images.fetch import REASONS, Fetched, Fetcher
from curation.images.rows import fetch_and_verify, verified_row
from curation.robots import DIRECTIVES
from support.nights import picture
from support.raw_server import RawServer, raw_server

BODY = bytes(range(256)) * 8
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as running:
        yield running


def new_fetcher(**options) -> Fetcher:
    defaults = {"timeout_s": 60.0, "allow_private_hosts": ("127.0.0.1",), "retries": 0}
    return Fetcher(FetchSettings(**(defaults | options)))


@pytest.fixture(scope="module")
def fetcher() -> Iterator[Fetcher]:
    with new_fetcher() as opened:
        yield opened


def fetch(server: RawServer, fetcher: Fetcher, response: bytes | Iterator[bytes]) -> Fetched:
    """Fetch one URL that answers with these bytes, between two URLs that answer with a body."""
    server.responses = {"/": response, "/good": OK + b"Content-Length: 2048\r\n\r\n" + BODY}
    rows = [(name, server.url(path), None) for name, path in (("a", "/good"), ("b", "/"), ("c", "/good"))]
    results = dict(fetcher.fetch_many(rows))
    assert results[0] == results[2] == Fetched("ok", None, BODY)
    fetched = results[1]
    assert fetched.reason is None or fetched.reason in REASONS or re.fullmatch(r"http_\d{3}", fetched.reason)
    return fetched


# Framing

SIZES = st.sampled_from(
    ["-1", "-5", "-0", "+5", "0x5", "5;x=y", "5 ;", "1_0", "", " ", "g", "٥", "-" + "f" * 80, "f" * 80]
)
LINES = SIZES | st.integers(-(2**70), 2**70).map("{:x}".format) | st.text(max_size=8)


@given(st.lists(st.tuples(LINES, st.binary(max_size=20)), max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_chunks_of_any_size_cost_that_url_alone(server, fetcher, chunks, ends):
    body = b"".join(size.encode() + b"\r\n" + data + b"\r\n" for size, data in chunks)
    fetch(server, fetcher, CHUNKED + body + (b"0\r\n\r\n" if ends else b""))


@pytest.mark.parametrize("size", [b"-5", b"-2", b"-ffff", b"-" + b"f" * 40])
def test_a_negative_chunk_size_is_a_bad_response(server, fetcher, size):
    assert fetch(server, fetcher, CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n").reason == "bad_response"


HEADERS = st.sampled_from(
    [f"Content-Length: {value}" for value in ("-5", "5, 6", "1e3", "٥", "9" * 20, "9" * 5000)]
    + [f"Transfer-Encoding: {value}" for value in ("chunked, chunked", "gzip, chunked", "identity")]
    + [f"Content-Encoding: {value}" for value in ("gzip, " * 7 + "gzip", "deflate", "br", "zstd", "x")]
    + [
        f"Location: {value}"
        for value in ("//", "http://[", "\x00", ".", "http://%00/", "http://xn--/", "http://[::1%25]/")
    ]
    + [f"Location: http://127.0.0.1:{port}/" for port in (99999, -1, "x")]
    + ["Retry-After: -1", "X-Robots-Tag: ,,:,:", "Connection: \x00", ": x", "x", "", "Set-Cookie: a"]
)
STATUSES = st.sampled_from(
    ["200 OK", "206 Partial", "301 M", "302 F", "308 P", "401 U", "503 S", "999 ?", "100 C", "1000 X"]
)


@given(STATUSES, st.lists(HEADERS, max_size=4), st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_headers_of_any_kind_cost_that_url_alone(server, fetcher, status, headers, body):
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers]).encode()
    fetch(server, fetcher, head + b"\r\n\r\n" + body)


def repeated(start: bytes, part: bytes) -> Iterator[bytes]:
    """Bytes without end."""
    yield start
    while True:
        yield part * (1 + 65536 // len(part))


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (CHUNKED + b"-1\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"Trailer: x\r\n"),
        (CHUNKED, b"0" * 100),
        (OK + b"\r\n", b"x"),
        (OK, b"X: y\r\n"),
        (OK + b"X: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (b"", b"x"),
    ],
    ids=["chunk -1", "chunks", "trailers", "size", "body", "headers", "header", "100", "103", "status"],
)
def test_an_endless_response_ends_by_its_bytes_and_not_by_its_time(server, start, part):
    with new_fetcher(timeout_s=500.0, max_bytes=1 << 20) as fetcher:
        reason = fetch(server, fetcher, repeated(start, part)).reason
    assert reason in {"too_large", "connection", "incomplete", "bad_response"}


# Informational responses

EARLY = st.tuples(
    st.sampled_from([100, 102, 103, 110, 199]), st.sampled_from([b"", b"Link: </a>\r\n", b"Content-Length: 9\r\n"])
)


@given(st.lists(EARLY, max_size=5))
@settings(max_examples=50, deadline=None)
def test_informational_responses_are_not_the_answer(server, fetcher, early):
    heads = b"".join(b"HTTP/1.1 %d Early\r\n%b\r\n" % part for part in early)
    assert fetch(server, fetcher, heads + OK + b"Content-Length: 2048\r\n\r\n" + BODY) == Fetched("ok", None, BODY)
    assert fetch(server, fetcher, heads + b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").reason == "http_404"


def test_a_switch_of_protocols_is_the_answer(server, fetcher):
    assert fetch(server, fetcher, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + OK + b"\r\n").reason == "http_101"


# Opt-out


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ("X-Robots-Tag: noai", "image_noai"),
        ("x-robots-tag: NoImageAI, noindex", "image_noimageai"),
        ("X-Robots-Tag: all\r\nX-Robots-Tag: noimageai", "image_noimageai"),
        ("X-Robots-Tag: Worldcurate: noai", "image_noai"),
        ("X-Robots-Tag: googlebot: noai", None),
        ("X-Robots-Tag: noindex", "image_noindex"),
        ("X-Robots: noai", None),
    ],
)
def test_a_response_that_refuses_ai_is_not_stored(server, headers, reason):
    head = f"HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: 2048\r\n\r\n".encode()
    with new_fetcher(user_agent="worldcurate/0.1 (mail@example.com)") as fetcher:
        assert fetch(server, fetcher, head + BODY) == Fetched(
            "failed" if reason else "ok", reason, None if reason else BODY
        )
    with new_fetcher(honored=()) as fetcher:
        assert fetch(server, fetcher, head + BODY).status == "ok"


@pytest.mark.parametrize("directive", DIRECTIVES)
def test_the_honored_directives_are_configured(server, directive):
    head = OK + f"X-Robots-Tag: {', '.join(DIRECTIVES)}\r\n\r\n".encode()
    with new_fetcher(honored=(directive,)) as fetcher:
        assert fetch(server, fetcher, head).reason == f"image_{directive}"


# Failures that no rule foresees

UNFORESEEN = [
    MemoryError,
    RecursionError,
    AssertionError,
    OverflowError,
    KeyError,
    ZeroDivisionError,
    UnicodeError,
    OSError,
]


@pytest.mark.parametrize("kind", UNFORESEEN)
def test_any_exception_of_one_url_costs_that_url_alone(server, fetcher, monkeypatch, kind):
    right = Downloader.get

    async def fail(self, url, room):
        if url.endswith("/good"):
            return await right(self, url, room)
        raise kind

    monkeypatch.setattr(Downloader, "get", fail)
    expected = "out_of_memory" if kind is MemoryError else "unexpected_error"
    assert fetch(server, fetcher, b"").reason == expected


@pytest.mark.parametrize("kind", UNFORESEEN)
def test_any_exception_of_a_decoder_costs_that_image_alone(monkeypatch, caplog, kind):
    right = rows_module.verify

    def fail(data, *given):
        if data == b"bad":
            raise kind
        return right(data, *given)

    monkeypatch.setattr(rows_module, "verify", fail)
    expected = "out_of_memory" if kind is MemoryError else "unexpected_error"
    with caplog.at_level(logging.WARNING):
        row, _ = verified_row("x", Fetched("ok", None, b"bad"), ImageLimits())
    assert (row["status"], row["reason"], row["image"]) == ("failed", expected, None)
    assert kind is MemoryError or kind.__name__ in caplog.text
    assert verified_row("y", Fetched("ok", None, picture(1)), ImageLimits())[0]["status"] == "ok"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_ends_the_task(fetcher, monkeypatch, kind):
    def interrupt(*_):
        raise kind

    async def interrupt_download(*_):
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(Downloader, "get", interrupt_download)
        with pytest.raises(kind):
            list(fetcher.fetch_many([("a", "http://a.example/", None)]))
    monkeypatch.setattr(rows_module, "verify", interrupt)
    with pytest.raises(kind):
        verified_row("x", Fetched("ok", None, b"bad"), ImageLimits())


def test_deep_recursion_in_a_reference_costs_that_image_alone(fetcher, tmp_path):
    def recurse(reference):
        return recurse(reference)

    [row] = fetch_and_verify([("a", None, str(tmp_path))], fetcher, ImageLimits(), recurse)
    assert row["reason"] == "unexpected_error"
