"""Merge the lists of all languages of a metadata version into one, to measure the effect of language isolation.

Publishes a metadata version of its own with the one list `all`: a run with `metadata.version` set to it matches every
text against that list, whatever its language, and balances it with one threshold. `metadata.languages` selects the
lists to merge; with English alone, every text is matched against the English list. `latest` does not change.

Lists are merged as those of several Wikipedias are, in buckets by normalized entry, so no task holds more than two of
them until the merged list is compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

from curation.errors import UsageError
from curation.language_keys import MERGED
from curation.matching import matcher
from curation.matching.store import Manifest, MatcherStore
from jobs.runtime.compilation import BUILD, announce_compilation
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.partitions import require
from jobs.runtime.runs import Outcome
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.tasks.metadata.lists import bucket_counts, merge_keys
from jobs.tasks.metadata.matchers import RULES, CompileMatcher, publish_manifest, same_build
from jobs.tasks.metadata.spread import SpreadList
from metadata.languages import LanguageTable
from metadata.lists.merge import version_from_digests
from metadata.sources import select_languages

ALGORITHM = 2


class MergeStage(Stage):
    """Merges the lists of the configured languages and publishes them as a metadata version."""

    name: ClassVar[str] = "merge_metadata"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        lake = context.lake
        self.source = MatcherStore(context.storage, lake.root).read_manifest(context.config.metadata.version)
        version = self.source.version
        if MERGED in self.source.entries:
            raise UsageError(f"metadata.version: {version} is merged already")
        self.keys = _keys(context, self.source)
        self.entries = require(lake, self.name, "jobs.build_metadata", "entries", metadata_version=version)
        self.fingerprint_keys = {"keys": self.keys, "algorithm": [ALGORITHM, matcher.ALGORITHM]}
        self.inputs = {"metadata_version": version}
        self.outputs = {}
        self.reads = [self.entries]

    def earlier(self, run: StageRun) -> Outcome | None:
        """Return the outcome of an earlier merge whose version is still published."""
        return same_build(run, self.context.lake)

    def execute(self, run: StageRun) -> Publication:
        """Stage the lists, merge them into one and compile it."""
        context, merging = self.context, {MERGED: self.keys}
        spread = SpreadList(context.storage, run.staging, bucket_counts(merging)[self.keys[0]])
        files_by_key = [self.entries.of(lang=key).files for key in self.keys]
        staged = context.run_tasks("merge_metadata: lists", files_by_key, spread)
        lists = dict(zip(self.keys, staged, strict=True))
        [merged] = merge_keys(context, run.staging, merging, lists, run.writers())
        version = version_from_digests({MERGED: merged.digest})
        run.step("merge")
        compile_matcher = CompileMatcher(context.storage, context.lake.root, version, {MERGED: merged.files})
        units = [(MERGED, rules) for rules in RULES]
        announce_compilation(self.name, *BUILD)
        compiled = context.run_tasks("merge_metadata: matchers", units, compile_matcher, at_once=1)
        run.step("matchers")
        publish_manifest(context.lake, version, {MERGED: merged.entries}, compiled)
        totals = {
            "version": version,
            "entries": merged.entries,
            "languages": len(self.keys),
            "from": self.source.version,
        }
        outputs = {"entries": {"metadata_version": version}}
        return Publication({"entries": merged.files}, totals, outputs=outputs)


def run(context: Context) -> list[Outcome]:
    """Merge the lists of the configured languages."""
    return [MergeStage(context).run()]


def _keys(context: Context, source: Manifest) -> Sequence[str]:
    """Return the keys whose lists are merged. Raises UsageError if the version has none of them."""
    section, table = context.config.metadata, LanguageTable.load()
    every = section.languages == ["all"]
    asked = source.entries.keys() if every else {table.target(code) for code in select_languages(section, table)}
    if not (keys := sorted(asked & source.entries.keys())):
        raise UsageError(f"metadata.languages: version {source.version} has no list of {', '.join(sorted(asked))}")
    return keys


JOB = Job("merge_metadata", __doc__ or "", run, required=("lake",), sections=("metadata",))

if __name__ == "__main__":
    sys.exit(main("jobs.merge_metadata"))
