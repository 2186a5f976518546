"""Find the languages whose lists lack a source: words of a dump, titles by page views, lemmas of a wordnet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metadata.limits import Limits

MAX_NAMED = 20
# The sources of a list with the origins of its entries, and what a list without the source lacks.
SOURCES = {"dump": ("unigram", "bigram"), "page_views": ("title",), "wordnet": ("wordnet",)}
LACKS = {"dump": "words from a dump", "page_views": "titles from page views", "wordnet": "lemmas from a wordnet"}


def find_gaps(
    by_wikipedia: Mapping[str, Mapping[str, Any]],
    by_lang: Mapping[str, Mapping[str, int]],
    limits: Mapping[str, Limits],
) -> dict[str, list[str]]:
    """Return the Wikipedias without entries of each of `SOURCES`, and the keys whose lists have `numbers_only`.

    A source that the limits exclude by a cap of 0 is not missed.

    Args:
        by_wikipedia: the sources of each Wikipedia's list by origin.
        by_lang: the number of entries of each key by origin.
        limits: the limits of each Wikipedia.
    """
    gaps = {
        source: [
            code for code, found in by_wikipedia.items() if source in _used(limits[code]) and not found.keys() & origins
        ]
        for source, origins in SOURCES.items()
    }
    return gaps | {"numbers_only": [key for key, counts in by_lang.items() if not counts.keys() - {"number"}]}


def _used(limits: Limits) -> list[str]:
    caps = {"dump": limits.unigram_cap, "page_views": limits.title_cap, "wordnet": limits.wordnet_cap}
    return [source for source, cap in caps.items() if cap != 0]


def describe_gaps(
    gaps: Mapping[str, Sequence[str]], wikipedias: int, names: Mapping[str, str], max_named: int | None = MAX_NAMED
) -> Iterator[str]:
    """Yield a line for each source that languages lack, and one for lists of numbers only; `None` names all."""
    for source, lacking in LACKS.items():
        if codes := gaps[source]:
            yield f"no {lacking} for {len(codes)} of {wikipedias} languages: {_list_names(codes, names, max_named)}"
    if keys := gaps["numbers_only"]:
        yield f"only numbers in the lists of {_list_names(keys, names, max_named)}"


def _list_names(codes: Sequence[str], names: Mapping[str, str], most: int | None) -> str:
    listed = ", ".join(f"{names[code]} ({code})" if code in names else code for code in codes[:most])
    rest = len(codes) - len(codes[:most])
    return f"{listed} and {rest} more" if rest else listed
