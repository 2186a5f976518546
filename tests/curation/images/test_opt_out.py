"""What owners of sites refuse: by robots.txt, by headers, and by lists of hosts that must not be asked."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Iterator

import pytest

from curation.filters.blocklists import UrlBlockList
from curation.images import robots_txt
from curation.images.download import FetchSettings
from curation.images.failures import FetchError
from curation.images.fetch import Fetcher
from curation.images.robots_txt import RobotsFiles
from curation.images.time_budget import TimeBudget
from support.loopback import Answer, Loopback, serving

BODY = b"picture"


@pytest.fixture
def site() -> Iterator[Loopback]:
    """A server that answers every path with a body, and /robots.txt with `rules` if there are any."""

    def respond(request):
        if request.path == "/robots.txt":
            return running.rules
        return Answer(200, BODY)

    with serving(respond) as running:
        running.rules = Answer(404)
        yield running


def fetch(site, *paths, blocked=(), **options):
    """Return the reasons of some paths, which are fetched one after the other."""
    defaults = {"timeout_s": 60.0, "allow_private_hosts": ("127.0.0.1", "localhost"), "retries": 0}
    with Fetcher(FetchSettings(**(defaults | options)), UrlBlockList(blocked)) as opened:
        return [opened.fetch(path if "://" in path else site.url + path).reason for path in paths]


def requested(site):
    return [request.path for request in site.requests]


RULES = Answer(
    200, b"User-agent: *\nDisallow: /private/\n\nUser-agent: worldcurate\nDisallow: /ours/\nAllow: /ours/open\n"
)


def test_a_disallowed_url_is_not_requested_and_the_file_is_read_once(site):
    site.rules = RULES
    reasons = fetch(
        site, "/ours/a.png", "/ours/open.png", "/private/a.png", robots_txt=True, user_agent="worldcurate/1 x"
    )
    assert reasons == ["robots_txt", None, None]
    assert requested(site) == ["/robots.txt", "/ours/open.png", "/private/a.png"]


def test_other_robots_have_the_rules_for_all(site):
    site.rules = RULES
    assert fetch(site, "/ours/a.png", "/private/a.png", robots_txt=True, user_agent="tester") == [None, "robots_txt"]


def test_robots_txt_is_not_asked_for_by_default(site):
    site.rules = RULES
    assert fetch(site, "/ours/a.png") == [None]
    assert requested(site) == ["/ours/a.png"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(404), None),
        (Answer(410), None),
        (Answer(403), None),
        (Answer(200, b""), None),
        (Answer(200, b"\xff\xfe\x00<html>"), None),
        (Answer(429), "robots_txt_unreachable"),
        (Answer(500), "robots_txt_unreachable"),
        (Answer(302, headers={"Location": "/robots.txt"}), "robots_txt_unreachable"),
        (Answer(200, b"User-agent: *\nDisallow: /\n"), "robots_txt"),
        (Answer(200, b"x: y\n" * 200_000 + b"User-agent: *\nDisallow: /\n"), None),
    ],
    ids=["404", "410", "403", "empty", "binary", "429", "500", "loop", "all", "beyond 500 KiB"],
)
def test_a_missing_file_allows_everything_and_an_unreadable_one_nothing(site, answer, reason):
    site.rules = answer
    assert fetch(site, "/a.png", "/b.png", robots_txt=True) == [reason, reason]
    assert requested(site).count("/robots.txt") == (6 if "Location" in answer.headers else 1)


def test_the_target_of_a_redirect_is_checked_too(site):
    site.rules = Answer(200, b"User-agent: *\nDisallow: /private/\n")
    site.faults["/a.png"].append(Answer(302, headers={"Location": "/private/a.png"}))
    assert fetch(site, "/a.png", robots_txt=True) == ["robots_txt"]
    assert "/private/a.png" not in requested(site)


def test_a_robots_txt_is_asked_for_again_after_a_failure_that_passes(site):
    site.faults["/robots.txt"].append(Answer(503))
    assert fetch(site, "/a.png", "/b.png", robots_txt=True, retries=1, backoff_s=0.01) == [None, None]
    assert requested(site).count("/robots.txt") == 2


def test_a_robots_txt_that_is_never_answered_leaves_time_and_refuses_all_urls_of_its_site(site):
    site.rules = Answer(200, b"x" * 10, {"Content-Length": "11"}, hang_s=60.0)
    urls = [(str(n), f"{site.url}/{n}.png", None) for n in range(20)]
    with Fetcher(FetchSettings(timeout_s=1.0, allow_private_hosts=("127.0.0.1",), robots_txt=True)) as opened:
        assert {fetched.reason for _, fetched in opened.fetch_many(urls)} == {"robots_txt_unreachable"}
    assert requested(site) == ["/robots.txt"]


def test_the_time_of_a_robots_txt_is_that_of_the_url(site):
    """The URL is redirected when it has less time left than a robots.txt may take."""
    other = site.url.replace("127.0.0.1", "localhost")

    def respond(request):
        if request.headers["Host"].startswith("localhost"):
            return Answer(200, b"x", {"Content-Length": "2"}, hang_s=60.0)
        if request.path == "/a.png":
            time.sleep(1.6)
            return Answer(302, headers={"Location": f"{other}/b.png"})
        return Answer(404)

    site.respond = respond
    assert fetch(site, "/a.png", robots_txt=True, timeout_s=2.0) == ["timeout"]
    assert requested(site).count("/robots.txt") <= 2


def test_a_url_whose_robots_txt_waits_for_its_turn_loses_no_time():
    async def read(url, budget):
        await asyncio.sleep(0.2)  # in a queue
        async with budget.spend():
            return b""

    async def main():
        await RobotsFiles("tester", read, 1.0).check("http://a.example/a.png", TimeBudget(0.1))

    asyncio.run(main())


def test_a_url_waits_for_a_robots_txt_no_longer_than_its_own_time():
    async def read(url, budget):
        async with budget.spend():
            await asyncio.Event().wait()

    async def main():
        files = RobotsFiles("tester", read, 600.0)
        with pytest.raises(FetchError, match="timeout"):
            await files.check("http://a.example/a.png", TimeBudget(0.05))

    asyncio.run(main())


def test_rules_are_remembered_for_a_bounded_number_of_sites(site, monkeypatch):
    monkeypatch.setattr(robots_txt, "REMEMBERED_SITES", 1)
    other = site.url.replace("127.0.0.1", "localhost")
    assert fetch(site, "/a.png", f"{other}/a.png", "/a.png", robots_txt=True) == [None] * 3
    assert requested(site).count("/robots.txt") == 3


# Headers


@pytest.mark.parametrize(
    ("value", "honored", "reason"),
    [("1", True, "tdm_reserved"), ("1", False, None), ("0", True, None), ("", True, None)],
)
def test_a_reservation_of_text_and_data_mining_is_honored(site, value, honored, reason):
    site.faults["/a.png"].append(Answer(200, BODY, {"TDM-Reservation": value}))
    assert fetch(site, "/a.png", tdm_reservation=honored) == [reason]


def test_a_refusal_in_a_header_is_final(site):
    site.faults["/a.png"].append(Answer(200, BODY, {"X-Robots-Tag": "noai"}))
    assert fetch(site, "/a.png", retries=3) == ["image_noai"]
    assert requested(site) == ["/a.png"]


# Lists


def test_blocked_hosts_and_prefixes_are_never_requested(site):
    blocked = ("127.0.0.1/private",)
    assert fetch(site, "/private/a.png", "/a.png", blocked=blocked) == ["blocked_host", None]
    assert fetch(site, "/a.png", "http://a.example/x.png", blocked=["127.0.0.1", "example"]) == ["blocked_host"] * 2
    assert requested(site) == ["/a.png"]


def test_a_redirect_to_a_blocked_host_is_not_followed(site):
    site.faults["/a.png"].append(
        Answer(302, headers={"Location": site.url.replace("127.0.0.1", "localhost") + "/b.png"})
    )
    assert fetch(site, "/a.png", blocked=["localhost"]) == ["blocked_host"]
    assert requested(site) == ["/a.png"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_robots_txt_is_obeyed(site, encoding):
    body = gzip.compress(RULES.body) if encoding == "gzip" else zlib.compress(RULES.body)
    site.rules = Answer(200, body, {"Content-Encoding": encoding})
    assert fetch(site, "/private/a.png", robots_txt=True, user_agent="tester") == ["robots_txt"]


@pytest.mark.parametrize(
    "location",
    ["http://BLOCKED.example/x", "//Blocked.Example/x", "http://bl%6fcked.example/x", "http://blocked.example./x",
     "http://b\u00fccher.example/x", "http://sub.blocked.example/x"],
)  # fmt: skip
def test_a_redirect_to_a_blocked_host_is_not_followed_however_it_is_spelled(location):
    answer = Answer(302, b"", {"Location": location.encode().decode("latin-1")})
    with serving(lambda _: answer) as site:
        assert fetch(site, "/a.png", blocked=["blocked.example", "b\u00fccher.example"]) == ["blocked_host"]
