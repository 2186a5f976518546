"""Refuse shards that cannot be trained on together, or with a setting of the draw."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from curation.errors import UsageError
from curation.lake.files import Snapshot
from curation.lake.lake import Lake


def check_matches(lake: Lake, recipes: Sequence[str]) -> None:
    """Raise UsageError for recipes with different match ids: their entry ids and counts have different meanings."""
    ids = {recipe: lake.recipe(recipe).get("match_id") for recipe in recipes if lake.knows_recipe(recipe)}
    if len(set(ids.values())) > 1:
        found = ", ".join(f"{recipe} {match_id}" for recipe, match_id in ids.items())
        raise UsageError(
            f"recipe: these recipes were matched with different metadata, models or rules (match_id: {found}): "
            f"match and balance all of them with one metadata.version"
        )


def check_selection(lake: Lake, snapshot: Snapshot, *, online: bool) -> None:
    """Raise UsageError for training on every matched pair, which would undo the balancing, and for drawing twice."""
    totals = (json.loads(row["totals"]) for row in run_rows(lake, snapshot))
    selections = {counters.get("selection", "drawn") for counters in totals}  # drawn, all
    if online and selections != {"all"}:
        raise UsageError(
            "draw: these shards already hold the curated draw, and drawing from it again would balance it twice: "
            "keep `draw: published`, or balance and fetch with balance.selection: all under another recipe"
        )
    if not online and "all" in selections:
        raise UsageError(
            "draw: these shards hold every matched pair (balance.selection: all), not the curated draw: set "
            "`draw: online` to draw from them at every epoch, or train on a recipe with balance.selection: drawn"
        )


def run_rows(lake: Lake, snapshot: Snapshot) -> list[Mapping[str, Any]]:
    """Return the rows of the runs that wrote the files of a snapshot, as the table `runs` has them.

    If a run was killed right after its commit, only the commit holds its row.
    """
    rows: list[Mapping[str, Any]] = lake.rows("runs", {"run_id": snapshot.run_ids}).to_pylist()
    recorded = {row["run_id"] for row in rows}
    if recorded != set(snapshot.run_ids):
        commits = (commit for commit in lake.commits(snapshot.table) if commit.get("run_id") in snapshot.run_ids)
        rows += [json.loads(commit["run"]) for commit in commits if "run" in commit]
    return rows
