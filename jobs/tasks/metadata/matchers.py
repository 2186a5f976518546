"""The matchers of a metadata version: every list is compiled for both rule sets, one list and rule set per task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.files import WrittenFile
from curation.lake.lake import Lake
from curation.lake.layout import LakeLayout
from curation.lake.parquet_read import read_batches
from curation.matching.matcher_file import compile_entries
from curation.matching.store import Manifest, MatcherStore, matcher_name
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import StageRun

RULES = ("worldwide", "reference")


class CompiledMatcher(msgspec.Struct):
    """The name of a matcher file and the SHA-256 of its content."""

    name: str
    sha256: str


@dataclass(frozen=True)
class CompileMatcher:
    """Compiles one language's entries for one rule set."""

    storage: Storage
    lake: str
    version: str
    files: Mapping[str, Sequence[WrittenFile]]

    def __call__(self, _: int, unit: tuple[str, str]) -> CompiledMatcher:
        """Return the matcher's name and checksum."""
        lang, rules = unit
        entries = (
            entry
            for file in self.files[lang]
            for batch in read_batches(self.storage, join(LakeLayout(self.lake).table("entries"), file.path), ["entry"])
            for entry in batch["entry"].to_pylist()
        )
        sha256 = MatcherStore(self.storage, self.lake).write(self.version, rules, lang, compile_entries(entries, rules))
        return CompiledMatcher(matcher_name(rules, lang), sha256)


def publish_manifest(lake: Lake, version: str, entries: Mapping[str, int], compiled: Iterable[CompiledMatcher]) -> None:
    """Write a version's manifest: the number of entries by language, and the checksums of its matchers."""
    checksums = {matcher.name: matcher.sha256 for matcher in compiled}
    MatcherStore(lake.storage, lake.root).write_manifest(Manifest(version, dict(entries), checksums))


def is_published(lake: Lake, version: str) -> bool:
    """Return whether a version's entries and the manifest of its matchers are published."""
    entries = lake.snapshot("entries", {"metadata_version": version})
    return bool(entries.files) and MatcherStore(lake.storage, lake.root).has_manifest(version)


def same_build(run: StageRun, lake: Lake) -> Outcome | None:
    """Return the outcome of an earlier run that did the same work and whose version is still published."""
    outcome = run.same_work()
    return outcome if outcome and is_published(lake, outcome.totals["version"]) else None
