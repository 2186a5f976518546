from __future__ import annotations

import asyncio
import gzip
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pycurl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.images import fetch as fetch_module
from curation.images import transport
from curation.images.addresses import is_public
from curation.images.download import FetchSettings
from curation.images.fetch import REASONS, Fetched, Fetcher

BODY = bytes(range(256)) * 40


class Site(ThreadingHTTPServer):
    """A loopback server: the function of a path writes the answer; every request is recorded."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.scheme = "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.server_address[1]}{path}"

    def hits(self, path: str) -> int:
        return sum(seen == path for seen, _ in self.requests)

    def handle_error(self, request, client_address) -> None:
        """Ignore errors: the tests make clients close connections early."""


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.answers[self.path](self)

    def log_message(self, *_) -> None:
        pass


def answer(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A plain answer; `headers` have underscores for hyphens."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value:
                handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def in_turn(*answers: Callable[[BaseHTTPRequestHandler], None]) -> Callable[[BaseHTTPRequestHandler], None]:
    """One answer per request, the last one repeatedly."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def dripping(start: bytes, drop: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    """`start`, then `drop` repeatedly, until the client closes the connection."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        while True:
            handler.wfile.write(drop)
            time.sleep(0.02)

    return write


def wait_for_ever(*_: object, **__: object) -> None:
    threading.Event().wait()


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
        thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as running:
        yield running


@contextmanager
def fetcher(**options) -> Iterator[Fetcher]:
    defaults = {"timeout_s": 5.0, "allow_private_hosts": ("127.0.0.1",), "backoff_s": 0.01, "connections": 4}
    with Fetcher(FetchSettings(**(defaults | options))) as opened:
        yield opened


def fetch(url: str, **options) -> Fetched:
    with fetcher(**options) as opened:
        fetched = opened.fetch(url)
    assert fetched.status == ("ok" if fetched.reason is None else "failed")
    assert (fetched.data is None) == (fetched.reason is not None)
    assert fetched.reason is None or fetched.reason in REASONS or fetched.reason.startswith("http_")
    return fetched


# Plain answers


def test_the_body_of_a_200_is_returned(site):
    site.answers["/a"] = answer(200, BODY)
    assert fetch(site.url("/a"), user_agent="tester/1") == Fetched("ok", None, BODY)
    (_, headers), *more = site.requests
    assert not more
    assert headers["User-Agent"] == "tester/1"
    assert headers["Host"] == f"127.0.0.1:{site.server_address[1]}"


@pytest.mark.parametrize("status", [204, 304, 400, 403, 404, 410])
def test_another_status_is_the_reason_and_is_asked_once(site, status):
    site.answers["/a"] = answer(status, Content_Length="")
    assert fetch(site.url("/a")).reason == f"http_{status}"
    assert site.hits("/a") == 1


def test_query_and_unusual_characters_reach_the_server(site):
    site.answers["/b%C3%A9/%20x?q=1&r=%C3%BC"] = answer(200, BODY)
    assert fetch(site.url("/bé/%20x?q=1&r=ü#fragment")).status == "ok"


def test_a_body_without_a_length_ends_with_the_connection(site):
    site.answers["/a"] = answer(200, BODY, Content_Length="")
    assert fetch(site.url("/a")).data == BODY


def test_a_chunked_body_is_joined(site):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (BODY[:100], BODY[100:]))
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    site.answers["/a"] = lambda handler: handler.wfile.write(start + chunks + b"0\r\n\r\n")
    assert fetch(site.url("/a")).data == BODY
    site.answers["/a"] = lambda handler: handler.wfile.write(start + chunks)
    assert fetch(site.url("/a"), retries=0).reason == "incomplete"


def test_a_compressed_body_is_unpacked(site):
    site.answers["/a"] = answer(200, gzip.compress(BODY), Content_Encoding="gzip")
    assert fetch(site.url("/a")).data == BODY
    site.answers["/a"] = answer(200, BODY, Content_Encoding="gzip")
    assert fetch(site.url("/a")).reason == "content_encoding"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "www.example.com/a.png",
        "ftp://example.com/a",
        "file:///etc/hostname",
        "data:image/png;base64,AA",
        "http://",
        "http:///a",
        "http://user:secret@example.com/a",
        "http://[::1",
        "http://example.com:99999/",
        "http://" + "a" * 70 + ".example/",
        "http://a..example/",
        "http://example.com/\ud800",
    ],
)
def test_a_url_that_cannot_be_requested_is_a_bad_url(url):
    assert fetch(url).reason == "bad_url"


# Limits of size and time


@pytest.mark.parametrize("length", [str(1 << 40), ""])
def test_a_body_over_the_limit_is_too_large(site, length):
    site.answers["/a"] = answer(200, bytes(300_000), Content_Length=length)
    assert fetch(site.url("/a"), max_bytes=100_000).reason == "too_large"


def test_a_declared_length_over_the_limit_is_not_read(site):
    site.answers["/a"] = dripping(b"HTTP/1.0 200 OK\r\nContent-Length: 100001\r\n\r\n", b"x")
    assert fetch(site.url("/a"), max_bytes=100_000, timeout_s=60.0).reason == "too_large"


def test_a_body_of_exactly_the_limit_is_accepted(site):
    site.answers["/a"] = answer(200, BODY)
    assert fetch(site.url("/a"), max_bytes=len(BODY)).status == "ok"
    assert fetch(site.url("/a"), max_bytes=len(BODY) - 1).reason == "too_large"


@pytest.mark.parametrize("limit", [3 << 20, 2 << 20])
def test_a_kept_connection_does_not_keep_the_body_it_delivered(site, limit):
    site.answers["/"] = answer(200, bytes(3 << 20), Content_Length="")
    with fetcher(max_bytes=limit) as kept:
        tracemalloc.start()
        try:
            kept.fetch(site.url("/"))
            assert tracemalloc.get_traced_memory()[0] < 1 << 20
        finally:
            tracemalloc.stop()


def test_a_small_body_that_unpacks_to_a_huge_one_is_too_large(site):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    site.answers["/a"] = answer(200, bomb, Content_Encoding="gzip")
    assert len(bomb) < 100_000
    assert fetch(site.url("/a"), max_bytes=1 << 20).reason == "too_large"


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.0 200 OK\r\nX: ", b"x"),
        (b"HTTP/1.0 200 ", b"x"),
        (b"HTTP/1.0 404 Not Found\r\nX: ", b"x"),
    ],
    ids=["body", "endless", "chunks", "header", "status", "error"],
)
def test_a_slow_drip_ends_at_the_time_limit(site, start, drop):
    site.answers["/a"] = dripping(start, drop)
    assert fetch(site.url("/a"), timeout_s=0.3).reason == "timeout"
    assert site.hits("/a") <= 1


def test_an_answer_that_is_not_http_is_a_bad_response_and_asked_once(site):
    site.answers["/a"] = lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert fetch(site.url("/a")).reason == "bad_response"
    assert site.hits("/a") == 1


def test_a_silent_server_is_abandoned_at_the_time_limit(site):
    site.answers["/a"] = wait_for_ever
    assert fetch(site.url("/a"), timeout_s=0.2).reason == "timeout"


def test_redirects_share_one_time_limit(site):
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.15)
        answer(302, Location="/a")(handler)

    site.answers["/a"] = slow
    assert fetch(site.url("/a"), timeout_s=0.3).reason == "timeout"
    assert site.hits("/a") <= 3


def test_a_slow_look_up_ends_at_the_time_limit(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", wait_for_ever)
    assert fetch("http://example.com/", timeout_s=0.1).reason == "timeout"


# Retries


def test_a_500_and_then_200_succeeds(site):
    site.answers["/a"] = in_turn(answer(500), answer(200, BODY))
    assert fetch(site.url("/a"), retries=1).data == BODY
    assert site.hits("/a") == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_retries_are_counted(site, status):
    site.answers["/a"] = answer(status)
    assert fetch(site.url("/a"), retries=2).reason == f"http_{status}"
    assert site.hits("/a") == 3
    assert fetch(site.url("/a"), retries=0).reason == f"http_{status}"
    assert site.hits("/a") == 4


def test_a_broken_connection_is_retried(site):
    short = answer(200, BODY[:500], Content_Length="9999")
    site.answers["/a"] = in_turn(short, lambda _: None, answer(200, BODY))
    assert fetch(site.url("/a"), retries=2).data == BODY
    assert site.hits("/a") == 3


def test_a_body_shorter_than_declared_is_incomplete(site):
    site.answers["/a"] = answer(200, BODY, Content_Length=str(len(BODY) + 1))
    assert fetch(site.url("/a"), retries=0).reason == "incomplete"


def test_a_closed_port_is_a_connection_failure():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert fetch(f"http://127.0.0.1:{port}/").reason == "connection"


def test_pauses_grow_and_stay_within_the_time_limit(site, monkeypatch):
    """A pause moves the clock of the event loop and takes no time."""
    site.answers["/a"] = answer(503)
    pauses, sleep = [], asyncio.sleep

    async def jump(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    with fetcher(retries=9, backoff_s=10.0, timeout_s=60.0) as opened:
        monkeypatch.setattr(opened._loop, "time", lambda: time.monotonic() + sum(pauses))
        monkeypatch.setattr(asyncio, "sleep", jump)
        assert opened.fetch(site.url("/a")).reason == "http_503"
    assert pauses == sorted(pauses)
    assert sum(pauses) < 60
    assert site.hits("/a") == len(pauses) + 1 >= 3


def test_the_pause_that_the_server_asks_for_is_kept_or_the_fetch_ends(site):
    site.answers["/a"] = in_turn(answer(429, Retry_After="1"), answer(200, BODY))
    began = time.monotonic()
    assert fetch(site.url("/a")).status == "ok"
    assert time.monotonic() - began >= 1
    site.answers["/b"] = answer(429, Retry_After="3600")
    assert fetch(site.url("/b")).reason == "http_429"
    assert site.hits("/b") == 1


@pytest.mark.parametrize("value", ["soon", "-1", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_odd_retry_after_does_no_harm(site, value):
    site.answers["/a"] = answer(503, Retry_After=value)
    assert fetch(site.url("/a"), retries=1).reason == "http_503"


# Redirects


def test_redirects_are_followed(site):
    for step in range(5):
        site.answers[f"/{step}"] = answer(301 + step % 3, Location=f"/{step + 1}")
    site.answers["/5"] = answer(200, BODY)
    assert fetch(site.url("/0")).data == BODY


def test_the_sixth_redirect_is_one_too_many(site):
    for step in range(6):
        site.answers[f"/{step}"] = answer(302, Location=site.url(f"/{step + 1}"))
    assert fetch(site.url("/0")).reason == "redirects"
    assert not site.hits("/6")


def test_a_redirect_loop_ends(site):
    site.answers["/a"] = answer(302, Location="/b")
    site.answers["/b"] = answer(302, Location="/a")
    assert fetch(site.url("/a")).reason == "redirects"
    assert len(site.requests) == 6


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/", "http://[", "javascript:0"])
def test_a_redirect_away_from_http_is_a_bad_url(site, location):
    site.answers["/a"] = answer(302, Location=location)
    assert fetch(site.url("/a")).reason == "bad_url"


def test_a_redirect_without_a_target_is_its_status(site):
    site.answers["/a"] = answer(302)
    assert fetch(site.url("/a")).reason == "http_302"


def test_a_redirect_in_raw_utf8_is_understood(site):
    site.answers["/a"] = lambda h: h.wfile.write("HTTP/1.0 302 Found\r\nLocation: /é\r\n\r\n".encode())
    site.answers["/%C3%A9"] = answer(200, BODY)
    assert fetch(site.url("/a")).data == BODY


# Addresses


def test_private_hosts_are_refused_unless_listed(site):
    site.answers["/a"] = answer(200, BODY)
    port = site.server_address[1]
    for allowed in ((), ("example.com",), ("127.0.0.1:1",), ("localhost",)):
        assert fetch(site.url("/a"), allow_private_hosts=allowed).reason == "private_address"
    assert not site.requests
    for host, allowed in (
        ("127.0.0.1", f"127.0.0.1:{port}"),
        ("localhost", "localhost"),
        ("LOCALHOST", f"Localhost:{port}"),
    ):
        assert fetch(site.url("/a", host), allow_private_hosts=(allowed,)).status == "ok"


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"])
def test_other_spellings_of_loopback_are_refused(site, host):
    assert fetch(site.url("/a", host), allow_private_hosts=()).reason in {"private_address", "dns"}
    assert not site.requests


def test_a_redirect_to_a_private_host_is_refused(site):
    site.answers["/a"] = answer(302, Location=site.url("/b", "localhost"))
    site.answers["/b"] = answer(200, BODY)
    assert fetch(site.url("/a")).reason == "private_address"
    assert not site.hits("/b")


def addr_infos(*addresses: str) -> list:
    family = {False: socket.AF_INET, True: socket.AF_INET6}
    return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, 80)) for a in addresses]


def test_a_name_is_resolved_once_and_that_address_is_dialled(monkeypatch):
    answers = [addr_infos("10.0.0.1", "93.184.216.34"), addr_infos("127.0.0.1")]
    dialled = []

    def refuse(exchange, addresses, purpose, peer) -> int:
        dialled.append(peer[3])
        return pycurl.SOCKET_BAD

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(transport, "open_checked", refuse)
    assert fetch("http://rebinding.example/", retries=0).reason == "connection"
    assert dialled == [("93.184.216.34", 80)]
    assert fetch("http://rebinding.example/", retries=0).reason == "private_address"
    assert len(dialled) == 1


def test_the_next_address_of_a_host_is_tried(site, monkeypatch):
    site.answers["/a"] = answer(200, BODY)
    port = site.server_address[1]
    dead, live = ((socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("127.0.0.2", "127.0.0.1"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [dead, live])
    assert fetch(site.url("/a", "two.example"), allow_private_hosts=("two.example",)).status == "ok"


def test_a_host_without_address_is_a_dns_failure(monkeypatch):
    def fail(code):
        def getaddrinfo(*_, **__):
            calls.append(code)
            raise socket.gaierror(code, "no such host")

        return getaddrinfo

    for code, tries in ((socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 3)):
        calls: list[int] = []
        monkeypatch.setattr(socket, "getaddrinfo", fail(code))
        assert fetch("http://missing.example/", retries=2).reason == "dns"
        assert len(calls) == tries


PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "::ffff:8.8.8.8"]
NOT_PUBLIC = """
    0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1
    192.0.0.192
    192.0.2.1 192.168.1.1 198.18.0.1 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 2002:7f00:1::
    2002:a00:1::1 2001:db8::1 2001::1 100::1 fc00::1 fd12::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
"""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_addresses_inside_a_network_are_not_public(address):
    assert not is_public(address)


# TLS


@contextmanager
def secure(path: Path, key: Path) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    site = Site()
    site.scheme = "https"
    site.socket = context.wrap_socket(site.socket, server_side=True)
    with serving(site) as running:
        yield running


@pytest.fixture
def secure_site(certificate) -> Iterator[Site]:
    with secure(*certificate) as running:
        yield running


def test_https_is_fetched_from_a_trusted_host_only(secure_site, certificate):
    secure_site.answers["/a"] = answer(200, BODY)
    assert fetch(secure_site.url("/a"), ca_file=str(certificate[0])).data == BODY
    assert fetch(secure_site.url("/a")).reason == "tls"
    wrong_name = fetch(
        secure_site.url("/a", "localhost"),
        ca_file=str(certificate[0]),
        allow_private_hosts=("localhost",),
    )
    assert wrong_name.reason == "tls"
    assert secure_site.hits("/a") == 1


def test_a_connection_that_is_lost_in_the_handshake_is_tried_again(certificate):
    lost = []

    class Overloaded(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            lost.append(self.request.recv(1 if len(lost) % 2 else 65536))  # what is not read makes a reset of the close

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Overloaded) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"https://127.0.0.1:{server.server_address[1]}/a"
        assert fetch(url, ca_file=str(certificate[0]), retries=2).reason == "connection"
        server.shutdown()
    assert len(lost) == 3, "closed and reset alike"


def expired_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that was valid for one day of 2020, and its key."""
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\nserial=serial\npolicy=p\ncopy_extensions=copy\n"
        "[p]\ncommonName=supplied\n"
    )
    request = "req -new -newkey rsa:2048 -nodes -keyout key.pem -out req.pem -subj /CN=tester -addext"
    sign = "ca -batch -selfsign -config ca.cnf -keyfile key.pem -in req.pem -out cert.pem -outdir . -notext -md sha256"
    for arguments in (
        [*request.split(), "subjectAltName=IP:127.0.0.1"],
        [*sign.split(), "-startdate", "20200101000000Z", "-enddate", "20200102000000Z"],
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_an_expired_certificate_is_not_trusted_even_if_it_is_known(certificate, tmp_path):
    path, key = expired_certificate(tmp_path)
    with secure(path, key) as site:
        site.answers["/a"] = answer(200, BODY)
        assert fetch(site.url("/a"), ca_file=str(path)).reason == "tls"


def test_a_slow_drip_over_tls_ends_at_the_time_limit(secure_site, certificate):
    secure_site.answers["/a"] = dripping(b"HTTP/1.0 200 OK\r\n\r\n", b"x")
    assert fetch(secure_site.url("/a"), timeout_s=0.4, ca_file=str(certificate[0])).reason == "timeout"


# Many rows


def test_every_row_has_its_own_result(site):
    for i in range(40):
        site.answers[f"/{i}"] = lambda handler, i=i: (
            time.sleep(0.05 * (i % 5 == 0)),
            answer(200 if i % 3 else 404, b"%d" % i)(handler),
        )
    with fetcher(connections_per_host=8, connections=8) as opened:
        results = list(opened.fetch_many((str(i), site.url(f"/{i}"), None) for i in range(40)))
    assert sorted(position for position, _ in results) == list(range(40))
    for i, fetched in results:
        assert fetched == (Fetched("ok", None, b"%d" % i) if i % 3 else Fetched("failed", "http_404", None))


def test_requests_run_in_parallel(site):
    together = threading.Barrier(8)
    site.answers["/a"] = lambda handler: (together.wait(30), answer(200)(handler))
    with fetcher(connections_per_host=8, connections=8, timeout_s=60) as opened:
        list(opened.fetch_many([("x", site.url("/a"), None)] * 16))
    assert not together.broken


def test_rows_are_read_only_a_little_ahead(site, monkeypatch):
    drawn = []

    def rows():
        for i in range(1000):
            drawn.append(i)
            yield str(i), site.url("/a"), None

    site.answers["/a"] = answer(200, BODY)
    monkeypatch.setattr(fetch_module, "ROWS_AHEAD", 8)
    with fetcher() as opened:
        results = opened.fetch_many(rows())
        next(results)
        assert len(drawn) <= 9
        results.close()


def test_no_request_starts_while_finished_downloads_fill_the_buffer(site, monkeypatch):
    site.answers["/a"] = answer(200, BODY)
    monkeypatch.setattr(fetch_module, "BUFFERED_BYTES", 5 * len(BODY))
    with fetcher(connections=2, connections_per_host=2) as opened:
        results = opened.fetch_many([("x", site.url("/a"), None)] * 60)
        next(results)
        time.sleep(0.3)
        assert site.hits("/a") <= 8  # one taken, five buffered, two running
        assert len(list(results)) == 59


def test_a_slow_host_delays_no_other_row(site):
    release = threading.Event()
    site.answers["/slow"] = lambda handler: (release.wait(10), answer(200, BODY)(handler))
    site.answers["/a"] = answer(200, BODY)
    rows = [("x", site.url("/slow"), None), *([("x", site.url("/a"), None)] * 50)]
    with fetcher(timeout_s=20.0) as opened:
        results = opened.fetch_many(rows)
        assert {next(results)[0] for _ in range(50)} == set(range(1, 51))
        release.set()
        assert [position for position, _ in results] == [0]


def test_no_rows_give_no_results():
    with fetcher() as opened:
        assert list(opened.fetch_many([])) == []


def test_images_with_a_reference_are_not_downloaded(site, tmp_path):
    (tmp_path / "a.png").write_bytes(BODY)
    rows = [
        ("1", site.url("/a"), str(tmp_path / "a.png")),
        ("2", site.url("/a"), str(tmp_path / "missing.png")),
        ("3", None, None),
    ]
    with fetcher() as opened:
        results = [fetched for _, fetched in sorted(opened.fetch_many(rows), key=lambda result: result[0])]
    assert results == [
        Fetched("ok", None, BODY),
        Fetched("failed", "ref_missing", None),
        Fetched("failed", "bad_url", None),
    ]
    assert not site.requests


# Arbitrary input


class RawHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(self.server.payload)


def test_every_server_answer_has_a_reason():
    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), RawHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    heads = [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\nLocation: ", b"HTTP/1.1 200 OK\r\n\r\n"]
    heads += [
        b"HTTP/1.1 200 OK\r\n" + name + b": " for name in (b"Content-Length", b"Transfer-Encoding", b"Content-Encoding")
    ]

    @given(st.sampled_from(heads), st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
    @settings(max_examples=100, deadline=None)
    def check(head, rest):
        server.payload = head + rest
        fetched = opened.fetch(f"http://127.0.0.1:{server.server_address[1]}/")
        assert fetched.reason is None or fetched.reason in REASONS or fetched.reason.startswith("http_")

    try:
        with fetcher(retries=0, timeout_s=1.0) as opened:
            check()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def offline() -> Iterator[Fetcher]:
    with fetcher(retries=0) as opened:
        yield opened


@given(
    st.text(max_size=40).map("http://{}".format)
    | st.text(max_size=40)
    | st.from_regex(r"https?://[a-z@:\[\].%\\/?#0-9é\s]{0,30}", fullmatch=True)
)
@settings(max_examples=200, deadline=None)
def test_every_url_has_a_reason(offline, url):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda host, port, **_: (host.encode("idna"), addr_infos("10.0.0.1"))[1])
        assert offline.fetch(url).reason in {"bad_url", "private_address"}
