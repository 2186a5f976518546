from __future__ import annotations

import hashlib

import pytest

from curation.errors import InputError, OutputError, UsageError
from curation.io.storage import Storage
from curation.matching.matcher_file import compile_entries
from curation.matching.store import Manifest, MatcherStore, matcher_name

DATA = compile_entries(["dog"], "worldwide")


@pytest.fixture
def store(tmp_path):
    return MatcherStore(Storage(), str(tmp_path))


def test_a_written_matcher_is_loaded_once_per_process(store):
    sha256 = store.write("v", "worldwide", "en", DATA)
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    matcher = store.load("v", "worldwide", "en", sha256)
    assert matcher.match("a dog") == [0]
    assert MatcherStore(Storage(), store.root).load("v", "worldwide", "en", sha256) is matcher


def test_an_existing_matcher_is_left_alone_if_equal_and_refused_otherwise(store):
    sha256 = store.write("v", "worldwide", "en", DATA)
    assert store.write("v", "worldwide", "en", DATA) == sha256
    with pytest.raises(OutputError, match=r"en\.matcher exists with other content"):
        store.write("v", "worldwide", "en", compile_entries(["cat"], "worldwide"))


def test_a_matcher_with_another_checksum_is_refused(store):
    store.write("v", "worldwide", "en", DATA)
    with pytest.raises(InputError, match=r"en\.matcher"):
        store.load("v", "worldwide", "en", "0" * 64)


def test_manifests_are_read_by_version_and_as_the_latest(store):
    older, newer = (
        Manifest(version, {"en": 1}, {matcher_name("worldwide", "en"): "0" * 64}) for version in ("older", "newer")
    )
    for manifest in (older, newer):
        assert not store.has_manifest(manifest.version)
        store.write_manifest(manifest)
        store.set_latest(manifest.version)
        assert store.has_manifest(manifest.version)
    assert store.read_manifest("older") == older
    assert store.read_manifest("latest") == newer


def test_metadata_that_was_never_built_is_refused(store):
    with pytest.raises(UsageError, match=r"metadata\.version: .* has no metadata yet: run jobs\.build_metadata first"):
        store.read_manifest("latest")
    with pytest.raises(UsageError, match=r"has no metadata version 'v' compiled for this release"):
        store.read_manifest("v")
