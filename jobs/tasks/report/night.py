"""Collects the content of the page of a batch under a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import __version__
from curation.balance.counts import read_counts
from curation.balance.thresholds import entry_probability
from curation.errors import InputError
from curation.hashing import u64
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.parquet_read import find_rows, read_batches
from curation.lake.schemas import SCHEMAS
from curation.report import night_data as report
from jobs.runtime.runs import find_run
from jobs.tasks.report.contact_sheet import collect_sheet
from jobs.tasks.report.duplicates import collect_pairs
from metadata.languages import LanguageTable

TOP = 10
ROWS = 1 << 16
SAMPLES = 24


def collect(lake: Lake, recipe: str, batch: str) -> report.Report:
    """Read the content of the report. Raises InputError if nothing of the batch is published."""
    keys = read_recipe(lake, recipe)
    match_id = keys.get("match_id") or newest_match_id(lake, batch)
    matched, drawn = {"match_id": match_id, "batch": batch}, {"recipe": recipe, "batch": batch}
    counted = {**matched, "batch": keys.get("counts_up_to", batch)}
    runs = find_runs(
        lake,
        {
            "ingest": lake.snapshot("pairs", {"batch": batch}),
            "match": lake.snapshot("matches", matched),
            "totals": lake.snapshot("totals", counted),
            "balance": lake.snapshot("curated", drawn),
            "images": lake.snapshot("images", drawn),
            "duplicates": lake.snapshot("duplicates", drawn),
            "shards": lake.snapshot("shards", drawn),
        },
    )
    if not runs:
        raise InputError(f"report: nothing is published for batch {batch} in {lake.root}: run jobs.ingest first")
    version = runs["match"].totals.get("metadata_version", "") if "match" in runs else ""
    sheet_rows, pictures = collect_sheet(lake, lake.snapshot("shards", drawn))
    thresholds = read_table(lake, lake.snapshot("thresholds", drawn), "thresholds").to_pylist()
    return report.Report(
        batch=batch,
        recipe=recipe,
        written=datetime.now(UTC),
        code_version=__version__,
        match_id=match_id,
        metadata_version=version,
        recipe_spec=keys,
        runs=runs,
        thresholds=thresholds,
        languages=list(languages_by_size(lake, lake.snapshot("totals", counted), thresholds, version)),
        names=LanguageTable.load().names,
        samples=list(sample_pairs(lake, lake.snapshot("matches", matched), lake.snapshot("curated", drawn), keys)),
        sheet_rows=sheet_rows,
        pictures=pictures,
        pairs=collect_pairs(lake, drawn),
    )


def read_recipe(lake: Lake, recipe: str) -> dict[str, Any]:
    """Return the keys that the recipe was frozen to; none before the first recipe of the lake is used.

    Raises UsageError if the lake has other recipes only.
    """
    return lake.recipe(recipe) if lake.recipes() else {}


def newest_match_id(lake: Lake, batch: str) -> str:
    """Return the match_id under which the batch was matched last; empty if it was never matched."""
    files = lake.snapshot("matches", {"batch": batch}).files
    # a run id starts with the run's start time
    return max(files, key=lambda file: file.run_id).partition["match_id"] if files else ""


def find_runs(lake: Lake, outputs: Mapping[str, Snapshot]) -> dict[str, report.StageRun]:
    """Return the run that owns each stage's output, for the stages that have one."""
    runs = {}
    for stage, snapshot in outputs.items():
        for run_id in snapshot.run_ids:
            row = find_run(lake, run_id, snapshot.table)
            if row:
                runs[stage] = report.StageRun.from_row(row)
    return runs


def languages_by_size(
    lake: Lake, totals: Snapshot, thresholds: Sequence[Mapping[str, Any]], version: str
) -> Iterator[report.LanguageCounts]:
    """Yield summaries of the counts of the languages that have matches, those with the most first."""
    t_of = {row["lang"]: row["t"] for row in sorted(thresholds, key=lambda row: (-row["matches"], row["lang"]))}
    summaries = {}
    for lang, entry_ids, counts in read_counts(lake.storage, totals):
        if lang not in t_of:
            continue
        t = t_of[lang]
        order = np.lexsort((entry_ids, -counts))[:TOP]
        texts = read_entries(lake, version, lang, entry_ids[order].tolist())
        top = [
            report.TopEntry(text, count, entry_probability(count, t))
            for text, count in zip(texts, counts[order].tolist(), strict=True)
        ]
        summaries[lang] = report.summarize(lang, counts, t, top)
    return (summaries[lang] for lang in t_of if lang in summaries)


def sample_pairs(
    lake: Lake, matches: Snapshot, curated: Snapshot, keys: Mapping[str, Any]
) -> Iterator[report.SamplePair]:
    """Yield the first matched images, each with the text and probability under which it was curated, if it was.

    `curated` is sorted by order hash. So the images whose hash is not above the last one of its first file are
    curated if and only if they are in that file, and only these images are shown.
    """
    drawn: dict[str, dict[str, Any]] = {}
    last = None
    if curated.files:
        path = curated.files[0].path
        for batch in read_batches(lake.storage, path, ["image_id"], ROWS):
            drawn.update((image_id, {}) for image_id in batch["image_id"].to_pylist())
        if len(curated.files) > 1:
            last = u64(keys.get("seed", 0), "order", next(reversed(drawn), ""))
    rows = (
        row
        for file in matches.files
        for batch in read_batches(lake.storage, file.path, ["image_id", "image_url", "image_ref", "texts"])
        for row in batch.to_pylist()
        if last is None or u64(keys.get("seed", 0), "order", row["image_id"]) <= last
    )
    chosen = list(islice(rows, SAMPLES))
    if ids := [row["image_id"] for row in chosen if row["image_id"] in drawn]:
        columns = ["image_id", "text", "lang", "keep_probability"]
        curated_rows = find_rows(lake.storage, curated.files[0].path, {"image_id": ids}, columns)
        drawn.update((row["image_id"], row) for row in curated_rows.to_pylist())
    for row in chosen:
        shown = drawn.get(row["image_id"]) or row["texts"][0]
        image = row["image_url"] or row["image_ref"] or ""
        yield report.SamplePair(image, shown["text"], shown["lang"], shown.get("keep_probability"))


def read_entries(lake: Lake, version: str, lang: str, entry_ids: Sequence[int]) -> list[str]:
    """Return the texts of some entries; `entry 7` if the metadata is no longer in the lake."""
    snapshot = lake.snapshot("entries", {"metadata_version": version, "lang": lang})
    is_listed = pc.field("entry_id").isin(entry_ids)
    rows = read_table(lake, snapshot, "entries", is_listed, ["entry_id", "entry"])
    texts = dict(zip(rows["entry_id"].to_pylist(), rows["entry"].to_pylist(), strict=True))
    return [texts.get(entry_id, f"entry {entry_id}") for entry_id in entry_ids]


def read_table(
    lake: Lake, snapshot: Snapshot, name: str, keep: pc.Expression | None = None, columns: list[str] | None = None
) -> pa.Table:
    """Return the rows of a snapshot's files that match `keep`."""
    schema = pa.schema([SCHEMAS[name].field(column) for column in columns or SCHEMAS[name].names])
    parts = [schema.empty_table()]
    for file in snapshot.files:
        for batch in read_batches(lake.storage, file.path, columns, ROWS):
            table = pa.Table.from_batches([batch]).cast(schema)
            parts.append(table if keep is None else table.filter(keep))
    return pa.concat_tables(parts)
