"""Compute the threshold of each language from its counts, and the keep probabilities that follow from it.

With c the counts of one language (how many texts contain each entry) and t its threshold, an entry is in the tail
when c < t. One tail share p for all languages makes their tails hold the same share of their matches:

    p = Σ c_en[c_en < t_en] / Σ c_en            the tail's share of the English matches
    t = s[argmin_k |F_k - p|]                   s = c sorted ascending, F = cumsum(s) / Σ s, first minimum
    q = t / max(c, t)                           the entry's probability
    keep = 1 - Π (1 - q) over a text's entries  the text's keep probability

(Meta CLIP 2, arXiv 2507.22062, section 3; Meta CLIP, arXiv 2309.16671, section 3.) The minimum is found in exact
arithmetic. Entries without a match (count 0) are ignored, so t is at least 1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.errors import UsageError
from curation.lake.schemas import SCHEMAS
from curation.language_keys import entry_list_key

ALGORITHM: Final = 1  # part of fingerprints: raise it whenever thresholds or draws change
POLICIES: Final = ("tail_proportion", "fixed", "none")

log = logging.getLogger(__name__)

Counts = npt.NDArray[np.int64]


def t_to_p(counts: Sequence[int] | Counts, t: int) -> Fraction:
    """Return the exact share of the matches that fall on entries with counts below t; ValueError without counts."""
    seen = _seen(counts)
    return Fraction(int(seen[seen < t].sum()), int(seen.sum()))


def p_to_t(counts: Sequence[int] | Counts, p: Fraction | float) -> int:
    """Return the count at which the cumulative share of the ascending counts is nearest to p.

    The value of p is exact: a float is a binary fraction. Cumulative counts of matched entries increase strictly, so
    the one nearest to p·Σc is the first that is not below it, or the one before; if both are equally near, the one
    before is taken. ValueError without counts.
    """
    ascending = np.sort(_seen(counts))
    cumulated = np.cumsum(ascending)
    target = Fraction(p) * int(cumulated[-1])
    above = int(np.searchsorted(cumulated, -(-target.numerator // target.denominator)))
    above = min(above, len(ascending) - 1)
    below = max(above - 1, 0)
    nearer_below = abs(int(cumulated[below]) - target) <= abs(int(cumulated[above]) - target)
    return int(ascending[below if nearer_below else above])


def _seen(counts: Sequence[int] | Counts) -> Counts:
    array = np.asarray(counts, np.int64)
    seen = array[array > 0]
    if not len(seen):
        raise ValueError("no entry was matched, so no threshold can be computed")
    return seen


def entry_probability(count: int, t: int) -> float:
    """Return q = t / max(count, t): 1 in the tail, falling as 1/count in the head."""
    return t / max(count, t)


def keep_probability(probabilities: Sequence[float]) -> float:
    """Return 1 - Π(1 - q), multiplied left to right in float64; 0 for a text without entries."""
    product = 1.0
    for q in probabilities:
        product *= 1.0 - q
    return 1.0 - product


def thresholds(
    seen: Mapping[str, Counts],
    policy: str = "tail_proportion",
    *,
    tail_share: float | None = None,
    t_en: int | None = None,
    p: float | None = None,
) -> pa.Table:
    """Return the `thresholds` table, one row per language, from the counts of its matched entries (all at least 1).

    Exactly one of three parameters is given:

    - `tail_share`: p, as the tail share of English; requires English counts.
    - `t_en`: the threshold of English. The other languages use the exact p that follows from it.
    - `p`: p, with or without English counts.

    The t of every language, including English unless `t_en` is given, is the nearest to p. Merged metadata counts as
    one language here, and as English.

    Policies: `tail_proportion` as above; `fixed`, the English t for every language (column p: the resulting tail share
    of that language); `none`, t = the largest count, so that every matched pair is kept (p = 1). Raises UsageError on
    an unknown policy, on any other number of parameters, on values out of range and on missing English counts.
    """
    if policy not in POLICIES:
        raise UsageError(f"balance.policy: unknown policy {policy!r}, use one of: {', '.join(POLICIES)}")
    if policy == "none":
        return _table(seen, {lang: int(counts.max()) for lang, counts in seen.items()}, Fraction(1))
    parameter, value = _given_parameter(tail_share=tail_share, t_en=t_en, p=p)
    if policy == "fixed":
        t = int(value) if parameter == "t_en" else p_to_t(_english(seen), value)
        return _table(seen, dict.fromkeys(seen, t))
    share = _share(seen, parameter, value)
    _warn_about_extremes(share)
    by_lang = {lang: p_to_t(counts, share) for lang, counts in seen.items()}
    if parameter == "t_en":
        by_lang[entry_list_key("en", seen)] = int(value)
    return _table(seen, by_lang, share)


def _given_parameter(**parameters: float | None) -> tuple[str, float]:
    """Return the only parameter that is set, and its value; UsageError if there is not exactly one, in range."""
    given = [(parameter, value) for parameter, value in parameters.items() if value is not None]
    if len(given) != 1:
        names = " and ".join(f"balance.{parameter}" for parameter, _ in given) or "none"
        raise UsageError(f"balance: give exactly one of tail_share, t_en and p (given: {names})")
    parameter, value = given[0]
    if parameter == "t_en" and (value < 1 or value != int(value)):
        raise UsageError(f"balance.t_en: {value} is not a count of at least 1")
    if parameter != "t_en" and not 0 <= value <= 1:
        raise UsageError(f"balance.{parameter}: {value} is not a share between 0 and 1")
    return parameter, value


def _share(seen: Mapping[str, Counts], parameter: str, value: float) -> Fraction:
    """Return the exact p. Only the parameter `p` does not require English counts."""
    if parameter == "p":
        return Fraction(value)
    english = _english(seen)
    return t_to_p(english, int(value)) if parameter == "t_en" else Fraction(value)


def _english(seen: Mapping[str, Counts]) -> Counts:
    key = entry_list_key("en", seen)
    if key not in seen:
        raise UsageError(
            "balance: no English matches to compute the tail share from: "
            "set balance.p, or balance.t_en with the policy fixed"
        )
    return seen[key]


def _warn_about_extremes(share: Fraction) -> None:
    if share == 1:
        log.warning("tail share p = 1: every matched pair is kept, nothing is balanced")
    elif share > Fraction(1, 2):
        log.warning("tail share p = %.4f: more than half of all matches count as tail", share)
    elif share == 0:
        log.warning("tail share p = 0: t is the smallest count of each language, so very few head matches are kept")


def _table(seen: Mapping[str, Counts], by_lang: dict[str, int], share: Fraction | None = None) -> pa.Table:
    """Return thresholds as a table; without a share, the column p is the tail share that results from t."""
    rows = [
        {
            "lang": lang,
            "t": by_lang[lang],
            "p": float(t_to_p(counts, by_lang[lang]) if share is None else share),
            "matches": int(counts.sum()),
            "entries_seen": len(counts),
        }
        for lang, counts in sorted(seen.items())
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["thresholds"])
