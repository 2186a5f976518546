"""Compare recipes on the same matches: how many pairs each keeps, in which languages, and of head or tail entries.

Two statistics measure how evenly concepts are kept. The *tail share* is the share of the kept pairs' entry matches that
fall on rare entries. The definition of rare is the same for every recipe: an entry is rare if its count is below the
threshold at which the tail of its list has `RARE` of all matches, by the counts up to one batch. So a recipe that keeps
everything has a tail share of about `RARE`, and balancing raises it. The *entropy* is that of the distribution of kept
matches over entries, in bits; 2 to its power is the number of equally frequent entries with the same entropy.

A recipe with `balance.selection: all` publishes every matched image, and the trainer samples again in every epoch. Its
statistics are expectations over an epoch: each text of an image is chosen equally often, and its pair is kept with its
keep probability.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.counts import LanguageCounts
from curation.balance.text_table import format_table
from curation.balance.thresholds import p_to_t
from curation.language_keys import entry_list_key

RARE: Final = 0.06
COLUMNS: Final = {"drawn": ["lang", "entry_ids"], "all": ["texts"]}  # columns of `curated` to read, by selection

Sums = npt.NDArray[np.float64]  # exact for whole numbers up to 2^53


@dataclass(frozen=True)
class RecipeStats:
    """The statistics of one recipe. The field names are keys of the JSON that `jobs.compare` prints.

    Attributes:
        recipe: its name.
        selection: `drawn`; or `all`, for which all statistics are expectations over an epoch.
        matched: number of images with a matched text.
        kept: number of pairs kept.
        kept_by_lang: number of pairs kept, by the language of their text.
        thresholds: t by entry list, a language's or the merged one.
        matches: number of entry matches of the kept pairs.
        rare_by: the batch up to whose counts entries are rare.
        tail_share: share of these matches that fall on rare entries.
        entries: number of distinct entries among these matches.
        entropy: entropy of these matches over the entries, in bits.
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
        selection: `drawn` if `curated` contains the pairs drawn, `all` if it contains every matched image.
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
        """Add texts with their sorted, distinct ids, each with its weight."""
        encoded = langs.dictionary_encode()
        codes = encoded.indices.to_numpy()
        names = encoded.dictionary.to_pylist()
        self._by_lang.update(dict(zip(names, np.bincount(codes, weights, len(names)).tolist(), strict=True)))
        lengths = pc.list_value_length(entry_ids).to_numpy()
        owners, shares = np.repeat(codes, lengths), np.repeat(weights, lengths)
        ids = pc.list_flatten(entry_ids).to_numpy()
        for code, name in enumerate(names):
            in_lang = owners == code
            distinct, indices = np.unique(ids[in_lang], return_inverse=True)
            sums = self._sums_for(entry_list_key(name, self._lists), distinct)
            sums[distinct] += np.bincount(indices, shares[in_lang], len(distinct))

    def _sums_for(self, key: str, ids: npt.NDArray[np.int32]) -> Sums:
        """Return the sums of a list, enlarged to contain the sorted ids."""
        sums = self._sums.get(key, np.zeros(0))
        if len(ids) and ids[-1] >= len(sums):
            self._sums[key] = np.concatenate([sums, np.zeros(2 * int(ids[-1]) + 1 - len(sums))])
        return self._sums.setdefault(key, sums)

    def build(
        self,
        recipe: str,
        matched: int,
        thresholds: Mapping[str, int],
        rare_by: str,
        totals: Iterable[LanguageCounts],
    ) -> RecipeStats:
        """Return the statistics; `totals` are the counts up to the batch `rare_by`, which define rare entries."""
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


# The rows of the table above the languages: the name, and the cell of a recipe.
_ROWS: Final[Mapping[str, Callable[[RecipeStats], str]]] = {
    "recipe": lambda stats: stats.recipe,
    "drawn": lambda stats: "once" if stats.selection == "drawn" else "every epoch",
    "images matched": lambda stats: f"{stats.matched:,}",
    "pairs kept": lambda stats: f"{_number(stats, stats.kept)} ({_share(stats.kept, stats.matched)})",
    "entry matches kept": lambda stats: _number(stats, stats.matches),
    "  of rare entries": lambda stats: f"{stats.tail_share:.2%}",
    "  rare by counts to": lambda stats: stats.rare_by,
    "entries kept": lambda stats: f"{stats.entries:,}",
    "  entropy, bits": lambda stats: f"{stats.entropy:.3f}",
    "  as even as": lambda stats: f"{2**stats.entropy:,.0f}",
}


def comparison_table(recipes: Sequence[RecipeStats], max_languages: int) -> Iterator[str]:
    """Yield the lines of a table with one column per recipe.

    The `max_languages` languages with the most kept pairs have a row each; the others are added up in one row.
    """
    rows = [[name, *map(cell, recipes)] for name, cell in _ROWS.items()]
    return format_table([*rows, *_language_rows(recipes, max_languages)], right_align=True)


def _language_rows(recipes: Sequence[RecipeStats], max_languages: int) -> Iterator[list[str]]:
    kept: Counter[str] = Counter()
    for stats in recipes:
        kept.update(stats.kept_by_lang)
    ranked = sorted(kept, key=lambda lang: (-kept[lang], lang))
    for lang in ranked[:max_languages]:
        yield [lang, *(_language_cell(stats, lang) for stats in recipes)]
    if others := ranked[max_languages:]:
        sums = [sum(stats.kept_by_lang.get(lang, 0) for lang in others) for stats in recipes]
        yield [f"{len(others)} more", *map(_kept_cell, recipes, sums)]


def _language_cell(stats: RecipeStats, lang: str) -> str:
    t = stats.thresholds.get(entry_list_key(lang, stats.thresholds))
    return f"{_kept_cell(stats, stats.kept_by_lang.get(lang, 0))}, t {'-' if t is None else f'{t:,}'}"


def _kept_cell(stats: RecipeStats, count: float) -> str:
    """Format a number of kept pairs with its share of all kept pairs."""
    return f"{_number(stats, count)} ({_share(count, stats.kept)})"


def _number(stats: RecipeStats, value: float) -> str:
    """Format a number that follows from the kept pairs; `~` marks an expectation."""
    return f"{value:,}" if stats.selection == "drawn" else f"~{value:,.0f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "-"
