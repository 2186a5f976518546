"""Merges the lists of all languages of a metadata version into one, to measure what isolating languages is worth.

Publishes a metadata version of its own with the one list `all`: a run with `metadata.version` set to it matches every
text against that list, whatever its language, and balances it with one threshold. `metadata.languages` chooses the
lists that are merged; with English alone, every text is matched against the English list. `latest` stays as it is.

Lists are merged as those of several Wikipedias are, in buckets by entry form, so no task holds more than two of them,
until the merged list is compiled.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from curation.errors import UsageError
from curation.io.storage import Storage, join
from curation.lake import shuffle
from curation.lake.lake import DataFile
from curation.lake.parquet import read_batches
from curation.language_keys import MERGED
from curation.matching.matcher import ALGORITHM as MATCHING
from curation.matching.store import Manifest, open_manifest
from jobs.runtime.job import Context, Job, main
from jobs.runtime.run_tasks import Result, files_of, run_tasks
from jobs.runtime.stage import Outcome, Stage, require
from jobs.tasks.metadata.lists import bucket_counts, merge_keys
from jobs.tasks.metadata.matchers import RULES, Compile, is_published, publish_manifest
from metadata.languages import LanguageTable
from metadata.lists.merge import FORMED, Entry, formed, version_of
from metadata.sources import wanted

log = logging.getLogger(__name__)

ALGORITHM = 2


@dataclass(frozen=True)
class SpreadList:
    """Stages one language's entries in buckets by a hash of their form, each spelling as an entry of its own.

    That of a form which comes first in code-point order stays the entry, and no alias comes before its entry.
    """

    storage: Storage
    staging: str
    buckets: int

    def __call__(self, index: int, files: Sequence[DataFile]) -> Iterator[Result]:
        """Yield where they are staged."""
        entries = [
            Entry(spelling, row["origin"], row["score"])
            for file in files
            for batch in read_batches(self.storage, file.path)
            for row in batch.to_pylist()
            for spelling in (row["entry"], *row["aliases"])
        ]
        path = join(self.staging, f"list-{shuffle.staged_name(index)}")
        shuffle.write_buckets(self.storage, path, FORMED, shuffle.spread(formed(entries), "form", self.buckets))
        yield Result("list", stats={"path": path})


def run(context: Context) -> list[Outcome]:
    """Merge the lists of the configured languages."""
    lake, storage = context.lake, context.storage
    source = open_manifest(storage, lake.root, context.config.metadata.version)
    if MERGED in source.entries:
        raise UsageError(f"metadata.version: {source.version} is merged already")
    keys = _keys(context, source)
    entries = require(lake, "merge_metadata", "jobs.build_metadata", "entries", metadata_version=source.version)
    stage = Stage(
        "merge_metadata",
        lake,
        context.config,
        semantic={"keys": keys, "algorithm": [ALGORITHM, MATCHING]},
        inputs={"metadata_version": source.version},
        outputs={},
        reads=[entries],
    )
    if (done := stage.done_before()) and is_published(lake, done.totals["version"]):
        return [done]
    merging = {MERGED: keys}
    spread = SpreadList(storage, stage.staging, bucket_counts(merging)[keys[0]])
    do = partial(run_tasks, context.spark, progress_s=context.config.progress_s)
    staged = do("merge_metadata: lists", [entries.of(lang=key).files for key in keys], spread)
    lists = {key: result.stats["path"] for key, result in zip(keys, staged, strict=True)}
    built = merge_keys(do, storage, stage.staging, merging, lists, stage.writers())
    [found] = [result.stats for result in built if result.kind == "key"]
    version = version_of({MERGED: found["digest"]})
    files = files_of(built, "entries")
    stage.step("merge")
    units = [(MERGED, rules) for rules in RULES]
    compile_ = Compile(storage, lake.root, version, {MERGED: files})
    compiled = do("merge_metadata: matchers", units, compile_, at_once=1)
    stage.step("matchers")
    publish_manifest(lake, version, {MERGED: found["entries"]}, compiled)
    stage.set_outputs({"entries": {"metadata_version": version}})
    totals = {"version": version, "entries": found["entries"], "languages": len(keys), "from": source.version}
    return [stage.publish({"entries": files}, totals=totals, drops={})]


def _keys(context: Context, source: Manifest) -> Sequence[str]:
    """Return the keys whose lists are merged. Raises UsageError when the version has none of them."""
    section, table = context.config.metadata, LanguageTable.load()
    every = section.languages == ["all"]
    asked = source.entries.keys() if every else {table.target(code) for code in wanted(section, table)}
    if not (keys := sorted(asked & source.entries.keys())):
        raise UsageError(f"metadata.languages: version {source.version} has no list of {', '.join(sorted(asked))}")
    return keys


JOB = Job("merge_metadata", __doc__ or "", run, required=("lake",))

if __name__ == "__main__":
    sys.exit(main("jobs.merge_metadata"))
