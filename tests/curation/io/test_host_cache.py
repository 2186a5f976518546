"""A host fetches an immutable file once, verifies it, and never serves other content."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.errors import InputError, UsageError
from curation.io import host_cache
from curation.io.storage import Storage

CONTENT = b"entries " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class CountingStorage(Storage):
    """Counts how often a file is opened."""

    opened = 0

    def open_input(self, path):
        type(self).opened += 1
        return super().open_input(path)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stored(s3) -> str:
    Storage().write_bytes("s3://lake/hostcache/file", CONTENT)
    return "s3://lake/hostcache/file"


def test_a_local_file_is_used_directly(tmp_path, cache):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert host_cache.checked_file(Storage(), str(path), SHA256) == path
    assert not cache.exists()


def test_eight_readers_of_one_host_fetch_a_file_from_s3_once(stored, monkeypatch):
    monkeypatch.setattr(CountingStorage, "opened", 0)
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: host_cache.checked_file(CountingStorage(), stored, SHA256), range(8)))
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert CountingStorage.opened == 1


def test_a_copy_outlives_the_object(stored):
    path = host_cache.checked_file(Storage(), stored, SHA256)
    Storage().delete_folder("s3://lake/hostcache")
    assert host_cache.checked_file(Storage(), stored, SHA256) == path


def test_other_content_than_published_is_refused_and_leaves_no_copy(stored, cache):
    with pytest.raises(InputError, match="s3://lake/hostcache/file is damaged"):
        host_cache.checked_file(Storage(), stored, "0" * 64)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_missing_file_is_named(tmp_path, s3):
    with pytest.raises(InputError, match="gone"):
        host_cache.checked_file(Storage(), str(tmp_path / "gone"), SHA256)
    with pytest.raises(InputError, match="s3://lake/gone"):
        host_cache.checked_file(Storage(), "s3://lake/gone", SHA256)


def test_a_cache_that_cannot_be_written_is_a_usage_error(stored, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="set WORLDCURATE_CACHE"):
        host_cache.checked_file(Storage(), stored, SHA256)


def test_a_local_file_is_verified_on_every_call(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    host_cache.checked_file(Storage(), str(path), SHA256)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(InputError, match="is damaged"):
        host_cache.checked_file(Storage(), str(path), SHA256)


def test_a_copy_is_verified_once_per_host(stored, monkeypatch):
    copy = host_cache.checked_file(Storage(), stored, SHA256)
    Storage().delete_folder("s3://lake/hostcache")
    monkeypatch.setattr(host_cache, "_chunks", lambda *_: pytest.fail("the copy was read"))
    assert host_cache.checked_file(CountingStorage(), stored, SHA256) == copy


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_copy_that_was_changed_since_it_was_verified_is_fetched_again(stored, damage):
    copy = host_cache.checked_file(Storage(), stored, SHA256)
    copy.write_bytes(damage)
    assert host_cache.checked_file(Storage(), stored, SHA256).read_bytes() == CONTENT


def test_a_copy_without_its_record_is_fetched_again(stored, cache):
    copy = host_cache.checked_file(Storage(), stored, SHA256)
    [record] = cache.rglob("*.checked")
    record.unlink()
    copy.write_bytes(b"x")
    assert host_cache.checked_file(Storage(), stored, SHA256).read_bytes() == CONTENT
