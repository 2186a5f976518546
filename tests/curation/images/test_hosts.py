"""Turns at hosts, the breaker, and look-ups: what one host does delays no other."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from curation.images import hosts as hosts_module
from curation.images import resolver as resolver_module
from curation.images.failures import FetchError
from curation.images.hosts import BREAKER_TIMEOUTS, HostLimits
from curation.images.resolver import Resolver


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_host_has_at_most_its_number_of_parallel_requests(parallel):
    running, most = 0, 0

    async def request(limits):
        nonlocal running, most
        async with limits.turn("a.example"):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    async def main():
        limits = HostLimits(parallel, 0.0)
        await asyncio.gather(*(request(limits) for _ in range(20)))

    asyncio.run(main())
    assert most == parallel


def test_requests_of_a_host_start_apart():
    starts = []

    async def request(limits):
        async with limits.turn("a.example"):
            starts.append(time.monotonic())

    async def main():
        limits = HostLimits(8, 0.05)
        await asyncio.gather(*(request(limits) for _ in range(5)))

    began = time.monotonic()
    asyncio.run(main())
    assert all(start - began >= 0.05 * number for number, start in enumerate(starts))


def test_another_host_does_not_wait_for_the_pause_of_one():
    async def main():
        limits = HostLimits(8, 3600.0)
        for host in ("a.example", "b.example"):
            async with limits.turn(host):
                pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), limits.turn("a.example"):
                pass

    asyncio.run(main())


def timeouts(limits, number=BREAKER_TIMEOUTS):
    for _ in range(number):
        limits.record("a.example", timed_out=True)


async def ask(limits, *outcomes, host="a.example"):
    """Make a request for each outcome (answered or not) at the same time; return how many were made, and refused."""
    made, refused = 0, 0

    async def request(answered):
        nonlocal made, refused
        try:
            async with limits.turn(host):
                made += 1
                await asyncio.sleep(0)
                limits.record(host, timed_out=not answered)
        except FetchError as error:
            refused += error.reason == "host_unresponsive"

    await asyncio.gather(*map(request, outcomes))
    return made, refused


@pytest.fixture
def paused_briefly(monkeypatch):
    monkeypatch.setattr(hosts_module, "PAUSE_S", 0.01)


@pytest.mark.usefixtures("paused_briefly")
def test_requests_of_an_unresponsive_host_wait_and_are_made_if_one_is_answered():
    async def main():
        limits = HostLimits(4, 0.0)
        timeouts(limits)
        assert await ask(limits, *[True] * 20) == (20, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("paused_briefly")
def test_one_request_asks_an_unresponsive_host_again_and_the_others_fail_if_it_times_out():
    async def main():
        limits = HostLimits(4, 0.0)
        timeouts(limits)
        assert await ask(limits, *[False] * 20) == (1, 19)
        assert await ask(limits, *[True] * 20) == (0, 20), "it has had its second chance"
        assert await ask(limits, *[True] * 20, host="b.example") == (20, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("paused_briefly")
def test_a_host_that_failed_twice_is_asked_again_by_one_request_at_a_time_after_some_time(monkeypatch):
    async def main():
        limits, now, monotonic = HostLimits(4, 0.0), 0.0, time.monotonic
        monkeypatch.setattr(hosts_module.time, "monotonic", lambda: now + monotonic())
        timeouts(limits)
        assert await ask(limits, False, False) == (1, 1)
        now += hosts_module.BREAKER_S + 1
        assert await ask(limits, *[False] * 9) == (1, 8)
        now += hosts_module.BREAKER_S + 1
        assert await ask(limits, *[True] * 9) == (9, 0)

    asyncio.run(main())


def test_a_host_that_answers_between_timeouts_is_not_unresponsive():
    async def main():
        limits = HostLimits(4, 0.0)
        for _ in range(3):
            timeouts(limits, BREAKER_TIMEOUTS - 1)
            limits.record("a.example", timed_out=False)
        timeouts(limits, BREAKER_TIMEOUTS - 1)
        assert await ask(limits, *[True] * 9) == (9, 0)

    asyncio.run(main())


@pytest.mark.usefixtures("paused_briefly")
def test_a_request_that_is_canceled_while_it_asks_leaves_the_host_usable():
    async def main():
        limits = HostLimits(1, 0.0)
        timeouts(limits)

        async def hang():
            async with limits.turn("a.example"):
                await asyncio.Event().wait()

        hanging = asyncio.create_task(hang())
        await asyncio.sleep(0.05)
        hanging.cancel()
        await asyncio.wait([hanging])
        assert await ask(limits, True) == (0, 1)
        limits.record("a.example", timed_out=False)
        assert await ask(limits, True, True) == (2, 0)

    asyncio.run(main())


def test_only_idle_hosts_are_forgotten(monkeypatch):
    monkeypatch.setattr(hosts_module, "REMEMBERED_HOSTS", 3)

    async def main():
        limits = HostLimits(1, 0.0)
        async with limits.turn("busy.example"):
            for number in range(10):
                limits.record(f"{number}.example", timed_out=True)
            assert "busy.example" in limits._hosts
        for number in range(10):
            limits.record(f"{number}.example", timed_out=True)
        assert len(limits._hosts) == 3

    asyncio.run(main())


# Look-ups


def looked_up(monkeypatch, answer):
    calls = []

    def getaddrinfo(host, *_, **__):
        calls.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer(host), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return calls


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "017700000001", "::1"])
def test_a_literal_address_is_never_looked_up(monkeypatch, host):
    calls = looked_up(monkeypatch, lambda _: "9.9.9.9")
    assert asyncio.run(Resolver().addresses(host)) == ["::1" if host == "::1" else "127.0.0.1"]
    assert calls == []


def test_a_name_is_looked_up_once_for_all_who_wait_and_then_cached(monkeypatch):
    calls = looked_up(monkeypatch, lambda _: "9.9.9.9")

    async def main():
        resolver = Resolver()
        first = await asyncio.gather(*(resolver.addresses("a.example") for _ in range(20)))
        return [*first, await resolver.addresses("a.example")]

    assert asyncio.run(main()) == [["9.9.9.9"]] * 21
    assert calls == ["a.example"]


def test_names_that_are_slow_to_resolve_delay_no_other_name(monkeypatch):
    release = threading.Event()

    def answer(host):
        if host.startswith("slow"):
            release.wait(30)
        return "9.9.9.9"

    looked_up(monkeypatch, answer)
    monkeypatch.setattr(resolver_module, "PARALLEL_LOOKUPS", 4)
    monkeypatch.setattr(resolver_module, "TURN_S", 0.05)

    async def main():
        resolver = Resolver()
        slow = [asyncio.create_task(resolver.addresses(f"slow{n}.example")) for n in range(16)]
        await asyncio.sleep(0)
        fast = await asyncio.gather(*(resolver.addresses(f"{n}.example") for n in range(48)))
        assert not any(task.done() for task in slow)
        release.set()
        return fast + list(await asyncio.gather(*slow))

    assert asyncio.run(main()) == [["9.9.9.9"]] * 64


def test_a_look_up_beyond_its_time_limit_is_a_dns_failure_and_is_cached(monkeypatch):
    release = threading.Event()
    calls = looked_up(monkeypatch, lambda _: release.wait(10) and "9.9.9.9")
    monkeypatch.setattr(resolver_module, "TURN_S", 0.02)
    monkeypatch.setattr(resolver_module, "LOOKUP_S", 0.05)

    async def main():
        resolver = Resolver()
        for _ in range(2):
            with pytest.raises(FetchError, match="dns"):
                await resolver.addresses("slow.example")
        release.set()

    asyncio.run(main())
    assert calls == ["slow.example"]


def test_the_cache_is_bounded(monkeypatch):
    looked_up(monkeypatch, lambda _: "9.9.9.9")
    monkeypatch.setattr(resolver_module, "CACHED_NAMES", 5)

    async def main():
        resolver = Resolver()
        for number in range(20):
            await resolver.addresses(f"{number}.example")
        return len(resolver._cache)

    assert asyncio.run(main()) == 5


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1"),
    ],
)
def test_a_literal_has_the_form_of_the_system(host, address):
    assert asyncio.run(Resolver().addresses(host.strip("[]"))) == [address]
