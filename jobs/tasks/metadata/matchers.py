"""The matchers of a metadata version: every list compiled for both rule sets, a list and rule set a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from curation.io.storage import Storage, join
from curation.lake.lake import Lake, WrittenFile
from curation.lake.parquet import read_batches
from curation.matching.matcher_file import compile_entries
from curation.matching.store import Manifest, manifest_path, matcher_name, write_manifest, write_matcher
from jobs.runtime.run_tasks import Result

RULES = ("worldwide", "reference")


@dataclass(frozen=True)
class Compile:
    """Compiles one language's entries for one rule set."""

    storage: Storage
    lake: str
    version: str
    files: Mapping[str, Sequence[WrittenFile]]

    def __call__(self, _: int, unit: tuple[str, str]) -> Iterator[Result]:
        """Yield the matcher's name and checksum."""
        lang, rules = unit
        entries = (
            entry
            for file in self.files[lang]
            for batch in read_batches(self.storage, join(self.lake, "entries", file.path), ["entry"])
            for entry in batch["entry"].to_pylist()
        )
        sha256 = write_matcher(self.storage, self.lake, self.version, rules, lang, compile_entries(entries, rules))
        yield Result("matcher", stats={"name": matcher_name(rules, lang), "sha256": sha256})


def publish_manifest(lake: Lake, version: str, entries: Mapping[str, int], compiled: Iterable[Result]) -> None:
    """Store a version's manifest: its entries by language, and what `Compile` gave."""
    checksums = {result.stats["name"]: result.stats["sha256"] for result in compiled}
    write_manifest(lake.storage, lake.root, Manifest(version, dict(entries), checksums))


def is_published(lake: Lake, version: str) -> bool:
    """Tell whether a version's entries and its matchers' manifest are there."""
    entries = lake.snapshot("entries", {"metadata_version": version})
    return bool(entries.files) and lake.storage.exists(manifest_path(lake.root, version))
