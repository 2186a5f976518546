"""The batches whose shards are annotated."""

from __future__ import annotations

from curation.errors import InputError
from jobs.runtime.context import Context


def batches_with_shards(context: Context) -> list[str]:
    """Return the batch of the config, or those of the recipe that have shards, in the order of batches.

    Raises InputError if there are none.
    """
    lake, recipe = context.lake, context.config.recipe
    lake.require_recipe(recipe)
    if context.config.batch:
        return [context.config.batch]
    published = lake.snapshot("shards", {"recipe": recipe}).by("batch")
    if not published:
        raise InputError(f"{context.name}: no shards for recipe={recipe} in {lake.root}: run jobs.fetch_images first")
    return [batch for batch in lake.batches() if batch in published]
