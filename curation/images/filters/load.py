"""Load image filters by their import path, `package.module:Name`, once per process."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from curation.cli.config import ImageFilterSection
from curation.cli.plugins import load_plugin, missing_parts, model_digest
from curation.errors import UsageError
from curation.images import decode, fetch
from curation.images.filters.apply import FAILED
from curation.images.filters.base import ImageFilter

ATTRIBUTES: Final = ("name", "version", "score_range", "reads_texts")
NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
# of images that no filter drops; runs count `ok` and `tombstone` beside them
OTHER_REASONS: Final = fetch.REASONS | decode.REASONS | {FAILED, "http_404", "ok", "tombstone"}


def load_filters(sections: Sequence[ImageFilterSection]) -> tuple[ImageFilter, ...]:
    """Return the filters of the configuration, in order; those that this process has loaded are used again.

    Raises UsageError if one cannot be imported, refuses its parameters or is not a filter, or if one claims the reasons
    of another.
    """
    filters = tuple(_load(section.filter, json.dumps(section.parameters, sort_keys=True)) for section in sections)
    names = [each.name for each in filters]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"images.filters: two filters are named {repeated}: remove one, or give it another name")
    for name in names:
        if other := next((other for other in names if other.startswith(f"{name}_")), None):
            raise UsageError(
                f"images.filters: the reasons of the filter {other} start like those of {name}: give one another name"
            )
    return filters


def filter_keys(sections: Sequence[ImageFilterSection]) -> dict[str, dict[str, Any]]:
    """Return by name everything that determines the verdicts of the filters, for fingerprints.

    A model counts by its content.
    """
    keys = {}
    for position, (section, each) in enumerate(zip(sections, load_filters(sections), strict=True)):
        keys[each.name] = {**section.model_dump(exclude={"model"}), "position": position, "version": each.version}
        if section.model:
            keys[each.name]["model_sha256"] = model_digest(section.model, "images.filters")
    return keys


@lru_cache(maxsize=16)
def _load(path: str, parameters: str) -> ImageFilter:
    made: ImageFilter = load_plugin(path, json.loads(parameters), "images.filters")
    if problem := _problem(made):
        raise UsageError(f"images.filters: {path} {problem}: see curation.images.filters.base")
    return made


def _problem(made: ImageFilter) -> str | None:
    """Return why an object cannot be used as a filter; None if it can."""
    if missing := missing_parts(made, ATTRIBUTES):
        return f"is not an image filter (it has no {missing})"
    if not NAME.fullmatch(made.name):
        return f"has the name {made.name!r}, which is not a word of a-z, 0-9 and _"
    if made.name.startswith("http_") or any(f"{reason}_".startswith(f"{made.name}_") for reason in OTHER_REASONS):
        return f"has the name {made.name!r}, which is or begins a reason of failed images"
    low, high = made.score_range
    return None if low < high and math.isfinite(high - low) else f"has the score range {made.score_range}"
