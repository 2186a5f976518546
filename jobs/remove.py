"""Remove a batch, a recipe, or a part of one from a lake; without `--yes` it only says what would be removed.

    python -m jobs.remove --config c.yaml --batch 2024-05-31                      a batch, in all recipes
    python -m jobs.remove --config c.yaml --recipe full                           a recipe, in all batches
    python -m jobs.remove --config c.yaml --batch 2024-05-31 --recipe full --yes  one batch of a recipe
    python -m jobs.remove --config c.yaml --recipe full --dataset may --yes       a compacted dataset of a recipe

The batch and the recipe must be given as flags: those of the config file do not count. Prints the tables with files,
rows and bytes, and every stage of other batches that becomes stale. The rows in `runs` and `ledger` stay, and the data
files stay until jobs.gc removes them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from pydantic import Field

from curation.cli.command import Command, CommandOptions
from curation.cli.run import run_command
from curation.errors import UsageError
from jobs import annotate, compact, count_tokens, nightly
from jobs.runtime.batches.removal import plan_removal, remove
from jobs.runtime.config import Config
from jobs.runtime.context import Context

log = logging.getLogger(__name__)


class RemoveOptions(CommandOptions):
    """Whether to remove or only to say what would be removed."""

    yes: bool = Field(False, description="remove; without it nothing is changed")
    dataset: str | None = Field(None, description="with --recipe: a compacted dataset, instead of the recipe")
    dry_run: bool = Field(False, description="only print what would be removed, as without --yes")


COMMAND = Command("python -m jobs.remove", __doc__ or "", RemoveOptions, Config, required=("lake",))


def selected(argv: Sequence[str], context: Context, dataset: str | None = None) -> dict[str, str]:
    """Return the batch, recipe and dataset that are given as flags.

    Raises UsageError if there is no batch or recipe or it does not exist, InputError if the dataset does not.
    """
    flags = {argument.partition("=")[0] for argument in argv}
    given = {key: str(getattr(context.config, key)) for key in ("batch", "recipe") if f"--{key}" in flags}
    if not given:
        raise UsageError(f"--batch, --recipe: give one of them, or both, as flags (see {COMMAND.prog} --help)")
    lake = context.lake
    for key, known in (("batch", lake.batches()), ("recipe", lake.recipes())):
        if key in given and given[key] not in known:
            raise UsageError(f"--{key}: {lake.root} has no {key} {given[key]!r}: it has {', '.join(known) or 'none'}")
    if dataset is None:
        return given
    if set(given) != {"recipe"}:
        raise UsageError("--dataset: give its recipe with --recipe, and no batch")
    lake.dataset(given["recipe"], dataset)
    return {**given, "dataset": dataset}


def remove_command(argv: Sequence[str]) -> None:
    """Write what goes, and what becomes stale, to stdout; remove it if `--yes` is given."""
    options, config = COMMAND.parse(argv)
    if options.yes and options.dry_run:
        raise UsageError("--yes, --dry_run: give only one of them")
    context = Context(config, "remove")
    kinds = [kind for step in (*nightly.STEPS, compact.JOB, annotate.JOB, count_tokens.JOB) for kind in step.stages]
    removal = plan_removal(context, kinds, selected(argv, context, options.dataset))
    sys.stdout.writelines(f"{line}\n" for line in removal.lines())
    if not options.yes:
        log.info("remove: nothing was changed: give --yes to remove it")
        return
    remove(context.lake, removal)
    log.info("remove: removed; python -m jobs.gc removes the data files after gc.retention_hours")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run_command(remove_command, argv)


if __name__ == "__main__":
    sys.exit(main())
