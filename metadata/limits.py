"""Floors, shares and caps of a language's entries, with their published values.

Sources: Meta CLIP (arXiv 2309.16671, section 3.1, table 1) for English, Meta CLIP 2 (arXiv 2507.22062, section 3.2) for
all others. A cap counts newly added entries only; a cap of 0 adds none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal

from curation.errors import UsageError

BigramScore = Literal["rescored", "pmi"]


@dataclass(frozen=True)
class Limits:
    """The limits of each source; the defaults apply to every language except English.

    Shares are shares of the distinct unigrams and titles. `bigram_share` is a share of the unigrams that the list added
    and limits re-scored bigrams only. `bigram_min_pmi` limits bigrams scored by plain PMI only; except in English, a
    PMI of exactly 30 is excluded.
    """

    wordnet_cap: int | None = None
    unigram_min_count: int = 0
    unigram_share: float = 0.10
    unigram_cap: int = 251_465
    bigram_score: BigramScore = "rescored"
    bigram_min_pmi: float = math.nextafter(30.0, math.inf)
    bigram_share: float | None = 0.40
    bigram_cap: int = 100_646
    title_min_views: int = 0
    title_share: float = 0.76
    title_cap: int = 61_235

    def max_bigrams(self, unigrams: int) -> int:
        """Return the maximum number of bigrams to add, given the number of added unigrams."""
        if self.bigram_score == "pmi" or self.bigram_share is None:
            return self.bigram_cap
        return min(self.bigram_cap, share_of(self.bigram_share, unigrams))


ENGLISH = Limits(
    unigram_min_count=100,
    unigram_share=1.0,
    bigram_min_pmi=30.0,
    bigram_share=None,
    title_min_views=70,
    title_share=1.0,
)


def resolve_limits(
    code: str,
    key: str,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    score: BigramScore = "rescored",
) -> Limits:
    """Return the limits of one Wikipedia, whose entries are in the list `key`.

    `overrides` has limits per language: those of the Wikipedia override those of the key, which override those of
    `default`. Raises UsageError for a limit that does not exist.
    """
    limits = replace(ENGLISH if code == "en" else Limits(), bigram_score=score)
    known = {field.name for field in fields(Limits)}
    for name in dict.fromkeys(("default", key, code)):
        values = dict((overrides or {}).get(name, {}))
        if unknown := sorted(set(values) - known):
            raise UsageError(f"metadata.limits.{name}.{unknown[0]}: no such limit; known: {', '.join(sorted(known))}")
        limits = replace(limits, **values)
    return limits


def share_of(share: float, number: int) -> int:
    """Return floor(share · number), computed with the share as a decimal number, so that it is not rounded."""
    return math.floor(Fraction(str(share)) * number)
