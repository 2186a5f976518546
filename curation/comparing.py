"""What recipes make of the same matches, side by side: how much is kept, of which languages, of head or tail.

Two figures say how evenly concepts are kept. The *tail share* is the share of the kept pairs' entry matches that go to
rare entries. Rare is the same for every recipe: the entries below the threshold at which their list's tail holds
`RARE` of all its matches. So keeping everything gives about `RARE`, and balancing more. The *entropy* is that of the
kept matches over the entries, in bits: as even would be 2 to its power equally frequent entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balancing import p_to_t
from curation.counts import LanguageCounts
from curation.isolation import list_of

RARE = 0.06

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Effect:
    """What one recipe keeps.

    Attributes:
        recipe: its name.
        matched: images with a matched text.
        kept: pairs kept.
        kept_by_lang: pairs kept, by the language of their text.
        thresholds: t by list, a language's or the merged one.
        matches: entry matches of the kept pairs.
        tail_share: the share of them that goes to rare entries.
        entries: how many entries they touch.
        entropy: of them over the entries, in bits.
    """

    recipe: str
    matched: int
    kept: int
    kept_by_lang: Mapping[str, int]
    thresholds: Mapping[str, int]
    matches: int
    tail_share: float
    entries: int
    entropy: float


class KeptPairs:
    """Adds up kept pairs, by language and by entry.

    Args:
        lists: the lists that have entries: languages, or the merged one.
    """

    def __init__(self, lists: Iterable[str]) -> None:
        self._lists = frozenset(lists)
        self._counts: dict[str, Integers] = {}
        self.by_lang: Counter[str] = Counter()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows with `lang` and sorted, distinct `entry_ids`."""
        langs = batch["lang"].dictionary_encode()
        codes = langs.indices.to_numpy()
        names = langs.dictionary.to_pylist()
        self.by_lang.update(dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True)))
        owners = np.repeat(codes, pc.list_value_length(batch["entry_ids"]).to_numpy())
        ids = pc.list_flatten(batch["entry_ids"]).to_numpy()
        for code, name in enumerate(names):
            found, counts = np.unique(ids[owners == code], return_counts=True)
            self._room(list_of(name, self._lists), found)[found] += counts

    def _room(self, key: str, ids: npt.NDArray[np.int32]) -> Integers:
        counts = self._counts.get(key, np.zeros(0, np.int64))
        if len(ids) and ids[-1] >= len(counts):
            self._counts[key] = np.concatenate([counts, np.zeros(2 * int(ids[-1]) + 1 - len(counts), np.int64)])
        return self._counts.setdefault(key, counts)

    def effect(
        self, recipe: str, matched: int, thresholds: Mapping[str, int], totals: Iterable[LanguageCounts]
    ) -> Effect:
        """Return the figures; `totals` are the counts of all matches, by which an entry is rare."""
        kept = [counts[counts > 0] for counts in self._counts.values()]
        shares = np.concatenate([np.zeros(0, np.int64), *kept])
        matches = int(shares.sum())
        shares = shares / max(matches, 1)
        return Effect(
            recipe=recipe,
            matched=matched,
            kept=self.by_lang.total(),
            kept_by_lang=dict(self.by_lang.most_common()),
            thresholds=dict(thresholds),
            matches=matches,
            tail_share=sum(map(self._rare, totals)) / max(matches, 1),
            entries=len(shares),
            entropy=float(-(shares * np.log2(shares)).sum()),
        )

    def _rare(self, total: LanguageCounts) -> int:
        """Return the kept matches of a list's rare entries."""
        ids = total.entry_ids[total.counts < p_to_t(total.counts, RARE)]
        counts = self._counts.get(total.lang, np.zeros(0, np.int64))
        return int(counts[ids[ids < len(counts)]].sum())


def lines(effects: Sequence[Effect], most: int) -> Iterator[str]:
    """Yield a table to read, a column a recipe; of the languages, the `most` of which most is kept, then the rest."""
    rows = [["recipe", *(effect.recipe for effect in effects)]]

    def row(name: str, *cells: str) -> None:
        rows.append([name, *cells])

    row("images matched", *(f"{e.matched:,}" for e in effects))
    row("pairs kept", *(f"{e.kept:,} ({_share(e.kept, e.matched)})" for e in effects))
    row("entry matches kept", *(f"{e.matches:,}" for e in effects))
    row("  of rare entries", *(f"{e.tail_share:.2%}" for e in effects))
    row("entries kept", *(f"{e.entries:,}" for e in effects))
    row("  entropy, bits", *(f"{e.entropy:.3f}" for e in effects))
    row("  as even as", *(f"{2**e.entropy:,.0f}" for e in effects))
    kept: Counter[str] = Counter()
    for effect in effects:
        kept.update(effect.kept_by_lang)
    ranked = sorted(kept, key=lambda lang: (-kept[lang], lang))
    for lang in ranked[:most]:
        row(lang, *(_language(effect, lang) for effect in effects))
    if rest := ranked[most:]:
        sums = (sum(effect.kept_by_lang.get(lang, 0) for lang in rest) for effect in effects)
        pairs = zip(sums, effects, strict=True)
        row(f"{len(rest)} more", *(f"{total:,} ({_share(total, effect.kept)})" for total, effect in pairs))
    widths = [max(len(cells[place]) for cells in rows) for place in range(len(rows[0]))]
    for first, *cells in rows:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded])


def _language(effect: Effect, lang: str) -> str:
    count = effect.kept_by_lang.get(lang, 0)
    t = effect.thresholds.get(list_of(lang, effect.thresholds))
    return f"{count:,} ({_share(count, effect.kept)}), t {'-' if t is None else f'{t:,}'}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
