"""Statistics of a Wikipedia's sources: the number of entries each added, whether its cap was reached, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from metadata.limits import Limits
from metadata.lists.merge import Entry

Origin = Literal["number", "wordnet", "unigram", "bigram", "title"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
EXAMPLES = 3


class SourceStatistics(msgspec.Struct):
    """The number of entries that a source added, its cap, whether it was reached, and the first entries."""

    entries: int
    cap: int | None
    reached: bool
    examples: list[str]


def statistics(entries: Sequence[Entry], limits: Limits) -> dict[str, SourceStatistics]:
    """Return, by origin, the statistics of each source that added entries.

    `entries` is a source list, in which the entries of one origin are in the order of their rank.
    """
    names_by_origin: dict[str, list[str]] = {origin: [] for origin in ORIGINS}
    for entry in entries:
        names_by_origin[entry.origin].append(entry.entry)
    caps = {
        "wordnet": limits.wordnet_cap,
        "unigram": limits.unigram_cap,
        "bigram": limits.max_bigrams(len(names_by_origin["unigram"])),
        "title": limits.title_cap,
    }
    return {
        origin: SourceStatistics(
            len(names),
            cap := caps.get(origin),
            cap is not None and len(names) >= cap,
            names[:EXAMPLES],
        )
        for origin, names in names_by_origin.items()
        if names
    }
