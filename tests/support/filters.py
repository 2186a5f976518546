"""Occurrences with given texts, and a way to apply filter steps to them."""

from __future__ import annotations

from curation.filters.base import apply
from curation.occurrence import Counters, Occurrence


def occurrences_with(texts, url="http://h/{}"):
    return [Occurrence(url.format(n), "http://p/", None, "alt", text) for n, text in enumerate(texts)]


def apply_steps(steps, occurrences):
    counters = Counters(read=len(occurrences))
    left = list(apply(iter(occurrences), steps, counters))
    counters.kept = len(left)
    counters.check()
    return [o.text for o in left], counters
