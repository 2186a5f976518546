"""Operations on S3 succeed, once and whole, although requests are throttled, reset, cut short, slow or unanswered."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from chaos.ports import free_ports
from curation.errors import InputError
from curation.io import s3_requests
from curation.io.retry import RetryPolicy
from curation.io.storage import Storage
from support.s3_proxy import FAULTS, S3Proxy, Seen, faulty

LARGE = random.Random(0).randbytes(12 << 20)


@pytest.fixture
def proxy(s3, monkeypatch):
    monkeypatch.setattr(s3_requests, "POLICY", RetryPolicy(9, 0.01))
    with faulty(s3) as running:
        yield running


@pytest.fixture
def storage(proxy) -> Storage:
    return Storage(endpoint_url=proxy.endpoint)


@pytest.fixture
def prefix(request) -> str:
    return f"s3://lake/{abs(hash(request.node.name))}"


def first_times(fault: str, times: int = 1):
    """Choose a fault for the first requests of each kind for each path."""
    counts = Counter[tuple[str, str]]()

    def choose(seen: Seen) -> str | None:
        counts[seen.method, seen.path] += 1
        return fault if counts[seen.method, seen.path] <= times else None

    return choose


def faults_of(proxy: S3Proxy) -> set[str]:
    return {seen.method for seen in proxy.requests if seen.fault}


@pytest.mark.parametrize("fault", FAULTS)
def test_small_objects_are_written_listed_read_and_deleted_in_spite_of(fault, proxy, storage, prefix):
    proxy.choose = first_times(fault)
    for number in range(3):
        storage.write_bytes(f"{prefix}/a/{number}", b"x" * 1000)
    assert storage.put_if_absent(f"{prefix}/once", b"first")
    assert not storage.put_if_absent(f"{prefix}/once", b"second")
    assert [file.size for file in storage.list_files(f"{prefix}/a")] == [1000] * 3
    assert storage.list_names(prefix) == ["a", "once"]
    assert storage.exists(f"{prefix}/a/0")
    assert storage.read_bytes(f"{prefix}/once") == b"first"
    with storage.open_stream(storage.stat(f"{prefix}/a/1")) as stream:
        assert stream.read() == b"x" * 1000
    assert storage.delete_folder(f"{prefix}/a") == 3
    assert not storage.exists(f"{prefix}/a/0")
    assert faults_of(proxy) >= {"PUT", "GET", "HEAD"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_large_object_is_uploaded_in_parts_and_read_whole_in_spite_of(fault, proxy, storage, prefix):
    proxy.choose = first_times(fault)
    with storage.open_output(f"{prefix}/large") as sink:
        sink.write(LARGE)
    parts = [seen for seen in proxy.requests if seen.method == "PUT" and "partNumber" in seen.query]
    assert len({seen.query for seen in parts}) >= 2
    proxy.choose = first_times(fault)
    assert storage.read_bytes(f"{prefix}/large") == LARGE


def test_of_two_writers_whose_answers_are_lost_one_has_created_the_object(proxy, storage, prefix):
    lost = Counter[str]()

    def lose_first(seen: Seen) -> str | None:
        lost[seen.path] += seen.is_conditional_write
        return "lost_answer" if seen.is_conditional_write and lost[seen.path] in (1, 3) else None

    proxy.choose = lose_first
    assert storage.put_if_absent(f"{prefix}/once", b"mine")
    assert not storage.put_if_absent(f"{prefix}/once", b"yours")
    assert lost.total() == 4
    assert storage.read_bytes(f"{prefix}/once") == b"mine"


def test_an_outage_that_lasts_ends_with_an_error_that_allows_another_run(proxy, storage, prefix, monkeypatch):
    monkeypatch.setattr(s3_requests, "DEADLINE_S", 0.05)
    proxy.choose = lambda _: "slow_down"
    for operation in (
        lambda: storage.write_bytes(f"{prefix}/a", b"x"),
        lambda: storage.put_if_absent(f"{prefix}/a", b"x"),
        lambda: list(storage.list_files(prefix)),
    ):
        with pytest.raises(InputError, match=r"^cannot (write|list) .*: the server answers 503 SlowDown; no time left"):
            operation()


def test_a_server_that_is_gone_is_waited_for(proxy, prefix, monkeypatch):
    gone = Storage(endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}", retry_policy=RetryPolicy(1, 0.01))
    monkeypatch.setattr(s3_requests, "POLICY", RetryPolicy(2, 0.01))
    for operation in (
        lambda: gone.write_bytes(f"{prefix}/a", b"x"),
        lambda: gone.put_if_absent(f"{prefix}/a", b"x"),
        lambda: list(gone.list_files(prefix)),
        lambda: gone.stat(f"{prefix}/a"),
    ):
        with pytest.raises(InputError, match=r"Could not connect .*; gave up after \d tries"):
            operation()


def test_refused_requests_are_not_repeated(proxy, prefix, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the keys that it found first
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        Storage(endpoint_url=proxy.endpoint).write_bytes(f"{prefix}/a", b"x")
    assert len(proxy.requests) == 1


def test_an_upload_that_fails_in_the_middle_leaves_nothing(storage, prefix):
    def fail() -> None:
        with storage.open_whole(f"{prefix}/whole") as sink:
            sink.write(b"half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it is raised here
        fail()
    assert not storage.exists(f"{prefix}/whole")


@pytest.mark.parametrize("anonymous", [True, False])
def test_requests_are_signed_unless_they_are_anonymous(proxy, storage, prefix, anonymous):
    storage.write_bytes(f"{prefix}/a", b"x")
    asked = Storage(endpoint_url=proxy.endpoint, anonymous=anonymous, retry_policy=RetryPolicy(1, 0.01))
    proxy.requests.clear()
    for read in (
        lambda: asked.read_bytes(f"{prefix}/a"),
        lambda: asked.open_stream(asked.stat(f"{prefix}/a")).read(),
        lambda: list(asked.list_files(prefix)),
    ):
        if anonymous:
            with pytest.raises(InputError):  # the server has no public bucket
                read()
        else:
            read()
    signed = {"authorization" in seen.headers for seen in proxy.requests}
    assert signed == {not anonymous}
