"""Identify the language of every text, match it against that language's metadata and count the entries.

Publishes `matches` (images with at least one matched text) and `counts` (texts per entry). Counts belong to a
`match_id`, which hashes everything that determines a match, and can be summed over batches.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from curation.errors import OutputError
from curation.lake.tombstones import Tombstones
from curation.language_keys import OTHER
from curation.report.unlisted import describe_unlisted
from jobs.runtime.compilation import MATCH, announce_compilation
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.partitions import require
from jobs.runtime.runs import Outcome
from jobs.runtime.spec import open_match_spec
from jobs.runtime.stage import Publication, Stage, StageRun
from jobs.runtime.takedowns import relevant_digest
from jobs.tasks.match.match import MatchedFiles, MatchFiles, SumCounts, SummedCounts
from jobs.tasks.match.splits import entry_ranges, group_files, group_ranges
from jobs.tasks.url_algorithms import rekey_tombstones
from metadata.languages import LanguageTable

log = logging.getLogger(__name__)


class MatchStage(Stage):
    """Matches the pairs of a batch and publishes matches and counts."""

    name: ClassVar[str] = "match"
    tables: ClassVar[tuple[str, ...]] = ("counts", "matches")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.batch, self.unit_bytes = context.batch, context.config.match.unit_bytes
        self.spec = open_match_spec(context)
        self.pairs = require(context.lake, "match", "jobs.ingest", "pairs", batch=self.batch)
        self.tombstones = Tombstones.read(context.lake)
        partition = {"match_id": self.spec.match_id, "batch": self.batch}
        self.fingerprint_keys = {**self.spec.keys, "unit_bytes": self.unit_bytes}
        self.inputs = {
            "pairs": self.pairs.run_ids,
            "tombstones": relevant_digest(context.lake, self.tombstones, self.pairs),
        }
        self.outputs = {"matches": partition, "counts": partition}
        self.reads = [self.pairs]

    def execute(self, run: StageRun) -> Publication:
        """Match files of pairs, then add up the staged counts."""
        context = self.context
        match = MatchFiles(
            context.storage,
            context.lake.root,
            self.spec,
            entry_ranges(self.spec.manifest.entries),
            self.tombstones,
            run.writers(),
            run.staging,
        )
        announce_compilation("match", *MATCH)
        matched = context.run_tasks("match", group_files(self.pairs.files, self.unit_bytes), match)
        run.step("match")
        sum_counts = SumCounts(context.storage, [part.staged for part in matched], run.writers())
        counted = context.run_tasks("match: counts", group_ranges([part.rows for part in matched]), sum_counts)
        run.step("count")
        totals, drops = add_up(matched)
        if OTHER in self.spec.manifest.entries:
            totals["list_of_others"] = OTHER
        if line := describe_unlisted(totals, LanguageTable.load().names):
            log.warning("match: %s", line)
        check_counts(totals, drops, self.pairs.rows, matched, counted)
        totals |= {"match_id": self.spec.match_id, "metadata_version": self.spec.manifest.version}
        files = {
            "matches": [file for part in matched for file in part.files],
            "counts": [file for part in counted for file in part.files],
        }
        return Publication(files, totals, drops)


def run(context: Context) -> list[Outcome]:
    """Match the batch's pairs."""
    rekey_tombstones(context.lake)
    return [MatchStage(context).run()]


def add_up(matched: Sequence[MatchedFiles]) -> tuple[dict[str, Any], dict[str, int]]:
    """Add the counters of all work units: totals (texts per language too) and drops by reason."""
    texts: Counter[str] = Counter()
    texts_matched: Counter[str] = Counter()
    without_list: Counter[str] = Counter()
    for part in matched:
        texts.update(part.texts)
        texts_matched.update(part.texts_matched)
        without_list.update(part.without_list)
    images, images_matched = sum(part.images for part in matched), sum(part.images_matched for part in matched)
    hidden = sum(part.tombstone for part in matched)
    drops = {"image_without_match": images - images_matched - hidden, "tombstone": hidden}
    totals = {
        "images": images,
        "images_matched": images_matched,
        "texts": texts.total(),
        "texts_matched": texts_matched.total(),
        "matches": sum(part.matches_written for part in matched),
        "texts_by_lang": dict(sorted(texts.items())),
        "matched_by_lang": dict(sorted(texts_matched.items())),
        "texts_without_list": dict(sorted(without_list.items())),
    }
    return totals, {reason: count for reason, count in drops.items() if count}


def check_counts(
    totals: dict[str, Any],
    drops: dict[str, int],
    read: int,
    matched: Sequence[MatchedFiles],
    counted: Sequence[SummedCounts],
) -> None:
    """Raise OutputError unless every image read is written or dropped, and the files contain the counted rows."""
    written = sum(file.rows for part in matched for file in part.files)
    if totals["images"] != read or totals["images_matched"] != written or read != written + sum(drops.values()):
        raise OutputError(f"match: counts do not add up: read {read} images, {written} written + dropped {drops}")
    counts, texts = sum(part.total for part in counted), sum(part.texts_written for part in matched)
    if counts != totals["matches"] or texts != totals["texts_matched"]:
        files = f"{texts} texts with {totals['matches']} matches"
        raise OutputError(f"match: the files hold {files}, not {totals['texts_matched']} texts with {counts}")


JOB = Job("match", __doc__ or "", run, stages=(MatchStage,), sections=("match",), holds_lease=True)

if __name__ == "__main__":
    sys.exit(main("jobs.match"))
