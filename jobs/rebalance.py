"""Balance all batches of a recipe again under another recipe, with the counts of all batches, and compare the two.

    python -m jobs.rebalance --config c.yaml --recipe full --from_recipe default

A batch is balanced with the counts up to it, so the thresholds of early batches rest on few counts. A full rebalance
gives every batch the same thresholds, from the counts up to the last batch that is matched. It runs the balance job
with `balance.counts_up_to`, batch by batch, and skips finished batches, so a killed run can be continued. The old
recipe stays as it is. The difference, pairs by language and t before and after, is written to stdout.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.counts import count
from curation.cli.run import run_command
from curation.errors import InputError, UsageError
from jobs import balance, compare
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.job import run_job
from jobs.runtime.spec import counts_up_to, open_match_spec

log = logging.getLogger(__name__)


def batches_of(context: Context, recipe: str) -> list[str]:
    """Return the batches that are balanced under a recipe, in the lake's order. Raises InputError if there are none."""
    curated = context.lake.snapshot("curated", {"recipe": recipe})
    found = {file.partition["batch"] for file in curated.files}
    if not found:
        context.lake.require_recipe(recipe)
        raise InputError(f"rebalance: {context.lake.root} has no batch of recipe {recipe!r}: run jobs.balance first")
    return context.lake.in_order(found)


def last_counted(context: Context) -> str:
    """Return the last batch, in the lake's order, that is matched as configured. Raises InputError if there is none."""
    match_id = open_match_spec(context).match_id
    counts = context.lake.snapshot("counts", {"match_id": match_id})
    matched = {file.partition["batch"] for file in counts.files}
    if not matched:
        raise InputError(f"rebalance: no batch has counts of match_id {match_id}: run jobs.match first")
    return context.lake.in_order(matched)[-1]


class RebalanceOptions(CommandOptions):
    """Which recipe to balance again, and how much to print."""

    former_flags: ClassVar[dict[str, str]] = {"--of": "from_recipe"}

    from_recipe: str | None = Field(
        None, description="recipe whose batches are balanced again under --recipe (required)"
    )
    languages: int = Field(compare.LANGUAGES, ge=0, description="number of languages to print")
    json_: bool = Field(False, alias="json", description="print JSON instead of a table")


COMMAND = Command("python -m jobs.rebalance", __doc__ or "", RebalanceOptions, Config, required=("lake",))


def rebalance(argv: Sequence[str]) -> None:
    """Balance every batch of the old recipe under the new one, then print the differences."""
    options, config = COMMAND.parse(argv)
    context, old = Context(config, "rebalance"), options.from_recipe
    if not old or old == config.recipe:
        raise UsageError(
            f"--from_recipe: name the recipe to balance again, and another one in --recipe (see {COMMAND.prog} --help)"
        )
    batches = batches_of(context, old)
    last = counts_up_to(context) or last_counted(context)  # a killed run continues with the counts it started with
    section = config.balance.model_copy(update={"counts_up_to": last})
    log.info("rebalance: %s of %r with the counts up to %s", count(len(batches), "batch"), old, last)
    for batch in batches:
        one = config.model_copy(update={"batch": batch, "balance": section})
        run_job(balance.JOB, Context(one, "rebalance"))
    stats = compare.recipe_stats(context, (old, config.recipe), batches)
    sys.stdout.write(compare.format_comparison(stats, as_json=options.json_, languages=options.languages) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(rebalance, argv)


if __name__ == "__main__":
    sys.exit(main())
