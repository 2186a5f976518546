"""Counts of things in messages: `1 file`, `2 files`, `3 batches`."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number with a noun in singular or plural."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
