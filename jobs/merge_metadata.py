"""Merges the lists of all languages of a metadata version into one, to measure what isolating languages is worth.

Publishes a metadata version of its own with the one list `all`: a run with `metadata.version` set to it matches every
text against that list, whatever its language, and balances it with one threshold. `metadata.languages` chooses the
lists that are merged; with English alone, every text is matched against the English list. `latest` stays as it is.

The merged list is made in this process, about half a kilobyte an entry, and needs no Spark.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from curation.errors import UsageError
from curation.isolation import MERGED
from curation.lake import Snapshot
from curation.matchers import Manifest, open_manifest
from curation.matching import ALGORITHM as MATCHING
from curation.parquet import read_batches
from jobs.metadata_lists import in_partition
from jobs.metadata_matchers import RULES, Compile, is_published, publish_manifest
from jobs.runner import Context, Job, main
from jobs.stage import Outcome, Stage, require
from metadata.languages import LanguageTable
from metadata.merge import Entry, entries_table, list_digest, merge_lists, version_of
from metadata.sources import wanted

log = logging.getLogger(__name__)

ALGORITHM = 1


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
    merged = merge_lists(_read(context, entries.of(lang=key)) for key in keys)
    version = version_of({MERGED: list_digest(merged)})
    with stage.writers()("entries", 0, folder=f"lang={MERGED}") as writer:
        writer.write(entries_table(merged))
    files = list(in_partition(writer.files, lang=MERGED))
    stage.step("merge")
    compile_ = Compile(storage, lake.root, version, {MERGED: files})
    compiled = [result for rules in RULES for result in compile_(0, (MERGED, rules))]
    stage.step("matchers")
    publish_manifest(lake, version, {MERGED: len(merged)}, compiled)
    stage.aim({"entries": {"metadata_version": version}})
    totals = {"version": version, "entries": len(merged), "languages": len(keys), "from": source.version}
    return [stage.publish({"entries": files}, totals=totals, drops={})]


def _keys(context: Context, source: Manifest) -> Sequence[str]:
    """Return the keys whose lists are merged. Raises UsageError when the version has none of them."""
    section, table = context.config.metadata, LanguageTable.load()
    every = section.languages == ["all"]
    asked = source.entries.keys() if every else {table.target(code) for code in wanted(section, table)}
    if not (keys := sorted(asked & source.entries.keys())):
        raise UsageError(f"metadata.languages: version {source.version} has no list of {', '.join(sorted(asked))}")
    return keys


def _read(context: Context, snapshot: Snapshot) -> list[Entry]:
    return [
        Entry(row["entry"], row["origin"], row["score"])
        for file in snapshot.files
        for batch in read_batches(context.storage, file.path, ["entry", "origin", "score"])
        for row in batch.to_pylist()
    ]


JOB = Job("merge_metadata", __doc__ or "", run, required=("lake",))

if __name__ == "__main__":
    sys.exit(main("jobs.merge_metadata"))
