"""The published runs of `images` whose pictures the next run may use: the one that it replaces, and others.

Of the one that is replaced, failures that may have passed are requested again, or those that `--retry_failed` names; if
it fetched less than half of its images, all of them. Others are those of other recipes and batches with the same
settings. They are asked for pictures only: an image that failed for another batch may be fetched by now. At most
`images.reuse_partitions` are read, so the cost of a night does not grow with the lake: first those of the same batch,
then the newest. An image is taken from the first that has it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from curation.errors import InputError
from curation.images import fetch
from curation.images.filters.apply import FAILED, is_reason_of
from curation.images.filters.base import ImageFilter
from curation.images.filters.load import load_filters
from curation.images.filters.stored import without_thresholds
from curation.lake.files import DataFile
from curation.lake.lake import Lake
from curation.lake.presence import file_problems
from jobs.runtime.context import Context
from jobs.runtime.freshness import made_with, recorded_inputs, recorded_settings
from jobs.runtime.runs import VERSIONS, digest, find_run
from jobs.tasks.images.reuse import FindRange, StoredImages
from jobs.tasks.images.splits import Slice, part_of, plan_fetches, plan_shards


def retried_reasons(context: Context) -> frozenset[str] | None:
    """Return the reasons whose images are requested again when the images are fetched; None for all."""
    return frozenset(context.retry_failed) if context.retry_failed else None


@dataclass(frozen=True)
class _Source:
    """A published run of `images`: its row and its files."""

    row: Mapping[str, Any]
    files: Sequence[DataFile]


def find_stored(
    context: Context,
    row: Mapping[str, Any] | None,
    keys: Mapping[str, Any],
    partition: Mapping[str, str],
    curated: str,
    *,
    reads_texts: bool,
) -> list[StoredImages]:
    """Return the images that published runs of `images` stored, if the next run may use them.

    Args:
        context: without `fetch`, every row of the run that is replaced may be used, failures too, because no image can
            be requested; `retry_failed` names the reasons of those that are requested again.
        row: the row of the run that is replaced.
        keys: the settings and the algorithm number of the next run; those of the other runs must be equal, except that
            filters with other thresholds judge the stored scores again.
        partition: the partition of `images`.
        curated: the run that wrote the curated pairs.
        reads_texts: whether an image may be used only if its text is the same.
    """
    sources: list[_Source] = []
    filters = load_filters(context.config.images.filters) if context.fetch else ()
    same_settings = row is None or _stored_alike(row, keys, filters)
    if row is not None and (same_settings or not context.fetch):
        sources.append(_Source(row, _present(context, context.lake.snapshot("images", partition).files)))
    # without `fetch`, no filter says if it reads texts, and no hash list is read that new images were not compared with
    if context.fetch or (same_settings and "filters" not in keys and not context.config.dedup.hash_lists):
        sources += islice(_others(context, keys, partition, filters), context.config.images.reuse_partitions)
    find_range = FindRange(context.storage, context.config.seed)
    ranges = iter(context.run_tasks("images: stored", [file for each in sources for file in each.files], find_range))
    pairs = _pairs_behind(context.lake, curated)
    stored = []
    for source in sources:
        forced = source.row is row and not context.fetch
        made_from = recorded_inputs(source.row)["curated"]
        is_same_batch = source.row["batch"] == partition["batch"]
        same_pairs = is_same_batch and [_pairs_behind(context.lake, run) for run in made_from] == [pairs] != [None]
        judge = not forced and not made_with(source.row, "images", keys)
        retried = _retried(context, source.row) if source.row is row else None
        known = forced or not reads_texts or made_from == [curated]
        stored.append(
            StoredImages(
                context.storage,
                context.config.seed,
                [(file.path, next(ranges)) for file in source.files],
                retried=frozenset() if forced else retried,
                references=forced or same_pairs,
                texts=None if known else _texts_of(context, source),
                judge=judge,
            )
        )
    return stored


def is_mostly_fetched(totals: Mapping[str, int], drops: Mapping[str, int], filters: Collection[str]) -> bool:
    """Return whether a run of `images` got at least half of its images; those that filters dropped count too."""
    filtered = sum(count for reason, count in drops.items() if is_reason_of(filters, reason))
    return totals["fetched"] + filtered >= totals["images"] / 2


def _retried(context: Context, row: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the reasons whose images the run after that of a row requests again; None for all."""
    if context.retry_failed is not None:
        return retried_reasons(context)
    filters = (recorded_settings(row) or {}).get("filters", {})
    mostly = is_mostly_fetched(json.loads(row["totals"]), json.loads(row["drops"]), filters)
    return fetch.PASSING | {FAILED} if mostly else None


def _stored_alike(row: Mapping[str, Any], keys: Mapping[str, Any], filters: Sequence[ImageFilter]) -> bool:
    """Return whether a run had the settings `keys` except for thresholds of the filters."""
    if made_with(row, "images", keys):
        return True
    settings = recorded_settings(row)
    alike = without_thresholds(settings, filters) if settings is not None and filters else None
    return alike is not None and digest(alike) == digest(without_thresholds(keys, filters))


def _texts_of(context: Context, source: _Source) -> dict[str, Sequence[Slice]]:
    """Return the curated rows that each file of a run with these settings was made from; none if they are unknown."""
    version = json.loads(source.row["inputs"]).get(VERSIONS, {}).get("curated")
    fetch_rows = json.loads(source.row["totals"]).get("fetch_rows")
    if version is None or not source.files:
        return {}
    try:
        curated = context.lake.snapshot("curated", source.files[0].partition, version)
    except InputError:  # the table no longer has this version
        return {}
    parts = plan_fetches(plan_shards(curated, context.config.images), fetch_rows)
    return {file.path: parts[part_of(file)][1] for file in source.files}


def _others(
    context: Context, keys: Mapping[str, Any], partition: Mapping[str, str], filters: Sequence[ImageFilter]
) -> Iterator[_Source]:
    """Yield the runs of other partitions that stored images alike, in the order of their use.

    Runs with another seed are left out: their files have other ranges of order hashes, so each part of the next run
    would have to read all of them.
    """
    files_of: dict[tuple[str, str, str], list[DataFile]] = {}  # by batch, run and recipe
    for file in context.lake.snapshot("images").files:
        if file.partition != partition:
            files_of.setdefault((file.partition["batch"], file.run_id, file.partition["recipe"]), []).append(file)
    rows = {row["run_id"]: row for row in _rows_of_images(context.lake)}
    recorded = [key for key in files_of if key[1] in rows]
    newest = sorted(recorded, key=lambda key: (rows[key[1]]["finished"], key[1]), reverse=True)
    for key in sorted(newest, key=lambda key: key[0] != partition["batch"]):
        row = rows[key[1]]
        if json.loads(row["config"]).get("seed") == context.config.seed and _stored_alike(row, keys, filters):
            yield _Source(row, _present(context, files_of[key]))


def _rows_of_images(lake: Lake) -> list[dict[str, Any]]:
    """Return the rows of the recorded runs of `images`."""
    rows: list[dict[str, Any]] = lake.rows("runs", {"stage": ["images"]}).to_pylist()
    return rows


def _present(context: Context, files: Sequence[DataFile]) -> list[DataFile]:
    """Return the files of a partition that have rows and are not lost."""
    lost = file_problems(context.storage, files)
    return [file for file in files if file.rows and file.path not in lost]


def _pairs_behind(lake: Lake, curated: str) -> str | None:
    """Return the run that wrote the pairs from which a run of balance made its curated pairs; None if unknown."""
    run_id: str | None = curated
    for table, source in (("curated", "matches"), ("matches", "pairs")):
        row = find_run(lake, run_id, table) if run_id else None
        run_id = next(iter(recorded_inputs(row).get(source, ())), None) if row else None
    return run_id
