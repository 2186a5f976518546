"""What a run of `images` knows of its filters: from the filters themselves, or from the run that stored the images.

A run without downloads applies no filter. It knows them from the published run, because their modules and models may be
gone by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.images.filters.load import filter_keys, load_filters
from jobs.runtime.context import Context
from jobs.runtime.runs import SETTINGS, find_run


@dataclass(frozen=True)
class KnownFilters:
    """The filters of a run.

    Attributes:
        keys: by name, what determines their verdicts, for the fingerprint.
        ranges: the score range of each that gives scores.
        read_texts: whether a verdict may depend on the text.
    """

    keys: Mapping[str, Any]
    ranges: Mapping[str, tuple[float, float]]
    read_texts: bool = False


def known_filters(context: Context, partition: Mapping[str, str]) -> KnownFilters:
    """Return the filters of the config, or without `fetch` those of the published run of a partition of `images`.

    Raises UsageError if a filter of the config cannot be used.
    """
    sections = context.config.images.filters
    if not context.fetch and (recorded := _recorded(context, partition)):
        return recorded
    filters = load_filters(sections)
    ranges = {each.name: each.score_range for each in filters}
    return KnownFilters(filter_keys(sections), ranges, any(each.reads_texts for each in filters))


def _recorded(context: Context, partition: Mapping[str, str]) -> KnownFilters | None:
    """Return the filters that the published run recorded; None if there is no run, or it recorded no settings."""
    run_ids = context.lake.snapshot("images", partition).run_ids
    row = find_run(context.lake, run_ids[0], "images") if run_ids else None
    settings = json.loads(row["inputs"]).get(SETTINGS) if row else None
    if row is None or settings is None:
        return None
    scores = json.loads(row["totals"]).get("scores", {})
    ranges = {name: (each["range"][0], each["range"][1]) for name, each in scores.items()}
    return KnownFilters(settings.get("filters", {}), ranges)
