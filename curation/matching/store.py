"""Compiled matchers in the lake: one immutable, checksummed file per metadata version, rule set and language.

    LAKE/matchers/<metadata_version>/<rules>.<algorithm>.<format>/<lang>.matcher
    LAKE/matchers/<metadata_version>/manifest.<algorithm>.<format>.json
    LAKE/matchers/latest.json                                    the version built last

A worker process maps a language's matcher into memory when it first meets the language, from these files or from its
host's copy of them, never by pickle.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from curation.errors import OutputError, UsageError
from curation.io import host_cache
from curation.io.storage import Storage
from curation.lake import layout
from curation.lake.layout import LakeLayout
from curation.matching.matcher import ALGORITHM, Matcher
from curation.matching.matcher_file import FORMAT

RELEASE = f"{ALGORITHM}.{FORMAT}"  # matchers of other numbers are not read


@dataclass(frozen=True)
class Manifest:
    """What one metadata version holds: entries per language, and the SHA-256 of each matcher file."""

    version: str
    entries: dict[str, int]
    files: dict[str, str]

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        return json.dumps(self.__dict__, sort_keys=True, indent=1).encode()


def matcher_name(rules: str, lang: str) -> str:
    """Return a matcher's path below its version."""
    return layout.matcher_name(rules, RELEASE, lang)


def write_matcher(storage: Storage, lake: str, version: str, rules: str, lang: str, data: bytes) -> str:
    """Store a compiled matcher and return its SHA-256; one that is there already is left alone if it is the same."""
    path = LakeLayout(lake).matcher(version, matcher_name(rules, lang))
    digest = hashlib.sha256(data).hexdigest()
    if not storage.put_if_absent(path, data) and hashlib.sha256(storage.read_bytes(path)).hexdigest() != digest:
        raise OutputError(f"{path} exists with other content: move it away and run jobs.build_metadata again")
    return digest


def manifest_path(lake: str, version: str) -> str:
    """Return where a version's manifest lies, for the matchers this code reads."""
    return LakeLayout(lake).manifest(version, RELEASE)


def write_manifest(storage: Storage, lake: str, manifest: Manifest) -> None:
    """Store a version's manifest, once its matchers are there; it follows from the version, so one write is enough."""
    storage.put_if_absent(manifest_path(lake, manifest.version), manifest.to_bytes())


def make_latest(storage: Storage, lake: str, version: str) -> None:
    """Make a version the one that `metadata.version: latest` means."""
    storage.write_bytes(LakeLayout(lake).latest_matchers, json.dumps({"version": version}).encode())


def open_manifest(storage: Storage, lake: str, version: str) -> Manifest:
    """Return the manifest of a version, or of the latest. Raises UsageError when it was never built."""
    if version == "latest":
        pointer = LakeLayout(lake).latest_matchers
        if not storage.exists(pointer):
            raise UsageError(f"metadata.version: {lake} has no metadata yet: run jobs.build_metadata first")
        version = json.loads(storage.read_bytes(pointer))["version"]
    path = manifest_path(lake, version)
    if not storage.exists(path):
        raise UsageError(
            f"metadata.version: {lake} has no metadata version {version!r} compiled for this release: "
            f"run jobs.build_metadata, or name one it has"
        )
    return Manifest(**json.loads(storage.read_bytes(path)))


@lru_cache(maxsize=512)
def load_matcher(storage: Storage, lake: str, version: str, rules: str, lang: str, sha256: str) -> Matcher:
    """Return a matcher, loaded once a process. Raises InputError when the file is damaged or not the one named."""
    path = LakeLayout(lake).matcher(version, matcher_name(rules, lang))
    return Matcher.open(host_cache.checked_file(storage, path, sha256), rules, checked=True)
