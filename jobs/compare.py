"""Compare recipes on the same batch, side by side: pairs kept, languages, rare entries, entropy.

    python -m jobs.compare --config c.yaml --batch 2024-05-31 --recipes default,one_t,merged

Reads published tables of the config's lake without Spark and writes to stdout. The recipes may differ in policy and
threshold, and in how they were matched (`metadata.version`): an ablation is a config with a recipe of its own. For a
recipe with `balance.selection: all`, figures marked `~` are expected values of one training epoch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pydantic import Field

from curation.balance.compare import COLUMNS, RecipeStats, RecipeStatsBuilder, comparison_table
from curation.balance.counts import read_counts
from curation.cli.command import Command, CommandOptions
from curation.cli.lists import split_names
from curation.cli.run import run_command
from curation.errors import UsageError
from curation.lake.parquet_read import read_batches
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.partitions import require

LANGUAGES = 20


def recipe_stats(context: Context, recipes: Sequence[str], batches: Sequence[str]) -> list[RecipeStats]:
    """Return the statistics of recipes on some batches, in the lake's order; thresholds are those of the last batch.

    Which entries are rare is decided by the counts up to the latest batch that any of the recipes counts, for all
    recipes whose matching has such counts. Raises UsageError if a recipe was never used, InputError if a batch is not
    balanced under it.
    """
    counted = {recipe: context.lake.recipe(recipe).get("counts_up_to", batches[-1]) for recipe in recipes}
    latest = context.lake.in_order(counted.values())[-1]
    return [_stats_of(context, recipe, batches, [latest, last]) for recipe, last in counted.items()]


def _stats_of(context: Context, recipe: str, batches: Sequence[str], rare_by: Sequence[str]) -> RecipeStats:
    """Return the statistics of a recipe; the first batch of `rare_by` with totals decides which entries are rare."""
    lake = context.lake
    keys = lake.recipe(recipe)
    matched_as = {"match_id": keys["match_id"]}
    with_totals = [batch for batch in rare_by if lake.snapshot("totals", {**matched_as, "batch": batch}).files]
    counted = (with_totals or rare_by)[0]
    totals = require(lake, "compare", "jobs.balance", "totals", **matched_as, batch=counted)
    parts = [require(lake, "compare", "jobs.balance", "curated", recipe=recipe, batch=batch) for batch in batches]
    published = require(lake, "compare", "jobs.balance", "thresholds", recipe=recipe, batch=batches[-1])
    read = (batch.to_pylist() for file in published.files for batch in read_batches(context.storage, file.path))
    thresholds = {row["lang"]: row["t"] for rows in read for row in rows}
    pairs = RecipeStatsBuilder(thresholds, keys["selection"])
    for part in parts:
        for file in part.files:
            for batch in read_batches(context.storage, file.path, COLUMNS[keys["selection"]]):
                pairs.add(batch)
    matches = lake.snapshot("matches", matched_as)
    matched = sum(matches.of(batch=batch).rows for batch in batches)
    return pairs.build(recipe, matched, thresholds, counted, read_counts(context.storage, totals))


def format_comparison(stats: Sequence[RecipeStats], *, as_json: bool, languages: int = LANGUAGES) -> str:
    """Return the comparison as a table to read, or as JSON."""
    if as_json:
        return json.dumps([asdict(each) for each in stats], ensure_ascii=False, indent=1)
    return "\n".join(comparison_table(stats, languages))


class CompareOptions(CommandOptions):
    """Which recipes to compare, and how much to print."""

    recipes: str | None = Field(None, description="names of the recipes, separated by commas (required)")
    languages: int = Field(LANGUAGES, ge=0, description="number of languages to print")
    json_: bool = Field(False, alias="json", description="print JSON instead of a table")


COMMAND = Command("python -m jobs.compare", __doc__ or "", CompareOptions, Config, required=("lake", "batch"))


def compare(argv: Sequence[str]) -> None:
    """Compare the recipes that the arguments name, on stdout."""
    options, config = COMMAND.parse(argv)
    if not options.recipes:
        raise UsageError(f"--recipes: missing: give names separated by commas (see {COMMAND.prog} --help)")
    context = Context(config, "compare")
    stats = recipe_stats(context, split_names(options.recipes), [context.batch])
    sys.stdout.write(format_comparison(stats, as_json=options.json_, languages=options.languages) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(compare, argv)


if __name__ == "__main__":
    sys.exit(main())
