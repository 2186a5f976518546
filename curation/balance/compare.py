"""What recipes make of the same matches, side by side: how much is kept, of which languages, of head or tail.

Two figures say how evenly concepts are kept. The *tail share* is the share of the kept pairs' entry matches that go to
rare entries. Rare is the same for every recipe: the entries below the threshold at which their list's tail holds
`RARE` of all its matches, by the counts up to one and the same batch. So keeping everything gives about `RARE`, and
balancing more. The *entropy* is that of the kept matches over the entries, in bits: as even would be 2 to its power
equally frequent entries.

A recipe of `balance.selection: all` publishes every matched image, and the trainer draws at every epoch. Its figures
are the expected ones of an epoch: one text of each image, all equally often, and its pair as often as its keep
probability says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.counts import LanguageCounts
from curation.balance.thresholds import p_to_t
from curation.language_keys import entry_list_key

RARE: Final = 0.06
COLUMNS: Final = {"drawn": ["lang", "entry_ids"], "all": ["texts"]}  # of `curated`, what a selection's figures need

Sums = npt.NDArray[np.float64]  # of whole numbers exact to 2^53


@dataclass(frozen=True)
class RecipeStats:
    """What one recipe keeps.

    Attributes:
        recipe: its name.
        selection: `drawn`, or `all`: then what is kept is what an epoch of online drawing is expected to draw.
        matched: images with a matched text.
        kept: pairs kept.
        kept_by_lang: pairs kept, by the language of their text.
        thresholds: t by list, a language's or the merged one.
        matches: entry matches of the kept pairs.
        rare_by: the batch up to which counts say which entries are rare.
        tail_share: the share of the kept matches that goes to rare entries.
        entries: how many entries have any of them.
        entropy: of them over the entries, in bits.
    """

    recipe: str
    selection: str
    matched: int
    kept: float
    kept_by_lang: Mapping[str, float]
    thresholds: Mapping[str, int]
    matches: float
    rare_by: str
    tail_share: float
    entries: int
    entropy: float


class RecipeStatsBuilder:
    """Adds up kept pairs, by language and by entry.

    Args:
        lists: the lists that have entries: languages, or the merged one.
        selection: the recipe's, which says whether `curated` holds the draw or all there is to draw from.
    """

    def __init__(self, lists: Iterable[str], selection: str = "drawn") -> None:
        self._lists = frozenset(lists)
        self._selection = selection
        self._sums: dict[str, Sums] = {}
        self._by_lang: Counter[str] = Counter()

    def add(self, curated: pa.RecordBatch) -> None:
        """Add rows with the selection's `COLUMNS` of `curated`."""
        if self._selection == "drawn":
            self._add(curated["lang"], curated["entry_ids"], np.ones(curated.num_rows))
            return
        texts = pc.list_flatten(curated["texts"])
        lengths = pc.list_value_length(curated["texts"]).to_numpy()
        langs, ids, keep = (texts.field(name) for name in ("lang", "entry_ids", "keep_probability"))
        self._add(langs, ids, keep.to_numpy() / np.repeat(lengths, lengths))

    def _add(self, langs: pa.StringArray, entry_ids: pa.ListArray, weights: Sums) -> None:
        """Add texts with their sorted, distinct ids, each as often as its weight says."""
        encoded = langs.dictionary_encode()
        codes = encoded.indices.to_numpy()
        names = encoded.dictionary.to_pylist()
        self._by_lang.update(dict(zip(names, np.bincount(codes, weights, len(names)).tolist(), strict=True)))
        lengths = pc.list_value_length(entry_ids).to_numpy()
        owners, shares = np.repeat(codes, lengths), np.repeat(weights, lengths)
        ids = pc.list_flatten(entry_ids).to_numpy()
        for code, name in enumerate(names):
            own = owners == code
            found, places = np.unique(ids[own], return_inverse=True)
            self._room(entry_list_key(name, self._lists), found)[found] += np.bincount(places, shares[own], len(found))

    def _room(self, key: str, ids: npt.NDArray[np.int32]) -> Sums:
        sums = self._sums.get(key, np.zeros(0))
        if len(ids) and ids[-1] >= len(sums):
            self._sums[key] = np.concatenate([sums, np.zeros(2 * int(ids[-1]) + 1 - len(sums))])
        return self._sums.setdefault(key, sums)

    def effect(
        self,
        recipe: str,
        matched: int,
        thresholds: Mapping[str, int],
        rare_by: str,
        totals: Iterable[LanguageCounts],
    ) -> RecipeStats:
        """Return the figures; `totals` are the counts up to the batch `rare_by`, by which an entry is rare."""
        number = int if self._selection == "drawn" else float
        kept = np.concatenate([np.zeros(0), *(sums[sums > 0] for sums in self._sums.values())])
        matches = kept.sum()
        shares = kept / matches if matches else kept
        return RecipeStats(
            recipe=recipe,
            selection=self._selection,
            matched=matched,
            kept=number(self._by_lang.total()),
            kept_by_lang={lang: number(count) for lang, count in self._by_lang.most_common()},
            thresholds=dict(thresholds),
            matches=number(matches),
            rare_by=rare_by,
            tail_share=sum(map(self._rare, totals)) / matches if matches else 0.0,
            entries=len(kept),
            entropy=float(-(shares * np.log2(shares)).sum()),
        )

    def _rare(self, total: LanguageCounts) -> float:
        """Return the kept matches of a list's rare entries."""
        ids = total.entry_ids[total.counts < p_to_t(total.counts, RARE)]
        sums = self._sums.get(total.lang, np.zeros(0))
        return float(sums[ids[ids < len(sums)]].sum())


def lines(effects: Sequence[RecipeStats], most: int) -> Iterator[str]:
    """Yield a table to read, a column a recipe; of the languages, the `most` of which most is kept, then the rest."""
    rows = [["recipe", *(effect.recipe for effect in effects)]]

    def row(name: str, *cells: str) -> None:
        rows.append([name, *cells])

    row("drawn", *("once" if e.selection == "drawn" else "every epoch" for e in effects))
    row("images matched", *(f"{e.matched:,}" for e in effects))
    row("pairs kept", *(f"{_number(e, e.kept)} ({_share(e.kept, e.matched)})" for e in effects))
    row("entry matches kept", *(_number(e, e.matches) for e in effects))
    row("  of rare entries", *(f"{e.tail_share:.2%}" for e in effects))
    row("  rare by counts to", *(e.rare_by for e in effects))
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
        cells = (f"{_number(effect, total)} ({_share(total, effect.kept)})" for total, effect in pairs)
        row(f"{len(rest)} more", *cells)
    widths = [max(len(cells[place]) for cells in rows) for place in range(len(rows[0]))]
    for first, *others in rows:
        padded = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded])


def _language(effect: RecipeStats, lang: str) -> str:
    count = effect.kept_by_lang.get(lang, 0)
    t = effect.thresholds.get(entry_list_key(lang, effect.thresholds))
    return f"{_number(effect, count)} ({_share(count, effect.kept)}), t {'-' if t is None else f'{t:,}'}"


def _number(effect: RecipeStats, value: float) -> str:
    """Write a number of the kept; one that is only expected as such."""
    return f"{value:,}" if effect.selection == "drawn" else f"~{value:,.0f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"
