from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.io.http_source import MissingError
from metadata.fetch.downloader import Downloader, DownloadFile
from support.loopback import Answer, Request, file_server, serving

DATA = bytes(range(256)) * 1000
SHA1 = hashlib.sha1(DATA).hexdigest()
PATH = "/a/b.bz2"


@pytest.fixture
def server():
    with serving(file_server({PATH: DATA})) as running:
        yield running


def etag_of(data=DATA):
    return file_server({PATH: data})(Request(PATH, {}, {})).headers["ETag"]


def client(**options):
    waits = []
    options = {"retries": 3, "backoff_s": 0.01, "timeout_s": 5.0, "sleep": waits.append, **options}
    made = Downloader("tests (tests@example.org)", **options)
    return made, waits


def requested_file(server, **facts):
    return DownloadFile(server.url + PATH, "sub/b.bz2", **{"size": len(DATA), "sha1": SHA1, **facts})


def test_a_complete_file_gets_its_name_and_no_partial_file_remains(server, tmp_path):
    made, waits = client()
    assert made.fetch(requested_file(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["b.bz2"]
    assert made.fetch(requested_file(server), tmp_path) == "there"
    assert (len(server.requests), waits) == (1, [])
    assert server.requests[0].headers["User-Agent"] == "tests (tests@example.org)"


def test_a_broken_download_resumes_where_it_stopped(server, tmp_path):
    server.faults[PATH].append(Answer(200, DATA, {"ETag": etag_of()}, reset_after=100_000))
    made, _ = client()
    assert made.fetch(requested_file(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA
    start = int(server.requests[1].headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= 100_000
    assert server.requests[1].headers["If-Range"] == etag_of()


def test_another_version_is_fetched_from_its_start(server, tmp_path):
    server.faults[PATH].append(Answer(200, b"old" * 90_000, {"ETag": '"old"'}, reset_after=50_000))
    made, _ = client()
    made.fetch(requested_file(server), tmp_path)
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA


def test_a_server_without_ranges_or_validators_sends_it_all_again(tmp_path):
    with serving(file_server({PATH: DATA}, ranges=False)) as server:
        server.faults[PATH].append(Answer(200, DATA, {}, reset_after=70_000))
        made, _ = client()
        made.fetch(requested_file(server, size=None, sha1=None), tmp_path)
        assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA
        assert "Range" not in server.requests[1].headers


def test_transient_failures_are_retried_after_growing_or_requested_waits(server, tmp_path):
    server.faults[PATH].extend([Answer(503), Answer(500), Answer(429, headers={"Retry-After": "7"})])
    made, waits = client()
    assert made.fetch(requested_file(server), tmp_path) == "fetched"
    assert waits == [0.01, 0.02, 7.0]


def test_a_server_that_never_recovers_is_named_in_the_error(server, tmp_path):
    server.faults[PATH].extend([Answer(503)] * 9)
    made, waits = client()
    with pytest.raises(InputError, match=r"b\.bz2: the server answers 503; gave up after 4 tries"):
        made.fetch(requested_file(server), tmp_path)
    assert len(waits) == 3


def test_a_server_that_asks_for_an_hour_ends_the_download(server, tmp_path):
    server.faults[PATH].append(Answer(429, headers={"Retry-After": "3600"}))
    made, waits = client()
    with pytest.raises(InputError, match="asks for a pause of 3600 s: run again after it"):
        made.fetch(requested_file(server), tmp_path)
    assert waits == []


def test_new_bytes_restart_the_count_of_tries(server, tmp_path):
    for start in range(0, 250_000, 50_000):
        headers = {"ETag": etag_of()}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        # cut off by a Content-Length that promises more, so that exactly these bytes arrive
        body = DATA[start : start + 50_000]
        headers["Content-Length"] = str(len(DATA) - start)
        server.faults[PATH].append(Answer(206 if start else 200, body, headers, reset_after=len(body)))
    made, _ = client(retries=1)
    assert made.fetch(requested_file(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA


@pytest.mark.parametrize("facts", [{"sha1": "0" * 40}, {"size": len(DATA) + 1}])
def test_an_unexpected_file_is_fetched_once_more_then_refused(server, tmp_path, facts):
    made, _ = client()
    with pytest.raises(InputError, match=r"b\.bz2: it.* not "):
        made.fetch(requested_file(server, **facts), tmp_path)
    assert len(server.requests) == 2
    assert not (tmp_path / "sub" / "b.bz2").exists()


def test_a_file_damaged_in_transit_is_fetched_again(server, tmp_path):
    server.faults[PATH].append(Answer(200, DATA[:-1] + b"x"))
    made, _ = client()
    assert made.fetch(requested_file(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA


def test_a_missing_file_is_an_error_unless_it_is_optional(server, tmp_path):
    made, _ = client()
    missing = DownloadFile(server.url + "/none", "none")
    with pytest.raises(MissingError, match="no such file on the server"):
        made.fetch(missing, tmp_path)
    assert made.fetch(DownloadFile(missing.url, "none", optional=True), tmp_path) == "missing"
    server.faults["/none"].append(Answer(403))
    with pytest.raises(InputError, match="answers 403"):
        made.fetch(missing, tmp_path)


def test_an_unreachable_server_is_one_clear_line(tmp_path):
    made, _ = client(retries=0)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/x: .*gave up after 1 tries"):
        made.fetch(DownloadFile("http://127.0.0.1:1/x", "x"), tmp_path)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(DATA)), max_size=3))
def test_a_download_with_any_number_of_breaks_has_the_bytes_of_the_server(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("cut")
    with serving(file_server({PATH: DATA})) as server:
        for cut in cuts:  # each answers with the whole file, whatever the range
            server.faults[PATH].append(Answer(200, DATA, {"ETag": etag_of()}, reset_after=cut))
        made, _ = client()
        made.fetch(DownloadFile(server.url + PATH, "b", len(DATA), SHA1), folder)
        assert (folder / "b").read_bytes() == DATA


def test_the_next_run_resumes_a_killed_download(tmp_path):
    code = (
        "import sys; from pathlib import Path; from metadata.fetch.downloader import *; "
        "Downloader('tests').fetch(DownloadFile(sys.argv[1], 'sub/b.bz2'), Path(sys.argv[2]))"
    )
    body = DATA * 40
    with serving(file_server({PATH: body})) as server:
        headers = {"ETag": etag_of(body), "Content-Length": str(len(body))}
        server.faults[PATH].append(Answer(200, body[: len(body) // 2], headers, hang_s=30))
        process = subprocess.Popen([sys.executable, "-c", code, server.url + PATH, str(tmp_path)])
        part = tmp_path / "sub" / ".b.bz2.part"
        for _ in range(200):
            if part.exists() and part.stat().st_size > len(body) // 4:
                break
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        made, _ = client()
        sha1 = hashlib.sha1(body).hexdigest()
        asked = len(server.requests)
        assert made.fetch(DownloadFile(server.url + PATH, "sub/b.bz2", len(body), sha1), tmp_path) == "fetched"
        assert server.requests[asked].headers["Range"] != "bytes=0-"
        assert (tmp_path / "sub" / "b.bz2").read_bytes() == body
