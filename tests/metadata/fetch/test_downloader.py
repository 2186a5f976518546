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


def wanted(server, **facts):
    return DownloadFile(server.url + PATH, "sub/b.bz2", **{"size": len(DATA), "sha1": SHA1, **facts})


def test_a_file_comes_whole_under_its_name_with_nothing_left_beside_it(server, tmp_path):
    made, waits = client()
    assert made.fetch(wanted(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["b.bz2"]
    assert made.fetch(wanted(server), tmp_path) == "there"
    assert (len(server.requests), waits) == (1, [])
    assert server.requests[0].headers["User-Agent"] == "tests (tests@example.org)"


def test_a_connection_reset_mid_body_is_continued_where_it_broke(server, tmp_path):
    server.faults[PATH].append(Answer(200, DATA, {"ETag": etag_of()}, reset_after=100_000))
    made, _ = client()
    assert made.fetch(wanted(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA
    start = int(server.requests[1].headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= 100_000
    assert server.requests[1].headers["If-Range"] == etag_of()


def test_another_version_is_fetched_from_its_beginning(server, tmp_path):
    server.faults[PATH].append(Answer(200, b"old" * 90_000, {"ETag": '"old"'}, reset_after=50_000))
    made, _ = client()
    made.fetch(wanted(server), tmp_path)
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA


def test_a_server_without_ranges_or_validators_sends_it_all_again(tmp_path):
    with serving(file_server({PATH: DATA}, ranges=False)) as server:
        server.faults[PATH].append(Answer(200, DATA, {}, reset_after=70_000))
        made, _ = client()
        made.fetch(wanted(server, size=None, sha1=None), tmp_path)
        assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA
        assert "Range" not in server.requests[1].headers


def test_what_may_pass_is_tried_again_after_growing_or_demanded_waits(server, tmp_path):
    server.faults[PATH].extend([Answer(503), Answer(500), Answer(429, headers={"Retry-After": "7"})])
    made, waits = client()
    assert made.fetch(wanted(server), tmp_path) == "fetched"
    assert waits == [0.01, 0.02, 7.0]


def test_a_server_that_never_recovers_is_given_up_and_named(server, tmp_path):
    server.faults[PATH].extend([Answer(503)] * 9)
    made, waits = client()
    with pytest.raises(InputError, match=r"b\.bz2: the server answers 503; gave up after 4 tries"):
        made.fetch(wanted(server), tmp_path)
    assert len(waits) == 3


def test_a_server_that_asks_for_an_hour_is_left_in_peace(server, tmp_path):
    server.faults[PATH].append(Answer(429, headers={"Retry-After": "3600"}))
    made, waits = client()
    with pytest.raises(InputError, match="asks to wait 3600 s: run again then"):
        made.fetch(wanted(server), tmp_path)
    assert waits == []


def test_new_bytes_begin_the_count_of_tries_anew(server, tmp_path):
    for start in range(0, 250_000, 50_000):
        headers = {"ETag": etag_of()}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        # cut off by a Content-Length that promises more, so that exactly these bytes arrive
        body = DATA[start : start + 50_000]
        headers["Content-Length"] = str(len(DATA) - start)
        server.faults[PATH].append(Answer(206 if start else 200, body, headers, reset_after=len(body)))
    made, _ = client(retries=1)
    assert made.fetch(wanted(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA


@pytest.mark.parametrize("facts", [{"sha1": "0" * 40}, {"size": len(DATA) + 1}])
def test_a_file_that_is_not_the_expected_one_is_fetched_once_more_then_refused(server, tmp_path, facts):
    made, _ = client()
    with pytest.raises(InputError, match=r"b\.bz2: it.* not "):
        made.fetch(wanted(server, **facts), tmp_path)
    assert len(server.requests) == 2
    assert not (tmp_path / "sub" / "b.bz2").exists()


def test_a_wrong_checksum_that_was_the_networks_fault_is_mended(server, tmp_path):
    server.faults[PATH].append(Answer(200, DATA[:-1] + b"x"))
    made, _ = client()
    assert made.fetch(wanted(server), tmp_path) == "fetched"
    assert (tmp_path / "sub" / "b.bz2").read_bytes() == DATA


def test_a_missing_file_is_an_error_unless_it_need_not_be_there(server, tmp_path):
    made, _ = client()
    missing = DownloadFile(server.url + "/none", "none")
    with pytest.raises(MissingError, match="no such file on the server"):
        made.fetch(missing, tmp_path)
    assert made.fetch(DownloadFile(missing.url, "none", optional=True), tmp_path) == "missing"
    server.faults["/none"].append(Answer(403))
    with pytest.raises(InputError, match="answers 403"):
        made.fetch(missing, tmp_path)


def test_nobody_there_is_one_clear_line(tmp_path):
    made, _ = client(retries=0)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/x: .*gave up after 1 tries"):
        made.fetch(DownloadFile("http://127.0.0.1:1/x", "x"), tmp_path)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(DATA)), max_size=3))
def test_however_often_it_breaks_the_bytes_are_those_of_the_server(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("cut")
    with serving(file_server({PATH: DATA})) as server:
        for cut in cuts:  # a server that forgets ranges, too
            server.faults[PATH].append(Answer(200, DATA, {"ETag": etag_of()}, reset_after=cut))
        made, _ = client()
        made.fetch(DownloadFile(server.url + PATH, "b", len(DATA), SHA1), folder)
        assert (folder / "b").read_bytes() == DATA


def test_a_killed_download_is_continued_by_the_next_run(tmp_path):
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
