"""Decides what is exported: the shards of some batches of a recipe, or a compacted dataset, at one table version."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from curation.errors import DamagedLakeError, InputError, UsageError
from curation.lake.files import DataFile, Snapshot
from curation.lake.lake import Lake
from curation.lake.parquet_read import read_batches
from curation.lake.presence import file_problems
from curation.lake.tombstones import Tombstones
from jobs.runtime.context import Context
from jobs.runtime.freshness import recorded_inputs
from jobs.runtime.runs import find_run
from jobs.runtime.takedowns import relevant_digest

log = logging.getLogger(__name__)

ALGORITHM: Final = 1


@dataclass(frozen=True)
class Selection:
    """The exported part of a table.

    Attributes:
        table: `shards` or `compacted`.
        version: its version.
        runs: the run that made the shards of each batch, in the order of the lake.
        files: the files to export.
        dataset: the compacted dataset.
    """

    table: str
    version: int
    runs: Mapping[str, str]
    files: Sequence[DataFile]
    dataset: str | None = None


def select_shards(context: Context, version: int | None, batches: Sequence[str] | None) -> Selection:
    """Return the shards of the recipe at a version (the newest by default), of some batches (all by default).

    Raises UsageError for an unknown recipe or version, InputError if a batch has no shards, and DamagedLakeError if a
    file is missing.
    """
    lake, recipe = context.lake, context.config.recipe
    lake.require_recipe(recipe)
    _check_version(lake, "shards", version)
    snapshot = lake.snapshot("shards", {"recipe": recipe}, version)
    published = {file.partition["batch"] for file in snapshot.files}
    ordered = [batch for batch in lake.in_order(published) if batches is None or batch in batches]
    missing = sorted(set(batches or ()) - published)
    if missing or not ordered:
        of_batches = f" batch={','.join(missing)}" if missing else ""
        at = f" at version {version}" if version is not None else ""
        raise InputError(
            f"export: no shards for recipe={recipe}{of_batches} in {lake.root}{at}: run jobs.fetch_images first"
        )
    if removed := sorted(set(ordered) - set(lake.batches())):
        log.warning("export: version %d has batches that were removed since: %s", snapshot.version, ", ".join(removed))
    files = [file for batch in ordered for file in snapshot.of(batch=batch).files]
    _check_files(lake, files, version, "jobs.fetch_images")
    return Selection("shards", snapshot.version, {file.partition["batch"]: file.run_id for file in files}, files)


def select_dataset(context: Context, version: int | None, dataset: str) -> Selection:
    """Return a compacted dataset of the recipe at a version of the table `compacted` (the newest by default).

    Raises UsageError for an unknown recipe or version, InputError if there is no such dataset, and DamagedLakeError if
    a file is missing.
    """
    lake = context.lake
    _check_version(lake, "compacted", version)
    snapshot = lake.dataset(context.config.recipe, dataset, version)
    _check_files(lake, snapshot.files, version, "jobs.compact")
    row = find_run(lake, snapshot.run_ids[0], "compacted")
    if row is None:
        raise DamagedLakeError(f"export: run {snapshot.run_ids[0]} is not recorded: run jobs.compact again")
    sources = recorded_inputs(row)["shards"]
    runs = {batch: sources[batch][0] for batch in lake.in_order(sources)}
    return Selection("compacted", snapshot.version, runs, snapshot.files, dataset)


def _check_version(lake: Lake, table: str, version: int | None) -> None:
    newest = lake.snapshot(table).version
    if version is not None and version > newest:
        raise UsageError(f"--version: {version}: the newest version of {lake.layout.table(table)} is {newest}")


def _check_files(lake: Lake, files: Sequence[DataFile], version: int | None, job: str) -> None:
    for path, problem in file_problems(lake.storage, files).items():
        remedy = "export a newer version" if version is not None else f"run {job} again"
        raise DamagedLakeError(f"{path}: {problem}: {remedy}")


def plan_export(
    context: Context, selection: Selection, tombstones: Tombstones, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the plan of an export: its request, which a later run in the same folder must repeat, and its sources.

    `settings` are the format and its bounds.
    """
    read = Snapshot(selection.table, selection.version, tuple(selection.files))
    last = list(selection.runs)[-1]
    return {
        "request": {
            **settings,
            "recipe": context.config.recipe,
            **({"dataset": selection.dataset} if selection.dataset is not None else {}),
            "batches": list(selection.runs),
            "version": selection.version,
            "tombstones": relevant_digest(context.lake, tombstones, read),
            "algorithm": ALGORITHM,
        },
        "runs": dict(selection.runs),
        "recipe": context.lake.recipe(context.config.recipe),
        "thresholds": _thresholds(context, last, selection.runs[last]),
    }


def _thresholds(context: Context, batch: str, run_id: str) -> dict[str, int] | None:
    """Return t of each language for a batch; None if they were replaced after its shards were made."""
    lake, partition = context.lake, {"recipe": context.config.recipe, "batch": batch}
    published = lake.snapshot("thresholds", partition)
    row = find_run(lake, run_id, "shards")
    inputs = json.loads(row["inputs"] or "{}") if row else {}
    if list(published.run_ids) != inputs.get("curated"):
        return None
    read = (part.to_pylist() for file in published.files for part in read_batches(lake.storage, file.path))
    return {row["lang"]: row["t"] for rows in read for row in rows}
