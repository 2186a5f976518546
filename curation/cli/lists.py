"""Lists of names in one argument or field, separated by commas."""

from __future__ import annotations


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas, without white space around them and without empty ones."""
    return tuple(name for part in text.split(",") if (name := part.strip()))
