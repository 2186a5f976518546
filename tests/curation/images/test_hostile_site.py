"""A site on which nearly everything is wrong: each case costs its own image and has its recorded reason."""

from __future__ import annotations

import gzip
import io
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator

import pycurl
import pytest
from PIL import Image

from curation.images import fetch, hosts, transport
from curation.images.addresses import is_public
from curation.images.decode import ImageLimits
from curation.images.download import FetchSettings
from curation.images.fetch import Fetcher
from curation.images.rows import fetch_and_verify
from support.raw_server import RawServer, raw_server

LIMITS = ImageLimits(max_side=64, formats=("JPEG", "PNG", "WEBP", "GIF"))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def photo(width: int = 40, height: int = 30) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def ok(body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers))
    return head.encode() + b"\r\n" + body


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(width: int = 20_000, height: int = 20_000) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


def png_with_text_bomb() -> bytes:
    """A picture with a text of 64 MB in 64 KB."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 << 20)))
    return PNG[:33] + text + PNG[33:]


def webp_of_36_bytes() -> bytes:
    """The header of a WebP of 16,383 x 16,383 pixels."""
    frame = b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little") + bytes(11)
    return b"RIFF" + struct.pack("<I", 28) + b"WEBPVP8L" + struct.pack("<I", len(frame)) + frame


def jpeg_of_4000_scans() -> bytes:
    data = encoded(photo(), "JPEG", progressive=True)
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * 4000 + data[-2:]


def slowly(start: bytes, drop: bytes) -> Iterator[bytes]:
    yield start
    while True:
        time.sleep(0.02)
        yield drop


def endless(start: bytes, part: bytes) -> Iterator[bytes]:
    yield start
    while True:
        yield part


JPEG = encoded(photo(), "JPEG")
PNG = encoded(photo(), "PNG")
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EXIF = {value: Image.Exif() for value in range(1, 9)}
for value, block in EXIF.items():
    block[0x0112] = value
ANIMATED = encoded(photo(), "GIF", save_all=True, append_images=[photo().rotate(90)])
PALETTE = encoded(photo().convert("P"), "PNG", transparency=0)
BOMB = bytes(4 << 20)
BROTLI_BOMB = bytes.fromhex("9bffff3ff82700e2b14020f7fe07")  # the same

# path: the answer, the reason (None: stored) and the stored size
CASES: dict[str, tuple[bytes | Iterator[bytes], str | None, tuple[int, int] | None]] = {
    "slow-headers": (slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x"), "timeout", None),
    "drip-body": (slowly(ok(JPEG)[:-600], b"x"), "timeout", None),
    "endless-body": (endless(HEAD + b"\r\n", b"x" * 65536), "too_large", None),
    "endless-header": (endless(HEAD + b"X: ", b"x" * 65536), "bad_response", None),
    "headers": (HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n", "bad_response", None),
    "length-too-long": (HEAD + b"Content-Length: 99999\r\n\r\n" + JPEG, "incomplete", None),
    "length-too-short": (HEAD + b"Content-Length: 300\r\n\r\n" + JPEG, "truncated", None),
    "length-negative": (HEAD + b"Content-Length: -5\r\n\r\n" + JPEG, "bad_response", None),
    "length-twice": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + JPEG, "bad_response", None),
    "length-huge": (HEAD + b"Content-Length: 99999999999\r\n\r\n", "too_large", None),
    "bad-chunks": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", "bad_response", None),
    "missing-chunk-end": (CHUNKED + b"5\r\nhello", "incomplete", None),
    "gzip-bomb": (ok(gzip.compress(BOMB), "Content-Encoding: gzip"), "encoding_bomb", None),
    "deflate-bomb": (ok(zlib.compress(BOMB), "Content-Encoding: deflate"), "encoding_bomb", None),
    "brotli-bomb": (ok(BROTLI_BOMB, "Content-Encoding: br"), "content_encoding", None),
    "gzip-twice": (ok(gzip.compress(gzip.compress(JPEG)), "Content-Encoding: gzip, gzip"), "content_encoding", None),
    "not-gzip": (ok(JPEG, "Content-Encoding: gzip"), "content_encoding", None),
    "huge-png": (ok(huge_png()), "too_many_pixels", None),
    "png-text-bomb": (ok(png_with_text_bomb()), None, (40, 30)),
    "webp-bomb": (ok(webp_of_36_bytes()), "too_many_pixels", None),
    "bmp": (ok(encoded(photo(), "BMP")), "format_refused", None),
    "jpeg-scans": (ok(jpeg_of_4000_scans()), "too_many_parts", None),
    "html-as-jpeg": (ok(b"<!DOCTYPE html><html>not here</html>", "Content-Type: image/jpeg"), "not_an_image", None),
    "svg": (ok(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "Content-Type: image/svg+xml"), "not_an_image", None),
    "pdf": (ok(b"%PDF-1.7\n1 0 obj\n", "Content-Type: image/png"), "not_an_image", None),
    "wrong-type": (ok(JPEG, "Content-Type: text/html"), None, (40, 30)),
    "no-type": (ok(JPEG), None, (40, 30)),
    "loop": (redirect("/loop"), "redirects", None),
    "to-metadata": (redirect("http://169.254.169.254/latest/meta-data/"), "private_address", None),
    "to-azure": (redirect("http://168.63.129.16/"), "private_address", None),
    "to-metadata6": (redirect("http://[fd00:ec2::254]/"), "private_address", None),
    "to-loopback": (redirect("http://127.0.0.2/"), "private_address", None),
    "to-loopback-hex": (redirect("http://0x7f000001/"), "private_address", None),
    "to-loopback6": (redirect("http://[::1]/"), "private_address", None),
    "to-file": (redirect("file:///etc/passwd"), "bad_url", None),
    "to-port": (redirect("http://127.0.0.1:22/"), "private_address", None),
    "to-gopher": (redirect("gopher://127.0.0.1/"), "bad_url", None),
    "truncated": (ok(JPEG[:400]), "truncated", None),
    "empty": (ok(b""), "not_an_image", None),
    "silent": (b"", "connection", None),
    "one-pixel": (ok(encoded(photo(1, 1), "PNG")), None, (1, 1)),
    "line": (ok(encoded(photo(1, 10_000), "PNG")), None, (1, 64)),
    "animated": (ok(ANIMATED), None, (40, 30)),
    "animated-webp": (ok(encoded(photo(), "WEBP", save_all=True, append_images=[photo().rotate(90)])), None, (40, 30)),
    "cmyk": (ok(encoded(photo().convert("CMYK"), "JPEG")), None, (40, 30)),
    "sixteen-bit": (ok(encoded(Image.linear_gradient("L").convert("I;16"), "PNG")), None, (64, 64)),
    "palette-alpha": (ok(PALETTE), None, (40, 30)),
    "early-hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(JPEG), None, (40, 30)),
    "not-http": (b"220 ftp.example FTP server ready\r\n", "bad_response", None),
    "http-2-unasked": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_response", None),
    **{
        f"exif-{value}": (ok(encoded(photo(), "JPEG", exif=EXIF[value])), None, (40, 30) if value < 5 else (30, 40))
        for value in EXIF
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[RawServer]:
    with raw_server() as running:
        running.responses = {f"/{name}": response for name, (response, *_) in CASES.items()}
        running.responses["/good"] = ok(PNG)
        yield running


def settings(server: RawServer, **options) -> FetchSettings:
    allowed = (f"127.0.0.1:{server.server_address[1]}",)
    defaults = {"timeout_s": 1.5, "max_bytes": 1 << 20, "allow_private_hosts": allowed, "retries": 0}
    return FetchSettings(**(defaults | {"connections_per_host": 16} | options))


def test_every_case_has_its_reason_and_costs_nothing_else(site):
    names = [name for case in CASES for name in (case, "good")]
    with Fetcher(settings(site, timeout_s=4.0)) as fetcher:
        rows = list(fetch_and_verify([(name, site.url(f"/{name}"), None) for name in names], fetcher, LIMITS))
    assert [row["image_id"] for row in rows] == names
    found = {row["image_id"]: (row["reason"], (row["width"], row["height"])) for row in rows}
    expected = {name: (reason, size or (None, None)) for name, (_, reason, size) in CASES.items()}
    assert found == expected | {"good": (None, (40, 30))}
    assert not {path for path in site.requested if path.strip("/") not in {*CASES, "good"}}


def addr_infos(*addresses: str) -> list:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]


def test_a_name_that_turns_private_at_the_second_look_up_is_not_connected_to(site, monkeypatch):
    """The first answer leaves the cache after a moment; what it was then is worth nothing."""
    answers, opened = [addr_infos("93.184.216.34"), addr_infos("127.0.0.1"), addr_infos("169.254.169.254")], []

    def refuse(exchange, addresses, purpose, peer) -> int:
        opened.append(peer[3][0])
        return pycurl.SOCKET_BAD

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr("curation.images.resolver.ADDRESSES_VALID_S", 0.0)
    monkeypatch.setattr(transport, "open_checked", refuse)
    with Fetcher(settings(site)) as fetcher:
        reasons = [fetcher.fetch(f"http://rebinding.example:{site.server_address[1]}/good").reason for _ in range(3)]
    assert reasons == ["connection", "private_address", "private_address"]
    assert opened == ["93.184.216.34"]


@pytest.mark.parametrize("peer", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "8.8.4.4"])
def test_a_socket_to_an_address_that_was_not_checked_is_never_opened(peer):
    refused = []

    class Recorder:
        def refuse(self, reason):
            refused.append(reason)

    assert is_public("8.8.8.8")
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, (peer, 80))
    assert transport.open_checked(Recorder(), ("8.8.8.8",), 0, address) == pycurl.SOCKET_BAD
    assert refused == ["private_address"]


SPELLINGS = """
    127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0x7f.0.0.1 0177.0.0.1 017700000001 127.000.000.001 localhost
    LOCALHOST localhost. 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:0:0:1] [64:ff9b::7f00:1]
    [2002:7f00:1::] 127.0.0.1. ①②⑦.⓪.⓪.① 127。0。0。1
"""


@pytest.mark.parametrize("host", SPELLINGS.split())
def test_no_spelling_of_loopback_reaches_it(site, host):
    before = len(site.requested)
    with Fetcher(settings(site, allow_private_hosts=())) as fetcher:
        reason = fetcher.fetch(site.url("/good", host)).reason
    assert reason in {"private_address", "dns", "bad_url"}
    assert len(site.requested) == before


def test_bytes_after_a_kept_response_are_not_the_next_answer():
    """The first answer has a second one behind it, which must not be taken for that of the next request."""
    first, second = b"a" * 100, b"b" * 100
    with raw_server() as server:
        server.responses = {"/first": ok(first) + ok(b"planted"), "/second": ok(second)}
        with Fetcher(settings(server)) as fetcher:
            assert [fetcher.fetch(server.url(path)).data for path in ("/first", "/second")] == [first, second]
        assert server.requested == ["/first", "/second"]


@pytest.mark.parametrize("resets", [1, 2, 3])
def test_a_reset_inside_a_body_is_tried_again_and_then_incomplete(resets):
    with raw_server() as server:
        server.responses = {"/": iter(())}
        tries = iter([ok(PNG)[:50]] * resets + [ok(PNG)])
        right = server.finish_request

        def finish_request(request, address):
            server.responses["/"] = next(tries)
            if len(server.responses["/"]) == 50:
                request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            right(request, address)

        server.finish_request = finish_request
        with Fetcher(settings(server, retries=2, timeout_s=60.0, backoff_s=0.01)) as fetcher:
            fetched = fetcher.fetch(server.url("/"))
        assert (fetched.data, fetched.reason) == ((PNG, None) if resets < 3 else (None, "incomplete"))
        assert server.requested == ["/"] * min(resets + 1, 3)


def test_ipv6_hosts_are_fetched_and_checked_like_others():
    try:
        context = raw_server(("::1", 0))
        server = context.__enter__()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    try:
        server.responses = {"/": ok(PNG)}
        port = server.server_address[1]
        with Fetcher(settings(server, allow_private_hosts=(f"[::1]:{port}",))) as fetcher:
            assert fetcher.fetch(server.url("/", "[::1]")).data == PNG
        with Fetcher(settings(server, allow_private_hosts=(f"[::1]:{port + 1}",))) as fetcher:
            assert fetcher.fetch(server.url("/", "[::1]")).reason == "private_address"
    finally:
        context.__exit__(None, None, None)


def test_a_task_ends_at_its_deadline_whatever_its_hosts_do(site):
    paths = [f"/slow{n}" for n in range(8)]
    site.responses |= {path: slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x") for path in paths}
    with Fetcher(settings(site, timeout_s=60.0, task_timeout_s=0.5, connections_per_host=2)) as fetcher:
        began = time.monotonic()
        results = dict(fetcher.fetch_many([("x", site.url(path), None) for path in paths]))
    assert time.monotonic() - began < 30
    assert {fetched.reason for fetched in results.values()} == {"task_timeout"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_task_that_has_no_time_at_all_ends_too(site, monkeypatch, rows):
    """Its rows end before their first step, some before they have started."""
    monkeypatch.setattr(fetch, "ROWS_AHEAD", 64)
    with Fetcher(settings(site, task_timeout_s=1e-9)) as fetcher:
        results = list(fetcher.fetch_many([("x", site.url("/good"), None)] * rows))
    assert sorted(position for position, _ in results) == list(range(rows))
    assert {fetched.reason for _, fetched in results} <= {None, *fetch.TIME_OVER}


@pytest.fixture
def paused_briefly(monkeypatch):
    """A host that let requests time out is asked again at once."""
    monkeypatch.setattr(hosts, "PAUSE_S", 0.0)


@pytest.mark.usefixtures("paused_briefly")
def test_a_host_that_recovers_loses_no_more_than_the_requests_that_timed_out():
    """Its first four requests are answered too late."""
    asked = iter([True] * 4)

    def answer() -> Iterator[bytes]:
        yield from slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n") if next(asked, False) else [ok(PNG)]

    with raw_server() as server:
        server.responses = {f"/{n}": answer() for n in range(40)}
        with Fetcher(settings(server, timeout_s=2.0, connections_per_host=4)) as fetcher:
            results = dict(fetcher.fetch_many([("x", server.url(f"/{n}"), None) for n in range(40)]))
    assert Counter(fetched.reason for fetched in results.values()) == {"timeout": 4, None: 36}
    assert len(server.requested) == 40


@pytest.mark.usefixtures("paused_briefly")
def test_a_host_that_lets_requests_time_out_is_left_alone():
    with raw_server() as server:
        server.responses = {f"/{n}": slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n") for n in range(40)}
        with Fetcher(settings(server, timeout_s=0.3, connections_per_host=4)) as fetcher:
            results = dict(fetcher.fetch_many([("x", server.url(f"/{n}"), None) for n in range(40)]))
        reasons = [results[n].reason for n in range(40)]
        assert set(reasons) == {"timeout", "host_unresponsive"}
        assert len(server.requested) == reasons.count("timeout") <= 8


def test_a_kept_connection_that_is_closed_when_it_is_used_again_costs_no_request():
    """Every answer promises to keep the connection, and the server closes it."""
    with raw_server() as server:
        server.responses = {"/": ok(PNG)}
        with Fetcher(settings(server, connections_per_host=2)) as fetcher:
            results = dict(fetcher.fetch_many([("x", server.url("/"), None)] * 300))
    assert {fetched.reason for fetched in results.values()} == {None}
