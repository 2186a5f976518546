"""Identifies the language of every text, matches it against that language's metadata and counts the entries.

Publishes `matches` (images with at least one matched text) and `counts` (texts per entry). Counts belong to a
`match_id`, the hash of everything that gives them their meaning, and add up over batches.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation import models
from curation.cli.config import MatchSection
from curation.errors import OutputError, UsageError
from curation.io.storage import Storage, join
from curation.lake import shuffle
from curation.lake.lake import DataFile
from curation.lake.parquet import count_values, read_batches
from curation.lake.schemas import SCHEMAS
from curation.lake.tombstones import Tombstones
from curation.lid import script_override
from curation.lid.identifier import LanguageIdentifier, cached, labels_of, model_sha256
from curation.matching.matcher import ALGORITHM, Matcher
from curation.matching.pairs import PairMatcher
from curation.matching.store import Manifest, load_matcher, matcher_name, open_manifest
from jobs.runtime.job import Context, Job, main
from jobs.runtime.run_tasks import Result, file_results, files_of, run_tasks
from jobs.runtime.stage import Outcome, Stage, WriterFactory, digest, require
from jobs.tasks.match.splits import Piece, piece_ranges, pieces_of, units_of
from metadata.labels import map_labels
from metadata.languages import LanguageTable

WRITTEN_TEXTS = "texts.list.element.lang"
WRITTEN_MATCHES = "texts.list.element.entry_ids.list.element"


@dataclass(frozen=True)
class Matching:
    """What gives matches and counts their meaning, and where its parts lie."""

    manifest: Manifest
    rules: str
    model: str
    model_digest: str
    labels: dict[str, str]
    labels_digest: str  # empty where the labels lead where the table's column `labels` says
    table_digest: str
    min_lid_score: float
    script_languages: bool = False

    @property
    def meaning(self) -> dict[str, Any]:
        """Everything that decides which entries a text matches."""
        return {
            "metadata_version": self.manifest.version,
            "language_table": self.table_digest,
            "rules": self.rules,
            "lid_model": self.model_digest,
            "min_lid_score": self.min_lid_score,
            "algorithm": ALGORITHM,
            "unicode": unicodedata.unidata_version,  # forms follow it
            **({"lid_labels": self.labels_digest} if self.labels_digest else {}),
            **({"script_languages": script_override.ALGORITHM} if self.script_languages else {}),
        }

    @property
    def match_id(self) -> str:
        """Name of this meaning: counts and matches of another are never mixed with it."""
        return digest(self.meaning)[:16]

    def identifier(self) -> LanguageIdentifier:
        """Return what names the language of texts."""
        if self.script_languages:
            return script_override.ScriptIdentifier(self.model, self.labels, self.min_lid_score)
        return cached(self.model, self.labels, self.min_lid_score)


def open_matching(context: Context) -> Matching:
    """Read what the config's `match` and `metadata.version` refer to.

    Raises UsageError when the metadata version or the language-ID model is missing, or the model has labels of which
    neither the language table nor the file `match.lid_labels` says where they belong.
    """
    section: MatchSection = context.config.match
    model = models.default_model_path() if section.lid_model == "default" else Path(section.lid_model)
    if not model.is_file():
        raise UsageError(f"match.lid_model: no file {model}")
    table = LanguageTable.load()
    labels = map_labels(labels_of(model), table, None if section.lid_labels == "default" else Path(section.lid_labels))
    LanguageIdentifier(model, labels)
    return Matching(
        manifest=open_manifest(context.storage, context.lake.root, context.config.metadata.version),
        rules=section.rules,
        model=str(model.resolve()),
        model_digest=model_sha256(model),
        labels=labels,
        labels_digest="" if labels.items() <= table.label_to_lang.items() else digest(labels),
        table_digest=table.digest,
        min_lid_score=section.min_lid_score,
        script_languages=section.script_languages,
    )


@dataclass(frozen=True)
class MatchFiles:
    """Matches some files of pairs: writes their matches, stages their counts by piece of a language's entries."""

    storage: Storage
    lake: str
    matching: Matching
    pieces: Sequence[Piece]
    tombstones: Tombstones
    writers: WriterFactory
    staging: str

    def __call__(self, index: int, files: Sequence[DataFile]) -> Iterator[Result]:
        """Yield the written matches and the staged counts."""
        matcher = PairMatcher(self._identifier(), self.matching.manifest.entries, self._matcher)
        images = matched = buried = 0
        with self.writers("matches", index) as writer:
            for batch in chain.from_iterable(read_batches(self.storage, file.path) for file in files):
                alive = batch.filter(self.tombstones.keep_mask(batch))
                rows = matcher.match(alive)
                writer.write(rows)
                images, buried = images + batch.num_rows, buried + batch.num_rows - alive.num_rows
                matched += rows.num_rows
        yield from file_results("matches", writer.files)
        written = [join(self.lake, "matches", file.path) for file in writer.files]
        path = join(self.staging, shuffle.staged_name(index))
        counts = matcher.counts()
        tables = (piece.of(counts) for piece in self.pieces)
        rows_by_piece = shuffle.write_buckets(self.storage, path, SCHEMAS["counts"], tables)
        figures = {
            "images": images,
            "images_matched": matched,
            "tombstone": buried,
            "texts_written": sum(count_values(self.storage, file, WRITTEN_TEXTS) for file in written),
            "matches_written": sum(count_values(self.storage, file, WRITTEN_MATCHES) for file in written),
        }
        langs = {"texts": matcher.texts, "matched": matcher.matched}
        yield Result("counts", stats={"path": path, "rows": rows_by_piece, "figures": figures, **langs})

    def _identifier(self) -> LanguageIdentifier:
        check_model(self.matching.model, self.matching.model_digest)
        return self.matching.identifier()

    def _matcher(self, lang: str) -> Matcher:
        version, rules = self.matching.manifest.version, self.matching.rules
        sha256 = self.matching.manifest.files[matcher_name(rules, lang)]
        return load_matcher(self.storage, self.lake, version, rules, lang, sha256)


@lru_cache(maxsize=8)
def check_model(path: str, sha256: str) -> None:
    """Raise UsageError unless this node has the driver's language-ID model, looked at once a process."""
    if model_sha256(path) != sha256:
        raise UsageError(f"match.lid_model: {path} on this node is another file than on the driver")


@dataclass(frozen=True)
class SumCounts:
    """Adds up the staged counts of a range of pieces."""

    storage: Storage
    staged: Sequence[str]
    writers: WriterFactory

    def __call__(self, index: int, pieces: range) -> Iterator[Result]:
        """Yield the written counts and their sum."""
        parts = pa.concat_tables(
            [SCHEMAS["counts"].empty_table(), *shuffle.read_buckets(self.storage, self.staged, pieces)]
        )
        summed = parts.group_by(["lang", "entry_id"]).aggregate([("count", "sum")])
        table = summed.rename_columns(["lang", "entry_id", "count"]).sort_by(
            [("lang", "ascending"), ("entry_id", "ascending")]
        )
        with self.writers("counts", index) as writer:
            writer.write(table)
        total = pa.compute.sum(table["count"]).as_py() or 0
        yield from file_results("counts", writer.files, {"sum": total})


def run(context: Context) -> list[Outcome]:
    """Match the batch's pairs."""
    lake, batch = context.lake, context.batch
    matching_ = open_matching(context)
    pairs = require(lake, "match", "jobs.ingest", "pairs", batch=batch)
    tombstones = Tombstones.read(lake)
    partition = {"match_id": matching_.match_id, "batch": batch}
    stage = Stage(
        "match",
        lake,
        context.config,
        semantic={**matching_.meaning, "unit_bytes": context.config.match.unit_bytes},
        inputs={"pairs": pairs.run_ids, "tombstones": tombstones.digest},
        outputs={"matches": partition, "counts": partition},
        batch=batch,
        reads=[pairs],
    )
    if done := stage.finished():
        return [done]
    pieces = pieces_of(matching_.manifest.entries)
    matched = run_tasks(
        context.spark,
        "match",
        units_of(pairs.files, context.config.match.unit_bytes),
        MatchFiles(context.storage, lake.root, matching_, pieces, tombstones, stage.writers(), stage.staging),
        progress_s=context.config.progress_s,
    )
    stage.step("match")
    staged = [result.stats for result in matched if result.kind == "counts"]
    counted = run_tasks(
        context.spark,
        "match: counts",
        piece_ranges([part["rows"] for part in staged]),
        SumCounts(context.storage, [part["path"] for part in staged], stage.writers()),
        progress_s=context.config.progress_s,
    )
    stage.step("count")
    totals, drops = add_up(staged)
    totals |= {"match_id": matching_.match_id, "metadata_version": matching_.manifest.version}
    files = {"matches": files_of(matched, "matches"), "counts": files_of(counted, "counts")}
    check_books(totals, drops, pairs.rows, sum(file.rows for file in files["matches"]))
    counts = sum(result.stats.get("sum", 0) for result in counted)
    texts = sum(part["figures"]["texts_written"] for part in staged)
    if counts != totals["matches"] or texts != totals["texts_matched"]:
        found = f"{texts} texts with {totals['matches']} matches"
        raise OutputError(f"match: the files hold {found}, not {totals['texts_matched']} texts with {counts}")
    return [stage.publish(files, totals=totals, drops=drops)]


def add_up(staged: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, int]]:
    """Add the figures of all units: totals (texts per language too) and drops by reason."""
    figures: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    matched: Counter[str] = Counter()
    for part in staged:
        figures.update(part["figures"])
        texts.update(part["texts"])
        matched.update(part["matched"])
    drops = {
        "image_without_match": figures["images"] - figures["images_matched"] - figures["tombstone"],
        "tombstone": figures["tombstone"],
    }
    totals = {
        "images": figures["images"],
        "images_matched": figures["images_matched"],
        "texts": texts.total(),
        "texts_matched": matched.total(),
        "matches": figures["matches_written"],
        "texts_by_lang": dict(sorted(texts.items())),
        "matched_by_lang": dict(sorted(matched.items())),
    }
    return totals, {reason: count for reason, count in drops.items() if count}


def check_books(totals: dict[str, Any], drops: dict[str, int], read: int, written: int) -> None:
    """Raise OutputError unless every image read is either written or counted as dropped."""
    if totals["images"] != read or totals["images_matched"] != written or read != written + sum(drops.values()):
        raise OutputError(f"match: {read} images read, {written} written, dropped {drops}: the books do not balance")


JOB = Job("match", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.match"))
