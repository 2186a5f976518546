"""Judge stored images by their scores, when only thresholds of the filters have changed since they were fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curation.images.filters.base import ImageFilter, ScoreFilter
from curation.images.rows import Row, failed_row


def without_thresholds(keys: Mapping[str, Any], filters: Sequence[ImageFilter]) -> dict[str, Any]:
    """Return the settings of a run of `images` without those that change no picture and no score.

    These are the thresholds of `filters`; the settings of each filter are in `filters` of the keys, by its name.
    """
    thresholds = {each.name: each.thresholds for each in filters if isinstance(each, ScoreFilter)}
    settings = {
        name: {key: value for key, value in of_filter.items() if key not in thresholds.get(name, ())}
        for name, of_filter in keys.get("filters", {}).items()
    }
    return {**keys, "filters": settings}


def judged(row: Row, filters: Sequence[ImageFilter]) -> Row:
    """Return the row of a stored image as if these filters, whose thresholds alone have changed, had seen it.

    All filters kept the image. The row has the scores up to the first filter that drops it now.
    """
    stored, scores = dict(row["scores"] or ()), {}
    for each in filters:
        if each.name not in stored:
            continue
        scores[each.name] = stored[each.name]
        verdict = each.verdict(scores[each.name]) if isinstance(each, ScoreFilter) else None
        if verdict and not verdict.keep:
            return {**failed_row(row["image_id"], verdict.reason or each.name), "scores": scores}
    return row
