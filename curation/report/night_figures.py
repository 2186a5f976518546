"""The figures of a night that are compared with other nights: shares, and the levels of balancing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Stage, numerator and denominator in its totals, and the name of the share.
SHARES = (
    ("ingest", "kept", "read", "kept share"),
    ("match", "images_matched", "images", "matched share"),
    ("balance", "curated", "images", "keep rate"),
    ("images", "fetched", "images", "fetched share"),
)
# Stage, texts or pairs by language in its totals, and the start of the name of a language's share of them.
SHARE_OF = "share of "
LANGUAGES = (("match", "texts_by_lang", f"{SHARE_OF}texts in"), ("balance", "curated_by_lang", f"{SHARE_OF}pairs in"))
LEVELS = ("t_en", "p")  # totals of balance that are not shares of the night


def figures(stage: str, totals: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a stage by name, from its totals; those without rows are left out."""
    found = {
        name: totals[part] / totals[whole]
        for of, part, whole, name in SHARES
        if of == stage and totals.get(whole) and part in totals
    }
    for of, key, name in LANGUAGES:
        counts = totals.get(key, {}) if of == stage else {}
        if whole := sum(counts.values()):
            found |= {f"{name} {lang}": count / whole for lang, count in counts.items()}
    return found | {key: totals[key] for key in LEVELS if stage == "balance" and totals.get(key) is not None}
