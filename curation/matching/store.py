"""Compiled matchers in the lake: one immutable, checksummed file per metadata version, rule set and language.

`MatcherStore` reads and writes them. A worker process maps the matcher of a language into memory at the first text of
that language, from these files or from its host's copy of them. Matchers are never pickled.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from curation.errors import OutputError, UsageError
from curation.io import host_cache
from curation.io.storage import Storage
from curation.lake import layout
from curation.lake.layout import LakeLayout
from curation.lake.records import encode_record, read_record
from curation.matching.matcher import ALGORITHM, Matcher
from curation.matching.matcher_file import FORMAT

RELEASE = f"{ALGORITHM}.{FORMAT}"
BUILD = "run jobs.build_metadata, which writes it again"


@dataclass(frozen=True)
class Manifest:
    """The content of one metadata version: number of entries by language, and SHA-256 by matcher file."""

    version: str
    entries: dict[str, int]
    files: dict[str, str]

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON."""
        return encode_record(self.__dict__)


def matcher_name(rules: str, lang: str) -> str:
    """Return the path of a matcher relative to its version; `Manifest.files` has these names as keys."""
    return layout.matcher_name(rules, RELEASE, lang)


@dataclass(frozen=True)
class MatcherStore:
    """The matchers of a lake.

    Args:
        storage: reads and writes files.
        root: the lake's folder, a local path or URI.
    """

    storage: Storage
    root: str

    def matcher_path(self, version: str, rules: str, lang: str) -> str:
        """Return the path of a matcher."""
        return LakeLayout(self.root).matcher(version, matcher_name(rules, lang))

    def manifest_path(self, version: str) -> str:
        """Return the path of a version's manifest, for the matchers that this release reads."""
        return LakeLayout(self.root).manifest(version, RELEASE)

    @property
    def latest_path(self) -> str:
        """The path of the file that names the version built last."""
        return LakeLayout(self.root).latest_matchers

    def load(self, version: str, rules: str, lang: str, sha256: str) -> Matcher:
        """Return a matcher, which is loaded once per process.

        Raises InputError if the file is damaged or its SHA-256 is another, UsageError if it has other rules or another
        format.
        """
        return _load(self, version, rules, lang, sha256)

    def write(self, version: str, rules: str, lang: str, data: bytes) -> str:
        """Store a compiled matcher and return its SHA-256; an existing file with the same content is left alone."""
        path = self.matcher_path(version, rules, lang)
        digest = hashlib.sha256(data).hexdigest()
        if not self.storage.put_if_absent(path, data):
            existing = hashlib.sha256(self.storage.read_bytes(path)).hexdigest()
            if existing != digest:
                raise OutputError(f"{path} exists with other content: move it away and run jobs.build_metadata again")
        return digest

    def has_manifest(self, version: str) -> bool:
        """Return whether all matchers of a version are stored."""
        return self.storage.exists(self.manifest_path(version))

    def write_manifest(self, manifest: Manifest) -> None:
        """Store the manifest of a version, after its matchers.

        An existing manifest is left alone: its content follows from the version.
        """
        self.storage.put_if_absent(self.manifest_path(manifest.version), manifest.to_bytes())

    def read_manifest(self, version: str) -> Manifest:
        """Return the manifest of a version, or of the one built last (`latest`).

        Raises UsageError if it was never built, DamagedLakeError if a file is damaged.
        """
        if version == "latest":
            if not self.storage.exists(self.latest_path):
                raise UsageError(f"metadata.version: {self.root} has no metadata yet: run jobs.build_metadata first")
            version = read_record(self.storage, self.latest_path, {"version": str}, BUILD)["version"]
        if not self.has_manifest(version):
            raise UsageError(
                f"metadata.version: {self.root} has no metadata version {version!r} compiled for this release: "
                f"run jobs.build_metadata, or name an existing version"
            )
        record = read_record(
            self.storage, self.manifest_path(version), {"version": str, "entries": dict, "files": dict}
        )
        return Manifest(record["version"], record["entries"], record["files"])

    def set_latest(self, version: str) -> None:
        """Make a version the one that `metadata.version: latest` refers to."""
        self.storage.write_bytes(self.latest_path, encode_record({"version": version}))


@lru_cache(maxsize=512)
def _load(store: MatcherStore, version: str, rules: str, lang: str, sha256: str) -> Matcher:
    path = store.matcher_path(version, rules, lang)
    return Matcher.open(host_cache.checked_file(store.storage, path, sha256), rules, checked=True)
