"""Write one self-contained HTML page about a batch, `LAKE/reports/<recipe>/<batch>.html`: the funnel with reasons.

The page shows every stage that has run and names those that have not, so a report can be written at any time.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import __version__
from curation.balance.counts import by_language
from curation.balance.thresholds import entry_probability
from curation.errors import InputError
from curation.lake.files import Snapshot
from curation.lake.lake import Lake
from curation.lake.parquet_read import read_batches
from curation.lake.schemas import SCHEMAS
from curation.report import night_page as report
from jobs.runtime.context import Context
from jobs.runtime.job import Job, main
from jobs.runtime.runs import Outcome, find_run
from metadata.languages import LanguageTable

log = logging.getLogger(__name__)

LANGUAGES = 12
TOP = 10
ROWS = 1 << 16


def run(context: Context) -> list[Outcome]:
    """Write the page of the batch and recipe."""
    started = time.monotonic()
    lake, recipe, batch = context.lake, context.config.recipe, context.batch
    page = lake.layout.batch_page(recipe, batch)
    context.storage.write_bytes(page, report.render(collect(lake, recipe, batch)).encode())
    log.info("report: %s", page)
    return [Outcome("report", "-", True, {"page": page}, seconds={"report": round(time.monotonic() - started, 3)})]


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
            "shards": lake.snapshot("shards", drawn),
        },
    )
    if not runs:
        raise InputError(f"report: nothing is published for batch {batch} in {lake.root}: run jobs.ingest first")
    version = runs["match"].totals.get("metadata_version", "") if "match" in runs else ""
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
        languages=largest_languages(lake, lake.snapshot("totals", counted), thresholds, version),
        names={code: language.name for code, language in LanguageTable.load().languages.items()},
    )


def read_recipe(lake: Lake, recipe: str) -> dict[str, Any]:
    """Return the keys that the recipe was frozen to; none before its first use."""
    return lake.recipe(recipe) if lake.knows_recipe(recipe) else {}


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


def largest_languages(
    lake: Lake, totals: Snapshot, thresholds: Sequence[Mapping[str, Any]], version: str
) -> list[report.LanguageCounts]:
    """Return summaries of the counts of the languages with the most matches, largest first; only these are loaded."""
    largest = sorted(thresholds, key=lambda row: (-row["matches"], row["lang"]))[:LANGUAGES]
    t_of = {row["lang"]: row["t"] for row in largest}
    counts = read_table(lake, totals, "totals", pc.field("lang").isin(list(t_of)))
    found = {}
    for lang, entry_ids, values in by_language(counts.to_batches()):
        t = t_of[lang]
        order = np.lexsort((entry_ids, -values))[:TOP]
        texts = read_entries(lake, version, lang, entry_ids[order].tolist())
        top = [
            report.TopEntry(text, count, entry_probability(count, t))
            for text, count in zip(texts, values[order].tolist(), strict=True)
        ]
        found[lang] = report.summarize(lang, values, t, top)
    return [found[lang] for lang in t_of if lang in found]


def read_entries(lake: Lake, version: str, lang: str, entry_ids: Sequence[int]) -> list[str]:
    """Return the texts of some entries; `entry 7` if the metadata is no longer in the lake."""
    snapshot = lake.snapshot("entries", {"metadata_version": version, "lang": lang})
    wanted = pc.field("entry_id").isin(entry_ids)
    rows = read_table(lake, snapshot, "entries", wanted, ["entry_id", "entry"])
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


JOB = Job("report", __doc__ or "", run)

if __name__ == "__main__":
    sys.exit(main("jobs.report"))
