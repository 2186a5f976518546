"""Files on servers are read completely, once and in one version despite network faults, or the failure is named."""

from __future__ import annotations

import gzip
import pickle
import random
import ssl
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, UsageError
from curation.io.backend import FileStat
from curation.io.inputs import list_inputs, sampled
from curation.io.retry import RetryPolicy
from curation.io.storage import Storage
from support.loopback import Answer, file_server, serving

DATA = random.Random(1).randbytes(700_000)
PATH = "/bucket/a.bin"
FAST = RetryPolicy(retries=3, backoff_s=0.0, timeout_s=0.3)
SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "0"})


@pytest.fixture(params=["http", "http without ranges", "s3"])
def site(request, monkeypatch):
    """A server, the location of its file, and the storage that reads it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests-secret")
    with serving(file_server({PATH: DATA}, ranges="without" not in request.param)) as server:
        on_s3 = request.param == "s3"
        storage = Storage(endpoint_url=server.url if on_s3 else None, retry_policy=FAST)
        yield server, f"s3:/{PATH}" if on_s3 else server.url + PATH, storage


def read(storage, stat, chunk=100_000):
    stream = storage.open_stream(stat)
    return b"".join(iter(lambda: stream.read(chunk), b""))


def cut(right, size):
    """The start of a response whose connection then breaks."""
    return replace(right, headers={**right.headers, "Content-Length": str(len(right.body))}, reset_after=size)


def faults(dice):
    """Faults of every kind; at most a part of the bytes arrive."""
    size = dice.randrange(300_000)
    return [
        SLOW_DOWN,
        dice.choice([Answer(403), Answer(429), Answer(500), Answer(502)]),
        lambda right: cut(right, size),
        # announces fewer bytes than the file has
        lambda right: replace(right, body=right.body[:size]),
        # announces more bytes than it sends
        lambda right: replace(right, headers={**right.headers, "Content-Length": str(len(right.body) + 9)}),
        # stops in the middle
        lambda right: replace(
            right, body=right.body[:size], headers={**right.headers, "Content-Length": str(len(right.body))}, hang_s=0.6
        ),
    ]


def test_a_file_is_read_in_one_answer(site):
    server, location, storage = site
    storage = pickle.loads(pickle.dumps(storage))
    assert read(storage, storage.stat(location)) == DATA
    assert len(server.requests) == 2


@pytest.mark.parametrize("seed", range(4))
def test_transient_failures_do_not_change_what_is_read(site, seed):
    server, location, storage = site
    dice = random.Random(seed)
    chosen = dice.sample(faults(dice), 3)
    server.faults[PATH].append(SLOW_DOWN)
    stat = storage.stat(location)
    assert stat.size == len(DATA)
    server.faults[PATH].extend(chosen)
    assert read(storage, stat, dice.choice([1000, 70_000, 1 << 20])) == DATA


def test_after_a_broken_connection_only_the_missing_bytes_are_requested(site):
    server, location, storage = site
    stat = storage.stat(location)
    server.requests.clear()
    server.faults[PATH].append(lambda right: cut(right, 400_000))
    assert read(storage, stat, 10_000) == DATA
    first, second = (request.headers.get("Range") for request in server.requests)
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 400_000


def test_two_versions_of_a_file_are_never_mixed(site):
    server, location, storage = site
    stat = storage.stat(location)
    other = file_server({PATH: DATA[::-1]})
    server.faults[PATH].extend([lambda right: cut(right, 300_000), Answer(503)])
    stream = storage.open_stream(stat)
    got = stream.read(1000)
    server.respond = other
    got += stream.read()  # the bytes before the break
    assert 1000 < len(got) <= 300_000
    assert DATA.startswith(got)
    with pytest.raises(InputError, match="changed since it was listed"):
        stream.read(50_000)
    with pytest.raises(InputError, match="changed since it was listed"):
        storage.open_stream(stat).read(1)


def test_a_missing_file_is_reported_at_once(site):
    server, location, storage = site
    with pytest.raises(InputError, match=r"nothing.*404"):
        storage.stat(location + ".nothing")
    assert len(server.requests) == 1


def test_after_the_last_retry_the_failure_is_named(site):
    server, location, storage = site
    stat = storage.stat(location)
    server.requests.clear()
    server.faults[PATH].extend([SLOW_DOWN] * 9)
    with pytest.raises(InputError, match=r"a\.bin: the server answers 503.*gave up after 4 tries"):
        storage.open_stream(stat).read(10)
    assert len(server.requests) == 4


def test_a_file_is_seekable(tmp_path):
    table = pa.table({"a": list(range(50_000)), "b": [f"text {i}" for i in range(50_000)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=10_000)
    data = (tmp_path / "t.parquet").read_bytes()
    with serving(file_server({"/t.parquet": data})) as server:
        storage = Storage(retry_policy=FAST)
        assert pq.read_table(storage.open_input(f"{server.url}/t.parquet")).equals(table)


def test_https_is_read_where_the_certificate_is_trusted(certificate, monkeypatch):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with serving(file_server({PATH: DATA}), tls) as server:
        with pytest.raises(InputError, match="certificate"):
            Storage(retry_policy=replace(FAST, retries=0)).stat(server.url + PATH)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        storage = Storage(retry_policy=replace(FAST, timeout_s=2))
        server.faults[PATH].append(lambda right: cut(right, 100_000))
        assert read(storage, storage.stat(server.url + PATH)) == DATA


# Lists of inputs


def test_lists_name_files_by_path_url_or_relative_to_a_base(tmp_path):
    for name in ("a.wat", "b.wat", "c.wat"):
        (tmp_path / name).write_text(name)
    with serving(file_server({"/x/d.wat": b"d", "/x/e.wat": b"e", "/wat.paths": b"x/d.wat\n"})) as server:
        listed = f"a.wat\n\n{tmp_path}/b.wat\r\n{server.url}/x/e.wat\nmissing.wat\na.wat\n"
        (tmp_path / "wat.paths.gz").write_bytes(gzip.compress(listed.encode()))
        storage = Storage(retry_policy=FAST)
        patterns = [f"{tmp_path}/wat.paths.gz", f"{tmp_path}/[bc].wat"]
        found = list_inputs(storage, patterns, base_url=f"{tmp_path}/")
        names = [file.path.rpartition("/")[2] for file in found]
        assert names == ["a.wat", "b.wat", "c.wat", "missing.wat", "e.wat"]
        assert [file.size for file in found] == [5, 5, 5, 0, 1]
        assert [bool(file.etag) for file in found] == [True, True, True, False, True]
        remote = list_inputs(storage, [f"{server.url}/wat.paths"], base_url=server.url)
        assert [file.path for file in remote] == [f"{server.url}/x/d.wat"]


def test_a_bad_list_is_one_clear_line(tmp_path):
    (tmp_path / "a.paths").write_text("relative.wat")
    with pytest.raises(UsageError, match=r"ingest\.base_url is missing: .*a\.paths names relative\.wat"):
        list_inputs(Storage(), [f"{tmp_path}/a.paths"])
    (tmp_path / "b.paths.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(InputError, match=r"cannot read the list .*b\.paths\.gz"):
        list_inputs(Storage(), [f"{tmp_path}/b.paths.gz"])


def test_a_larger_sample_of_inputs_contains_the_smaller_one():
    files = [FileStat(f"/crawl/{i}.wat", 1, "t") for i in range(1000)]
    small, large = sampled(files, 0.1, 0), sampled(files, 0.3, 0)
    assert set(small) < set(large)
    assert 60 < len(small) < 140
    assert sampled(files, 1.0, 0) == files
    assert sampled(files, 0.1, 1) != small
