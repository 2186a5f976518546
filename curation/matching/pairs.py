"""Turn pairs into matches: identify the language of each text, match it against that language's entries, and count.

This works on one record batch at a time. Equal texts of a batch are identified and matched once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.jit.compiler import jit
from curation.lake.schemas import MATCHED_TEXT, SCHEMAS
from curation.language_keys import MERGED, matched_lang
from curation.lid.identifier import LanguageIdentifier
from curation.matching.matcher import Matcher

EMPTY_IDS = pa.scalar([], pa.list_(pa.int32()))


class PairMatcher:
    """Turns batches of pairs into matches and adds up the counts per entry.

    Args:
        identifier: identifies the languages of texts.
        entries: number of entries per language. Texts of a language without a list are texts of `other`; without a list
            `other`, they match nothing. With merged metadata there is only one list, which every text is matched
            against and counted in.
        matcher: returns the matcher of a language that has entries.

    Attributes:
        texts: number of texts by language.
        matched: number of texts with a match, by language.
        without_list: number of texts by identified language, of languages without a list.
    """

    def __init__(
        self, identifier: LanguageIdentifier, entries: Mapping[str, int], matcher: Callable[[str], Matcher]
    ) -> None:
        self._identifier = identifier
        self._entries = entries
        self._matcher = matcher
        self._counts: dict[str, npt.NDArray[np.int32]] = {}
        self.texts: Counter[str] = Counter()
        self.matched: Counter[str] = Counter()
        self.without_list: Counter[str] = Counter()

    def match(self, pairs: pa.RecordBatch) -> pa.Table:
        """Return the images with at least one matched text, each with its matched texts only."""
        flat = pairs["texts"].flatten()
        encoded = flat.field("text").dictionary_encode()
        identified, scores = self._identifier.identify_column(encoded.dictionary)
        self._count_unlisted(identified.take(encoded.indices))
        lang_of = self._matched_langs(identified)
        ids_of = self._match_by_language(encoded.dictionary, self._lists(lang_of))

        lang = lang_of.take(encoded.indices)
        ids = ids_of.take(encoded.indices)
        score = scores.take(encoded.indices)
        hit = pc.greater(pc.list_value_length(ids), 0)
        self.texts.update(_tally(lang))
        self.matched.update(_tally(lang.filter(hit)))
        columns = [flat.field("source"), flat.field("text"), lang, score, ids]
        texts = pa.StructArray.from_arrays([column.filter(hit) for column in columns], fields=list(MATCHED_TEXT))
        self._count(self._lists(texts.field("lang")), texts.field("entry_ids"))
        return _regroup(pairs, texts, pc.list_parent_indices(pairs["texts"]).filter(hit))

    def counts(self) -> dict[str, pa.Table]:
        """Return the counts so far: for each language its matched entries and how many texts contain each."""
        tables = {}
        for lang, dense in self._counts.items():
            seen = np.flatnonzero(dense)
            columns = [
                pa.array([lang] * len(seen)),
                pa.array(seen, pa.int32()),
                pa.array(dense[seen], pa.int64()),
            ]
            tables[lang] = pa.Table.from_arrays(columns, schema=SCHEMAS["counts"])
        return tables

    def _count_unlisted(self, identified: pa.StringArray) -> None:
        if MERGED not in self._entries:
            tally = _tally(identified)
            self.without_list.update({key: texts for key, texts in tally.items() if key not in self._entries})

    def _matched_langs(self, identified: pa.StringArray) -> pa.StringArray:
        encoded = identified.dictionary_encode()
        keys = [matched_lang(key, self._entries) for key in encoded.dictionary.to_pylist()]
        return pa.array(keys, pa.string()).take(encoded.indices)

    def _lists(self, lang: pa.StringArray) -> pa.StringArray:
        return pa.repeat(MERGED, len(lang)) if MERGED in self._entries else lang

    def _match_by_language(self, texts: pa.StringArray, lang: pa.StringArray) -> pa.ListArray:
        """Return the sorted entry ids of each text; none in languages without entries."""
        groups, rows = [], []
        for key in sorted(set(lang.to_pylist())):
            members = np.flatnonzero(pc.equal(lang, key).to_numpy(zero_copy_only=False))
            chosen = texts.take(pa.array(members))
            if self._entries.get(key):
                groups.append(self._matcher(key).match_batch(chosen))
            else:
                groups.append(pa.repeat(EMPTY_IDS, len(chosen)))
            rows.append(members)
        if not groups:
            return pa.array([], EMPTY_IDS.type)
        original_order = np.argsort(np.concatenate(rows), kind="stable")
        return pa.concat_arrays(groups).take(pa.array(original_order))

    def _count(self, lang: pa.StringArray, ids: pa.ListArray) -> None:
        for key in pc.unique(lang).to_pylist():
            if key not in self._counts:
                self._counts[key] = np.zeros(self._entries[key], np.int32)  # untouched pages take no memory
            add_counts(self._counts[key], ids.filter(pc.equal(lang, key)).flatten().to_numpy())


@jit
def add_counts(counts: npt.NDArray[np.int32], ids: npt.NDArray[np.int32]) -> None:
    """Add 1 to the count of each id."""
    for entry_id in ids:
        counts[entry_id] += 1


def _regroup(pairs: pa.RecordBatch, texts: pa.StructArray, parents: pa.Array) -> pa.Table:
    """Put texts back under their images; images without texts are dropped."""
    edges = np.searchsorted(parents.to_numpy(), np.arange(pairs.num_rows + 1))
    lists = pa.ListArray.from_arrays(pa.array(edges, pa.int32()), texts)
    columns = [pairs[name] for name in SCHEMAS["matches"].names[:-1]]
    table = pa.Table.from_arrays([*columns, lists], schema=SCHEMAS["matches"])
    return table.filter(pa.array(np.diff(edges) > 0))


def _tally(values: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(values)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))
