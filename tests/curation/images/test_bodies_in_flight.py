"""What is being received is bounded in total, whatever the number of connections, and nobody is blamed for waiting."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from curation.images import fetch as fetch_module
from curation.images.body_room import BodyRoom, Space
from curation.images.download import FetchSettings
from curation.images.fetch import Fetcher
from support.http2_server import Stream, serving_http2
from support.raw_server import raw_server

ROWS = 30
BODY = bytes(range(256)) * 800
CAPACITY = 3 * len(BODY)


def new_fetcher(**options) -> Fetcher:
    defaults = {
        "timeout_s": 30.0, "allow_private_hosts": ("127.0.0.1",), "retries": 0, "connections": ROWS,
        "connections_per_host": ROWS, "max_bytes": len(BODY),
    }  # fmt: skip
    return Fetcher(FetchSettings(**(defaults | options)))


@pytest.fixture
def most(monkeypatch) -> list[int]:
    """The most bytes that bodies took so far, as a list of one number, with a small capacity."""
    measured, resize = [0], BodyRoom.resize

    def measure(self, space, size):
        resize(self, space, size)
        measured[0] = max(measured[0], self._held)

    monkeypatch.setattr(BodyRoom, "resize", measure)
    monkeypatch.setattr(fetch_module, "BUFFERED_BYTES", CAPACITY)
    monkeypatch.setattr("curation.images.body_room.FIRST_BYTES", 1)  # all requests start at the same time
    return measured


def check(fetcher: Fetcher, urls: list[str], pause: Callable[[], object] = lambda: None) -> None:
    """Fetch all URLs, with a pause after the first result; each gives the body."""
    results = fetcher.fetch_many([("x", url, None) for url in urls])
    taken = [next(results)]
    pause()
    taken += results
    assert Counter((fetched.reason, fetched.data == BODY) for _, fetched in taken) == {(None, True): len(urls)}


@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n" % len(BODY), b""])
def test_bodies_that_arrive_at_the_same_time_take_at_most_the_capacity_and_one_body(most, head):
    """The server sends half of every body before it sends the rest of any."""
    halves = threading.Barrier(ROWS)

    def answer():
        yield b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + BODY[:1000]
        halves.wait(60)
        yield BODY[1000:]

    with raw_server() as server, new_fetcher() as fetcher:
        server.responses = {f"/{n}": answer() for n in range(ROWS)}
        check(fetcher, [server.url(f"/{n}") for n in range(ROWS)])
    assert CAPACITY < most[0] <= CAPACITY + len(BODY)


def test_streams_of_one_connection_take_no_more_than_that_either(most, certificate):
    async def answer(stream: Stream) -> None:
        await stream.head()
        await stream.data(BODY, ends=True)

    with serving_http2(certificate) as server, new_fetcher(ca_file=str(certificate[0])) as fetcher:
        server.answers = {f"/{n}": answer for n in range(ROWS)}
        check(fetcher, [server.url(f"/{n}") for n in range(ROWS)])
    assert most[0] <= CAPACITY + len(BODY)


def test_a_transfer_that_waits_for_room_does_not_time_out(most, monkeypatch):
    """When all of them wait, the clock of the event loop jumps by more than the time of a URL."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    kept, rooms, keep, late_s = [], [], Space.keep, 0.0

    def note(self, size):
        keep(self, size)
        kept.append(size)
        rooms[:] = [self._room]

    def jump():
        nonlocal late_s
        while len(kept) + len(rooms[0]._paused) < ROWS:
            time.sleep(0.01)
        assert len(rooms[0]._paused) > ROWS / 2
        late_s = 1000.0

    monkeypatch.setattr(Space, "keep", note)
    with raw_server() as server, new_fetcher(timeout_s=100.0) as fetcher:
        monkeypatch.setattr(fetcher._loop, "time", lambda: time.monotonic() + late_s)
        server.responses = {f"/{n}": head + BODY for n in range(ROWS)}
        check(fetcher, [server.url(f"/{n}") for n in range(ROWS)], jump)


def test_large_bodies_are_received_one_after_the_other_if_there_is_no_other_way(most, monkeypatch):
    monkeypatch.setattr(fetch_module, "BUFFERED_BYTES", 1)
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with raw_server() as server, new_fetcher() as fetcher:
        server.responses = {f"/{n}": head + BODY for n in range(ROWS)}
        check(fetcher, [server.url(f"/{n}") for n in range(ROWS)])
    assert most[0] <= 1 + len(BODY)


# Image references


def test_a_reference_that_hangs_fails_and_delays_no_other(monkeypatch):
    monkeypatch.setattr(fetch_module, "REF_TURN_S", 0.01)
    monkeypatch.setattr(fetch_module, "REF_LIMIT_S", 1.5)
    release = threading.Event()

    def read(reference: str) -> bytes:
        if reference.startswith("hangs"):
            release.wait(60)
        return BODY

    names = [f"hangs {n}" if n % 3 == 0 else f"good {n}" for n in range(ROWS)]
    with new_fetcher() as fetcher:
        results = dict(fetcher.fetch_many([("x", None, name) for name in names], read))
        assert [results[n].reason for n in range(ROWS)] == [
            "timeout" if name.startswith("hangs") else None for name in names
        ]
        release.set()


def test_a_fetcher_does_not_wait_long_for_a_reference_that_hangs(monkeypatch):
    monkeypatch.setattr(fetch_module, "REF_LIMIT_S", 0.05)
    monkeypatch.setattr(fetch_module, "CLOSING_S", 0.05)
    release = threading.Event()
    with new_fetcher() as fetcher:
        [(_, fetched)] = fetcher.fetch_many([("x", None, "hangs")], lambda _: (release.wait(600), b"")[1])
    assert fetched.reason == "timeout"
    assert not release.is_set()
    release.set()
