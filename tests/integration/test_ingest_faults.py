"""Ingest from servers that fail: each readable record arrives once, the unreadable is named, a rerun ends the work."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from curation.errors import InputError
from jobs import ingest
from jobs.runtime.context import Context
from support.loopback import Answer, file_server, serving

pytestmark = pytest.mark.spark

FILES = {f"/bucket/{name}.jsonl": name for name in "abcdef"}


def lines(name, count=800):
    return "".join(
        json.dumps({"url": f"http://h/{name}/{number}", "text": f"text {number} of {name}"}) + "\n"
        for number in range(count)
    ).encode()


@pytest.fixture(params=["https", "s3"])
def crawl(request, context, tmp_path, certificate, monkeypatch):
    """A server with six files, and a context whose inputs they are."""
    files = {path: lines(name) for path, name in FILES.items()}
    tls = None
    if request.param == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serving(file_server(files), tls) as server:
        (tmp_path / "wat.paths").write_text("".join(path.replace("/bucket/", "", 1) + "\n" for path in files))
        keys = {
            "inputs": [f"{tmp_path}/wat.paths"],
            "base_url": f"{server.url}/bucket" if tls else "s3://bucket",
            "format": "jsonl",
            "bucket_bytes": 200_000,
            "storage": {"endpoint_url": server.url, "anonymous": True},
            "retries": 2,
            "backoff_s": 0.0,
            "timeout_s": 0.5,
        }
        yield server, files, context("ingest", ingest=keys, max_failed_inputs=0.2)


def pairs(made):
    files = made.lake.snapshot("pairs").files
    return [row for file in files for row in pq.read_table(file.path, partitioning=None).to_pylist()]


def statuses(made):
    return [(row["path"][-7], row["status"]) for row in made.lake.rows("ledger").to_pylist()]


def cut(right, size):
    return replace(right, headers={**right.headers, "Content-Length": str(len(right.body))}, reset_after=size)


def test_what_fails_in_passing_leaves_no_trace(crawl, tmp_path):
    server, files, made = crawl
    (undisturbed,) = ingest.run(made)
    expected = pairs(made)
    assert len(expected) == 6 * 800
    slow = Answer(503, b"<Error><Code>SlowDown</Code></Error>")
    for place, path in enumerate(files):
        # the first answer is the look, all others are of the body
        server.faults[path].append(slow)
        if place % 2:
            server.faults[path].extend([slow, lambda right: right])
        server.faults[path].extend([lambda right: right, slow, lambda right: cut(right, 20_000)])
    again = Context(made.config.model_copy(update={"lake": str(tmp_path / "again")}), "ingest")
    (disturbed,) = ingest.run(again)
    assert pairs(again) == expected
    assert {**disturbed.totals} == {**undisturbed.totals}


def test_files_that_stay_unreadable_are_named_and_later_runs_read_them(crawl, caplog):
    """First more than are allowed to fail, then one, then none: each run reads what the one before could not."""
    server, files, made = crawl
    whole = dict(files)
    server.faults["/bucket/a.jsonl"].extend([lambda right: right, *[Answer(404)] * 20])  # vanishes
    del files["/bucket/c.jsonl"]
    with pytest.raises(InputError, match=r"2 of 6 input files failed.*a\.jsonl.*c\.jsonl") as failure:
        ingest.run(made)
    assert failure.value.exit_code == 3
    assert not made.lake.snapshot("pairs").files

    server.faults.clear()
    caplog.clear()
    (first,) = ingest.run(made)
    assert "/bucket/c.jsonl" in caplog.text
    assert (first.totals["files"], first.totals["files_failed"], first.totals["images"]) == (6, 1, 5 * 800)

    files.update(whole)
    (second,) = ingest.run(made)
    assert (second.totals["files_failed"], second.totals["images"]) == (0, 6 * 800)
    assert {row["image_url"] for row in pairs(made)} == {
        f"http://h/{name}/{number}" for name in "abcdef" for number in range(800)
    }
