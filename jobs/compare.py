"""Compares what recipes keep of the same batch, side by side: pairs, languages, rare entries, entropy.

    python -m jobs.compare --config c.yaml --batch 2024-05-31 --recipes default,one_t,merged [--languages 20] [--json]

Reads published tables of the config's lake without Spark, and writes to stdout. The recipes may differ in policy and
threshold, and in how they were matched (`metadata.version`): an ablation is a config under a name of its own. Of a
recipe of `balance.selection: all` it says, with a `~`, what an epoch of training is expected to draw.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from curation.balance.compare import COLUMNS, Effect, KeptPairs, lines
from curation.balance.counts import read_counts
from curation.cli import run as cli
from curation.cli.config import Config
from curation.errors import UsageError
from curation.lake.parquet import read_batches
from jobs.runtime.job import Context
from jobs.runtime.stage import require

PROG = "python -m jobs.compare"
LANGUAGES = 20


def effects_of(context: Context, recipes: Sequence[str], batches: Sequence[str]) -> list[Effect]:
    """Return what recipes keep of some batches, in the lake's order; thresholds are those of the last.

    Entries are rare by the counts up to the latest batch that any of the recipes counts, for all recipes whose
    matching has such counts. Raises InputError when a recipe was never used, or a batch is not balanced under it.
    """
    place = {batch: place for place, batch in enumerate(context.lake.batches())}
    counted = {recipe: context.lake.recipe(recipe).get("counts_up_to", batches[-1]) for recipe in recipes}
    latest = max(counted.values(), key=lambda batch: place.get(batch, -1))
    return [_effect_of(context, recipe, batches, [latest, own]) for recipe, own in counted.items()]


def _effect_of(context: Context, recipe: str, batches: Sequence[str], rare_by: Sequence[str]) -> Effect:
    """Return what a recipe keeps; rare by the counts up to the first of some batches that there are any of."""
    lake = context.lake
    meaning = lake.recipe(recipe)
    matched_as = {"match_id": meaning["match_id"]}
    found = [batch for batch in rare_by if lake.snapshot("totals", {**matched_as, "batch": batch}).files]
    counted = (found or rare_by)[0]
    totals = require(lake, "compare", "jobs.balance", "totals", **matched_as, batch=counted)
    parts = [require(lake, "compare", "jobs.balance", "curated", recipe=recipe, batch=batch) for batch in batches]
    made = require(lake, "compare", "jobs.balance", "thresholds", recipe=recipe, batch=batches[-1])
    read = (batch.to_pylist() for file in made.files for batch in read_batches(context.storage, file.path))
    thresholds = {row["lang"]: row["t"] for rows in read for row in rows}
    pairs = KeptPairs(thresholds, meaning["selection"])
    for part in parts:
        for file in part.files:
            for batch in read_batches(context.storage, file.path, COLUMNS[meaning["selection"]]):
                pairs.add(batch)
    matches = lake.snapshot("matches", matched_as)
    matched = sum(matches.of(batch=batch).rows for batch in batches)
    return pairs.effect(recipe, matched, thresholds, counted, read_counts(context.storage, totals))


def said(effects: Sequence[Effect], *, as_json: bool, languages: int = LANGUAGES) -> str:
    """Return the comparison as a table to read, or as JSON."""
    if as_json:
        return json.dumps([asdict(effect) for effect in effects], ensure_ascii=False, indent=1)
    return "\n".join(lines(effects, languages))


def options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return this command's own options and the arguments that are left for the config."""
    parser = cli.own_parser(PROG)
    parser.add_argument("--recipes")
    parser.add_argument("--languages", type=int, default=LANGUAGES)
    parser.add_argument("--json", action="store_true")
    return cli.parse_own(parser, argv)


def compare(argv: Sequence[str]) -> None:
    """Compare the recipes that the arguments name, on stdout."""
    own, rest = options(argv)
    config: Any = cli.load_config(Config, rest, prog=PROG, description=__doc__ or "", required=("lake", "batch"))
    if not own.recipes:
        raise UsageError(f"give --recipes, names with commas between (see {PROG} --help)")
    context = Context(config, "compare")
    effects = effects_of(context, own.recipes.split(","), [context.batch])
    sys.stdout.write(said(effects, as_json=own.json, languages=own.languages) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return cli.run(compare, argv)


if __name__ == "__main__":
    sys.exit(main())
