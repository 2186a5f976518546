"""HTTP/2: requests share a connection, and every limit holds as it does for HTTP/1.1."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from h2.errors import ErrorCodes

from curation.images.download import FetchSettings
from curation.images.fetch import Fetched, Fetcher
from support.http2_server import Http2Server, Stream, serving_http2
from support.loopback import Answer, serving

BODY = bytes(range(256)) * 40
ENDLESS = 1 << 40


@pytest.fixture
def server(certificate) -> Iterator[Http2Server]:
    with serving_http2(certificate) as running:
        yield running


@contextmanager
def fetcher(certificate, **options) -> Iterator[Fetcher]:
    defaults = {"timeout_s": 120.0, "allow_private_hosts": ("127.0.0.1",), "retries": 0, "ca_file": str(certificate[0])}
    with Fetcher(FetchSettings(**(defaults | options))) as opened:
        yield opened


@pytest.fixture
def fetch(server, certificate):
    """Fetch the answer of a coroutine between two good ones, which it must not harm; return its result."""

    def run(answer, **options) -> Fetched:
        server.answers |= {"/": answer, "/good": good}
        rows = [("x", server.url(path), None) for path in ("/good", "/", "/good")]
        with fetcher(certificate, **options) as opened:
            results = dict(opened.fetch_many(rows))
        assert results[0] == results[2] == Fetched("ok", None, BODY)
        return results[1]

    return run


async def good(stream: Stream) -> None:
    await stream.head()
    await stream.data(BODY, ends=True)


def test_urls_of_a_host_share_one_connection_at_the_same_time(server, certificate):
    """No stream is answered before as many are open as one host may have."""
    full = asyncio.Event()

    async def wait_for_others(stream: Stream) -> None:
        if stream.connection.open_streams == 6:
            full.set()
        await full.wait()
        await good(stream)

    server.answers = {f"/{n}": wait_for_others for n in range(40)}
    with fetcher(certificate, connections_per_host=6) as opened:
        results = dict(opened.fetch_many([("x", server.url(f"/{n}"), None) for n in range(40)]))
    assert list(results.values()) == [Fetched("ok", None, BODY)] * 40
    [connection] = server.connections
    assert Counter(connection.paths) == dict.fromkeys(server.answers, 1)
    assert connection.most_streams == 6, "the limit per host is one of requests, not of connections"


def test_a_body_larger_than_the_first_windows_is_whole(fetch):
    body = bytes(range(256)) * 10_000

    async def answer(stream: Stream) -> None:
        await stream.head(200, ("content-length", str(len(body))))
        await stream.data(body, ends=True)

    assert fetch(answer).data == body


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_too_large_and_its_stream_is_ended(fetch, declared):
    streams = []

    async def answer(stream: Stream) -> None:
        streams.append(stream)
        await stream.head(200, *([("content-length", str(ENDLESS))] if declared else []))
        while True:
            await stream.data(bytes(65536))

    assert fetch(answer, max_bytes=1 << 20).reason == "too_large"
    assert streams[0].sent < 32 << 20


@pytest.mark.parametrize(("number", "length"), [(2000, 10), (130, 1050)])
def test_headers_over_the_limit_are_a_bad_response(fetch, number, length):
    async def answer(stream: Stream) -> None:
        await stream.head(200, *((f"x-{n}", "y" * length) for n in range(number)))
        await stream.data(BODY, ends=True)

    assert fetch(answer).reason == "bad_response"


def test_a_header_that_libcurl_refuses_costs_the_requests_on_its_connection_one_more(fetch):
    """It closes the connection, which does not tell whose fault that was."""

    async def answer(stream: Stream) -> None:
        await stream.head(200, ("x", "\\" * 30_000))  # of 19 bits each
        await stream.data(BODY, ends=True)

    assert fetch(answer, retries=1).reason in {"connection", "incomplete"}


def test_endless_informational_responses_are_a_bad_response(fetch):
    async def answer(stream: Stream) -> None:
        while True:
            await stream.head(103, ("link", "</a>"))

    assert fetch(answer).reason == "bad_response"


@pytest.mark.parametrize("silent", ["head", "body", "drip"])
def test_a_stream_that_is_not_finished_in_time_ends_alone(fetch, silent):
    async def answer(stream: Stream) -> None:
        if silent != "head":
            await stream.head()
        while silent == "drip":
            await stream.data(b"x")
            await asyncio.sleep(0.01)
        await asyncio.Event().wait()

    assert fetch(answer, timeout_s=1.5).reason == "timeout"


def test_a_connection_that_fell_silent_is_left_and_the_host_asked_on_another(server, certificate):
    async def dead_at_first(stream: Stream) -> None:
        if stream.connection is server.connections[0]:
            await asyncio.Event().wait()
        await good(stream)

    server.answers = {f"/{n}": dead_at_first for n in range(12)}
    with fetcher(certificate, connections_per_host=2, timeout_s=4.0) as opened:
        results = dict(opened.fetch_many([("x", server.url(f"/{n}"), None) for n in range(12)]))
    assert Counter(result.reason for result in results.values()) == {"timeout": 2, None: 10}
    assert len(server.connections) == 2


@pytest.mark.parametrize(
    ("code", "after_head", "reason"),
    [
        (ErrorCodes.INTERNAL_ERROR, False, "connection"),
        (ErrorCodes.INTERNAL_ERROR, True, "incomplete"),
        (ErrorCodes.ENHANCE_YOUR_CALM, False, "connection"),
    ],
)
def test_a_stream_that_is_reset_is_transient(fetch, server, code, after_head, reason):
    async def answer(stream: Stream) -> None:
        if after_head:
            await stream.head()
            await stream.data(BODY)
        await stream.reset(code)

    assert fetch(answer).reason == reason
    before = sum(connection.paths.count("/") for connection in server.connections)
    assert fetch(answer, retries=2).reason == reason
    assert sum(connection.paths.count("/") for connection in server.connections) >= before + 3


def test_requests_go_on_after_a_server_has_said_goodbye(server, certificate):
    async def answer(stream: Stream) -> None:
        await good(stream)
        await stream.connection.go_away()

    server.answers = {"/last": answer, "/good": good}
    with fetcher(certificate, retries=2) as opened:
        assert opened.fetch(server.url("/last")).data == BODY
        assert opened.fetch(server.url("/good")).data == BODY
    assert len(server.connections) == 2


def test_refusals_in_headers_are_honored(fetch):
    async def answer(stream: Stream) -> None:
        await stream.head(200, ("x-robots-tag", "noai"))
        await stream.data(BODY, ends=True)

    assert fetch(answer).reason == "image_noai"


def test_a_status_is_the_reason(fetch):
    async def answer(stream: Stream) -> None:
        await stream.head(404, ends=True)

    assert fetch(answer).reason == "http_404"


@pytest.mark.parametrize("protocols", [["http/1.1"], None])
def test_a_server_without_http2_is_asked_by_http1(certificate, protocols):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    if protocols:
        tls.set_alpn_protocols(protocols)
    with serving(lambda _: Answer(200, BODY), tls) as site, fetcher(certificate) as opened:
        rows = [("x", f"{site.url}/{n}", None) for n in range(20)]
        assert [fetched.data for _, fetched in opened.fetch_many(rows)] == [BODY] * 20
        assert Counter(request.path for request in site.requests) == Counter(f"/{n}" for n in range(20))


def test_a_server_that_offers_http2_and_does_not_speak_it_is_a_failure_of_its_own_urls(certificate):
    """It answers the preface of HTTP/2 in HTTP/1.1."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    tls.set_alpn_protocols(["h2"])
    with serving(lambda _: Answer(200, BODY), tls) as site, fetcher(certificate) as opened:
        assert opened.fetch(f"{site.url}/a").reason in {"connection", "bad_response"}
