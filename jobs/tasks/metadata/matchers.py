"""The matchers of a metadata version: every list is compiled for both rule sets, one list and rule set per task."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake.files import WrittenFile
from curation.lake.lake import Lake
from curation.lake.layout import LakeLayout
from curation.lake.parquet_read import read_batches
from curation.lake.presence import file_problems
from curation.matching.matcher_file import compile_entries
from curation.matching.store import Manifest, MatcherStore, matcher_name
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import StageRun

log = logging.getLogger(__name__)

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
    """Return whether a version is published with all of its files: its lists, and its manifest with its matchers."""
    tables = [lake.snapshot(table, {"metadata_version": version}) for table in ("entries", "source_lists")]
    store = MatcherStore(lake.storage, lake.root)
    if not tables[0].files or not store.has_manifest(version):
        return False
    lost = {path: problem for table in tables for path, problem in file_problems(lake.storage, table.files).items()}
    stored = {file.path for file in lake.storage.list_files(lake.layout.matchers(version))}
    matchers = (lake.layout.matcher(version, name) for name in store.read_manifest(version).files)
    lost |= {path: "missing" for path in matchers if path not in stored}
    for path, problem in lost.items():
        log.warning("metadata version %s: %s: %s: building it again", version, path, problem)
    return not lost


def same_build(run: StageRun, lake: Lake) -> Outcome | None:
    """Return the outcome of an earlier run that did the same work and whose version is still published."""
    outcome = run.same_work()
    return outcome if outcome and is_published(lake, outcome.totals["version"]) else None
