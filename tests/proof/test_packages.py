"""Packages come from the configured registry, once, and only with the expected hash."""

from __future__ import annotations

import pytest

from curation.errors import InputError
from proof.packages import fetch, integrity_of, members, read_member, registry
from support.loopback import Answer


def test_the_public_registry_is_the_default(monkeypatch):
    monkeypatch.delenv("npm_config_registry", raising=False)
    assert registry() == "https://registry.npmjs.org"
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:4873/")
    assert registry() == "http://127.0.0.1:4873"


def test_a_package_is_downloaded_once(registry, parameters):
    package = parameters.packages["noto"]
    path = fetch(package)
    assert fetch(package) == path
    assert [request.path for request in registry.requests] == ["/@iconify-json/noto/-/noto-1.0.0.tgz"]
    assert integrity_of(path.read_bytes()) == package.integrity


def test_a_download_that_was_cut_off_continues(registry, parameters):
    package = parameters.packages["noto"]
    path = "/@iconify-json/noto/-/noto-1.0.0.tgz"
    registry.faults[path].append(lambda answer: Answer(200, answer.body, answer.headers, reset_after=50))
    assert integrity_of(fetch(package).read_bytes()) == package.integrity
    assert len(registry.requests) == 2


def test_a_package_with_another_hash_is_refused_and_removed(registry, parameters):
    package = parameters.packages["noto"].model_copy(update={"integrity": "sha512-other"})
    with pytest.raises(InputError, match="hash is not the integrity"):
        fetch(package)
    assert fetch(parameters.packages["noto"]).exists()
    assert len(registry.requests) == 2


def test_files_of_a_package_are_read_without_its_top_folder(parameters):
    assert dict(members(parameters.packages["wordnet"])).keys() == {"dict/index.noun", "dict/index.sense"}
    assert read_member(parameters.packages["wordnet"], "dict/index.noun").startswith(b"cat")
    with pytest.raises(InputError, match=r"there is no dict/data\.noun"):
        read_member(parameters.packages["wordnet"], "dict/data.noun")
