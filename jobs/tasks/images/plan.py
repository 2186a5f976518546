"""What the stages `images` and `shards` have in common: their algorithm number and the buckets of a batch."""

from __future__ import annotations

from curation.lake.files import Snapshot
from jobs.runtime.context import Context
from jobs.runtime.partitions import require
from jobs.tasks.images.splits import Slice, plan_shards

# 6: files with texts, comments or other extras are encoded again
# 5: asynchronous requests, limits of answers; 4: opt-outs, unpacking
# 3: libjpeg reduces to one to two times the size, profiles; 2: X-Robots-Tag, formats, bounds
ALGORITHM = 6


def plan_buckets_of(context: Context) -> tuple[Snapshot, list[list[Slice]]]:
    """Return the curated pairs of the context's batch and their buckets."""
    partition = {"recipe": context.config.recipe, "batch": context.batch}
    curated = require(context.lake, "fetch_images", "jobs.balance", "curated", **partition)
    return curated, plan_shards(curated, context.config.images)
