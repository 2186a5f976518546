from __future__ import annotations

import io
import json
import time

import pytest

from curation.cli.run import run_command
from curation.errors import InputError, UsageError
from metadata import api
from metadata.fetch.mediawiki import MediaWiki
from metadata.lists.build import DumpCounters, article_texts
from support.loopback import Answer, serving

PATH = "/w/api.php"
PAGES = {
    "Dog": (1, 0, "Dok em i animal.\n\n== Kala ==\nRed."),
    "Pusi": (2, 0, "Pusi em i animal."),
    "Talk:Dog": (3, 1, "chat"),
    "Pik": (4, 0, "Pik " * 100),
}
REDIRECTS = {"Hund": "Dog"}
CATEGORIES = {
    "Category:Animal": [("Dog", 0), ("Talk:Dog", 1), ("Category:Big", 14), ("Pusi", 0)],
    "Category:Big": [("Pik", 0), ("Dog", 0), ("Category:Animal", 14)],
}


def mediawiki(request):
    """Answer the queries of these tests as api.php does, with two members of a category per answer."""
    query = request.query
    if query.get("list") == "categorymembers":
        members = CATEGORIES.get(query["cmtitle"], [])
        start = int(query.get("cmcontinue", 0))
        found = [{"pageid": 9, "ns": ns, "title": title} for title, ns in members[start : start + 2]]
        more = {"continue": {"cmcontinue": str(start + 2), "continue": "-||"}} if members[start + 2 :] else {}
        return answer({"query": {"categorymembers": found}, **more})
    assert query["prop"] == "extracts"
    assert query["explaintext"] == "1"
    title = REDIRECTS.get(query["titles"], query["titles"])
    if title not in PAGES:
        return answer({"query": {"pages": {"-1": {"ns": 0, "title": title, "missing": ""}}}})
    number, ns, text = PAGES[title]
    return answer({"query": {"pages": {str(number): {"pageid": number, "ns": ns, "title": title, "extract": text}}}})


def answer(body):
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def server():
    with serving(mediawiki) as running:
        yield running


def wiki(server, **options):
    defaults = {"per_second": 1000, "retries": 3, "backoff_s": 0.01, "timeout_s": 5}
    return MediaWiki(server.url + PATH, "tpi", "tests (t@example.org)", **{**defaults, **options})


@pytest.fixture
def command(server, tmp_path, capsys):
    """Run the command and return its exit code and output."""

    def run(*arguments):
        common = ["--language", "tpi", "--out", str(tmp_path), "--user_agent", "tests (t@example.org)"]
        common += ["--api_url", server.url + PATH, "--requests_per_s", "1000", "--backoff_s", "0.01", "--retries", "2"]
        code = run_command(api.run, [*common, *arguments])
        return code, capsys.readouterr()

    return run


def asked(server):
    return [request.query["titles"] for request in server.requests if "titles" in request.query]


def texts(path):
    counters = DumpCounters()
    found = list(article_texts(path.name, lambda _: io.BytesIO(path.read_bytes()), counters))
    assert counters.error is None
    return found, counters


def test_pages_are_plain_text_with_redirects_followed(server):
    client = wiki(server)
    assert client.text("Hund") == ("Dog", 0, "Dok em i animal.\n\nKala\nRed.")
    assert client.text("Nowhere") is None


def test_categories_are_read_completely_and_to_the_requested_depth(server):
    client = wiki(server)
    assert list(client.members("Category:Animal", 0)) == ["Dog", "Pusi"]
    assert list(client.members("Category:Animal", 3)) == ["Dog", "Pusi", "Pik"]


def test_every_request_has_a_user_agent_and_maxlag(server):
    wiki(server).text("Dog")
    (request,) = server.requests
    assert request.headers["User-Agent"].startswith("tests (t@example.org) ")
    assert request.query["maxlag"] == "5"


@pytest.mark.parametrize(
    "fault",
    [
        Answer(429, headers={"Retry-After": "0"}),
        Answer(429),
        Answer(500),
        Answer(503),
        Answer(200, b'{"query": {"pag', {"Content-Length": "999"}, reset_after=10),
        answer({"error": {"code": "maxlag", "info": "Waiting for a database server"}}),
        answer({"error": {"code": "ratelimited", "info": "slow down"}}),
    ],
)
def test_transient_failures_are_retried(server, fault):
    server.faults[PATH].extend([fault, fault])
    assert wiki(server).text("Pusi") == ("Pusi", 0, "Pusi em i animal.")
    assert len(server.requests) == 3


def test_retries_back_off_and_end(server):
    server.faults[PATH].extend([Answer(503)] * 9)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"cannot fetch page 'Pusi': .*503.*; run again to continue"):
        wiki(server, backoff_s=0.1).text("Pusi")
    assert len(server.requests) == 4
    assert time.monotonic() - started >= 0.1 + 0.2 + 0.4


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Answer(429, headers={"Retry-After": "3600"}), r"asks for a pause of 3600 s: run again after it"),
        (answer({"error": {"code": "invalidtitle", "info": "Bad title"}}), r"the API answers invalidtitle: Bad title"),
        (Answer(404), r"cannot fetch page 'Pusi': .*404"),
        (Answer(200, b"<html>"), r"cannot fetch page 'Pusi': WikiInvalidJsonError"),
    ],
)
def test_permanent_failures_are_reported_at_once(server, fault, message):
    server.faults[PATH].append(fault)
    with pytest.raises(InputError, match=message):
        wiki(server).text("Pusi")
    assert len(server.requests) == 1


def test_the_request_rate_is_limited(server):
    client, started = wiki(server, per_second=20), time.monotonic()
    for title in ("Dog", "Pusi", "Pik", "Dog", "Pusi"):
        client.text(title)
    assert time.monotonic() - started >= 4 / 20


def test_fetched_pages_are_read_like_a_dump(command, tmp_path):
    (tmp_path / "titles.txt").write_text("Hund\nNowhere\nPusi\n\nHund\n")
    code, output = command("--titles_file", str(tmp_path / "titles.txt"), "--categories", "Category:Big")
    assert (code, output.out.splitlines()[:3]) == (0, ["fetched\t4", "there\t0", "missing\t1"])
    found, counters = texts(tmp_path / "wikipedia" / "tpi" / "api-pages.json")
    assert found[:2] == ["Dok em i animal.\n\nKala\nRed.", "Pusi em i animal."]
    assert (counters.read, counters.kept, counters.drops) == (4, 4, {})


def test_an_interrupted_run_resumes(command, server, tmp_path):
    target = tmp_path / "wikipedia" / "tpi" / "api-pages.json"
    server.faults[PATH].extend([mediawiki_answer("Dog"), Answer(500), Answer(500), Answer(500)])
    code, output = command("--titles", "Dog,Nowhere,Pusi")
    assert code == 3
    assert "run again to continue" in output.err
    assert not target.exists(), "a build must not see a partial file"
    (part,) = target.parent.glob(".*.part")
    part.write_bytes(part.read_bytes() + b'{"title": "cut o')
    server.requests.clear()
    code, output = command("--titles", "Dog,Nowhere,Pusi")
    assert (code, output.out.splitlines()[:3]) == (0, ["fetched\t1", "there\t1", "missing\t1"])
    assert asked(server) == ["Nowhere", "Pusi"]
    assert texts(target)[0] == ["Dok em i animal.\n\nKala\nRed.", "Pusi em i animal."]
    server.requests.clear()
    code, output = command("--titles", "Dog,Nowhere,Pusi,Pik")
    assert (code, output.out.splitlines()[0]) == (0, "fetched\t1")
    assert asked(server) == ["Pik"]


def mediawiki_answer(title):
    number, ns, text = PAGES[title]
    return answer({"query": {"pages": {str(number): {"pageid": number, "ns": ns, "title": title, "extract": text}}}})


def test_the_number_of_pages_is_limited(command, server):
    code, output = command("--categories", "Category:Animal", "--category_depth", "1", "--max_pages", "2")
    assert (code, output.out.splitlines()[0], len(asked(server))) == (0, "fetched\t2", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of `titles`, `titles_file` and `categories` is needed"),
        (["--titles", "Dog", "--language", "xx"], "language: unknown language 'xx'"),
        (["--titles", "Dog", "--user_agent", "me"], "key `user_agent`"),
        (["--titles_file", "/nowhere/titles"], "titles_file: cannot read /nowhere/titles"),
        (["--titles", "Dog", "--api_url", "ftp://x"], "api_url: 'ftp://x' is not an http(s) address"),
    ],
)
def test_usage_errors_name_the_key(command, arguments, message):
    code, output = command(*arguments)
    assert code == 2
    assert message in output.err
    assert len(output.err.strip().splitlines()) == 1


def test_a_user_agent_is_required(server, tmp_path):
    with pytest.raises(UsageError, match="`user_agent` is missing"):
        api.run(["--language", "tpi", "--titles", "Dog", "--out", str(tmp_path)])
