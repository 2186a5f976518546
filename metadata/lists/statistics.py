"""What became of a Wikipedia's sources: how many entries each gave its list, whether its cap was reached, examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from metadata.limits import Limits
from metadata.lists.merge import Entry

Origin = Literal["number", "wordnet", "unigram", "bigram", "title"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)
EXAMPLES = 3


def statistics(entries: Sequence[Entry], limits: Limits) -> dict[str, dict[str, Any]]:
    """Return, for each source that gave a list entries, their number, the cap, if it was reached, the first entries.

    `entries` is a source list: entries of one origin stand in the order in which they were added, the best first.
    """
    found: dict[str, list[str]] = {origin: [] for origin in ORIGINS}
    for entry in entries:
        found[entry.origin].append(entry.entry)
    caps = {
        "wordnet": limits.wordnet_cap,
        "unigram": limits.unigram_cap,
        "bigram": limits.bigram_room(len(found["unigram"])),
        "title": limits.title_cap,
    }
    return {
        origin: {
            "entries": len(names),
            "cap": (cap := caps.get(origin)),
            "reached": cap is not None and len(names) >= cap,
            "examples": names[:EXAMPLES],
        }
        for origin, names in found.items()
        if names
    }
