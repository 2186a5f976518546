"""Collects the content of the index of report pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from curation import __version__
from curation.lake.lake import Lake
from curation.report.index_page import BatchEntry, Index, MetadataEntry
from curation.report.night_data import StageRun
from jobs.runtime.runs import digest

# The table that each stage publishes last.
OUTPUTS = {
    "ingest": "pairs",
    "match": "matches",
    "totals": "totals",
    "balance": "curated",
    "images": "images",
    "duplicates": "duplicates",
    "shards": "shards",
}
NO_RECIPE = ""
READ = ("run_id", "started", "finished", "code_version", "complete", "totals", "drops", "seconds")  # columns of `runs`
Owner = tuple[Mapping[str, str], str]  # a partition, and the run that owns it


def state(lake: Lake) -> str:
    """Return a digest of everything that the index depends on: as long as it is the same, so is the index."""
    versions = {table: lake.version(table) for table in (*OUTPUTS.values(), "entries", "runs")}
    return digest([__version__, versions, lake.order, lake.recipes(), sorted(_pages(lake))])


def collect(lake: Lake) -> Index:
    """Read the content of the index; runs are taken from the table `runs`."""
    made_from, pages = state(lake), _pages(lake)
    rows = {row["run_id"]: StageRun.from_row({**row, "inputs": "{}"}) for row in _rows(lake)}
    owners = {stage: _by_batch(_owners(lake, table)) for stage, table in OUTPUTS.items()}
    recipes = sorted({partition["recipe"] for owned in owners["balance"].values() for partition, _ in owned})
    specs = {recipe: lake.recipe(recipe) if lake.knows_recipe(recipe) else {} for recipe in recipes}
    entries: dict[str, list[BatchEntry]] = defaultdict(list)
    for batch in lake.batches():
        of_batch = [recipe for recipe in recipes if _run(owners["balance"], {"recipe": recipe, "batch": batch})]
        for recipe in of_batch or [NO_RECIPE]:
            run_ids = _run_ids(owners, recipe, batch, specs.get(recipe, {}))
            runs = {stage: rows[run_id] for stage, run_id in run_ids.items() if run_id in rows}
            page = f"{recipe}/{batch}.html"
            entries[recipe].append(BatchEntry(batch, runs, page if page in pages else None))
    versions = [
        MetadataEntry(partition["metadata_version"], rows[run_id], page if page in pages else None)
        for partition, run_id in _owners(lake, "entries")
        if run_id in rows and (page := f"metadata/{partition['metadata_version']}.html")
    ]
    unique = {entry.version: entry for entry in versions}
    return Index(
        lake=lake.root,
        written=datetime.now(UTC),
        code_version=__version__,
        made_from=made_from,
        recipes=dict(entries),
        specs=specs,
        versions=sorted(unique.values(), key=lambda entry: entry.run.finished, reverse=True),
    )


def _pages(lake: Lake) -> set[str]:
    """Return the paths of the pages of batches and metadata versions, from the index."""
    reports = lake.layout.reports
    paths = (file.path.removeprefix(f"{reports}/") for file in lake.storage.list_files(reports))
    return {path for path in paths if path.endswith(".html") and "/" in path}


def _rows(lake: Lake) -> list[dict[str, Any]]:
    """Return the rows of `runs`, without their configs and inputs, which grow with the lake."""
    rows: list[dict[str, Any]] = lake.rows("runs", columns=READ).to_pylist()
    return rows


def _run_ids(
    owners: Mapping[str, Mapping[str, list[Owner]]], recipe: str, batch: str, spec: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the run of each stage for a batch under a recipe; without one, of the stages that need none."""
    if recipe == NO_RECIPE:
        return {stage: _run(owners[stage], {"batch": batch}) for stage in ("ingest", "match")}
    keys = {"recipe": recipe, "batch": batch, **({"match_id": spec["match_id"]} if "match_id" in spec else {})}
    counted = {**keys, "batch": spec.get("counts_up_to", batch)}
    return {stage: _run(owned, counted if stage == "totals" else keys) for stage, owned in owners.items()}


def _owners(lake: Lake, table: str) -> list[Owner]:
    """Return the partitions of a table with the runs that own them, in the order of the runs."""
    files = lake.snapshot(table).files
    owned = {(tuple(file.partition.items()), file.run_id) for file in files}
    return [(dict(partition), run_id) for partition, run_id in sorted(owned, key=lambda each: each[1])]


def _by_batch(owned: list[Owner]) -> dict[str, list[Owner]]:
    groups: dict[str, list[Owner]] = defaultdict(list)
    for owner in owned:
        groups[owner[0]["batch"]].append(owner)
    return groups


def _run(owned: Mapping[str, list[Owner]], keys: Mapping[str, str]) -> str | None:
    """Return the newest run that owns a partition with these values, of the keys that the partition has."""
    run_ids = [
        run_id
        for partition, run_id in owned.get(keys["batch"], ())
        if all(partition[key] == keys[key] for key in keys if key in partition)
    ]
    return run_ids[-1] if run_ids else None
