"""Load image filters by their import path, `package.module:Name`, once per process."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from curation.cli.config import ImageFilterSection
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
    module_name, _, name = path.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # a module may raise anything
        raise UsageError(
            f"images.filters: {path} cannot be imported ({_line(error)}): give module:Name of a class on the Python "
            f"path of this machine and of the executors"
        ) from error
    try:
        made: ImageFilter = kind(**json.loads(parameters))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"images.filters: {path} refuses its parameters ({_line(error)}): correct them") from error
    if problem := _problem(made):
        raise UsageError(f"images.filters: {path} {problem}: see curation.images.filters.base")
    return made


def _problem(made: ImageFilter) -> str | None:
    """Return why an object cannot be used as a filter; None if it can."""
    missing = [key for key in ATTRIBUTES if not hasattr(made, key)]
    if missing or not callable(made):
        return f"is not an image filter (it has no {', '.join(missing) or '__call__'})"
    if not NAME.fullmatch(made.name):
        return f"has the name {made.name!r}, which is not a word of a-z, 0-9 and _"
    if made.name.startswith("http_") or any(f"{reason}_".startswith(f"{made.name}_") for reason in OTHER_REASONS):
        return f"has the name {made.name!r}, which is or begins a reason of failed images"
    low, high = made.score_range
    return None if low < high and math.isfinite(high - low) else f"has the score range {made.score_range}"


def model_digest(path: str, key: str) -> str:
    """Return the SHA-256 of a model: of the names and contents of its file, or of the files of its folder.

    Raises UsageError, which names the key of the configuration, if it cannot be read.
    """
    root, digest = Path(path), hashlib.sha256()
    try:
        files = sorted(file for file in root.rglob("*") if file.is_file()) if root.is_dir() else [root]
        for file in files:
            state = file.stat()
            name = file.relative_to(root.parent if root == file else root)
            digest.update(f"{name}\0{_file_digest(file, state.st_size, state.st_mtime_ns)}\0".encode())
    except OSError as error:
        raise UsageError(f"{key}: model {path} cannot be read ({error.strerror}): correct the path") from error
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(path: Path, _size: int, _modified: int) -> str:
    """Return the SHA-256 of a file; one with the same size and time has not changed since this process read it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
