"""The published inputs of the balance job, and the recipe under which they are balanced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from curation.lake.files import Snapshot
from jobs.runtime.context import Context
from jobs.runtime.partitions import check_same_run, require
from jobs.runtime.spec import open_match_spec, recipe_keys


@dataclass(frozen=True)
class BalanceInputs:
    """The matches of a batch, the keys of the recipe, and the partition of the totals that determine the thresholds."""

    matches: Snapshot
    recipe: dict[str, Any]
    counted: dict[str, str]

    @classmethod
    def open(cls, context: Context) -> Self:
        """Find the inputs that a config names. Raises InputError if one is missing, UsageError for another recipe."""
        config, lake = context.config, context.lake
        match_id = open_match_spec(context).match_id
        matched = {"match_id": match_id, "batch": context.batch}
        matches = require(lake, "balance", "jobs.match", "matches", **matched)
        check_same_run(matches, require(lake, "balance", "jobs.match", "counts", **matched))
        recipe = recipe_keys(config, match_id)
        lake.check_recipe(config.recipe, recipe)
        counted = {**matched, "batch": config.balance.counts_up_to or context.batch}
        require(lake, "balance", "jobs.match", "counts", **counted)
        return cls(matches, recipe, counted)
