"""Decides what is exported: the shards of some batches of a recipe, at one version of the table."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from curation.errors import DamagedLakeError, InputError, UsageError
from curation.lake.files import DataFile, Snapshot
from curation.lake.parquet_read import read_batches
from curation.lake.presence import file_problems
from curation.lake.tombstones import Tombstones
from jobs.runtime.context import Context
from jobs.runtime.runs import find_run
from jobs.runtime.takedowns import relevant_digest

log = logging.getLogger(__name__)

ALGORITHM: Final = 1


@dataclass(frozen=True)
class Selection:
    """The exported part of the table `shards`: its version, the batches in the order of the lake, and its files."""

    version: int
    batches: Sequence[str]
    files: Sequence[DataFile]


def select_shards(context: Context, version: int | None, batches: Sequence[str] | None) -> Selection:
    """Return the shards of the recipe at a version (the newest by default), of some batches (all by default).

    Raises UsageError for an unknown recipe or version, InputError if a batch has no shards, and DamagedLakeError if a
    file is missing.
    """
    lake, recipe = context.lake, context.config.recipe
    lake.require_recipe(recipe)
    newest = lake.snapshot("shards").version
    if version is not None and version > newest:
        raise UsageError(f"--version: {version}: the newest version of {lake.layout.table('shards')} is {newest}")
    snapshot = lake.snapshot("shards", {"recipe": recipe}, version)
    published = {file.partition["batch"] for file in snapshot.files}
    ordered = [batch for batch in lake.declared_batches() if batch in (published if batches is None else batches)]
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
    for path, problem in file_problems(lake.storage, files).items():
        remedy = "export a newer version" if version is not None else "run jobs.fetch_images again"
        raise DamagedLakeError(f"{path}: {problem}: {remedy}")
    return Selection(snapshot.version, ordered, files)


def plan_export(
    context: Context, selection: Selection, tombstones: Tombstones, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the plan of an export: its request, which a later run in the same folder must repeat, and its sources.

    `settings` are the format and its bounds.
    """
    read = Snapshot("shards", selection.version, tuple(selection.files))
    runs = {file.partition["batch"]: file.run_id for file in selection.files}
    return {
        "request": {
            **settings,
            "recipe": context.config.recipe,
            "batches": list(selection.batches),
            "version": selection.version,
            "tombstones": relevant_digest(context.lake, tombstones, read),
            "algorithm": ALGORITHM,
        },
        "runs": runs,
        "recipe": context.lake.recipe(context.config.recipe),
        "thresholds": _thresholds(context, selection.batches[-1], runs[selection.batches[-1]]),
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
