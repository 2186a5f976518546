"""The reference engine: a matcher that is one Aho-Corasick automaton, pyahocorasick's, over entry forms.

It finds what `matching.Matcher` finds, by means so plain that tests and benchmarks hold the compiled engine against
it. Jobs do not use it: it works on one Python string a text and takes 200 bytes an entry in every process.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import ahocorasick
import pyarrow as pa

from curation.matching.char_classes import in_katakana_run, is_combining
from curation.matching.matcher_file import is_short_katakana
from curation.matching.rules import check_rules, entry_form, text_form


class AutomatonMatcher:
    """The entries of one language; entry ids are positions in the entry list.

    Args:
        entries: the entries.
        rules: the rule set; UsageError when it is unknown.
    """

    def __init__(self, entries: Sequence[str], rules: str) -> None:
        check_rules(rules)
        self.rules = rules
        self._entries = len(entries)
        self._automaton: Any = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        self._open_right = bytearray(len(entries))
        self._katakana: dict[int, int] = {}  # short Katakana entry → length of its form
        self._twins: dict[int, list[int]] = {}  # stored id of a form that several entries share → all their ids
        self._compile([entry_form(entry, rules) for entry in entries])

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._entries

    def _compile(self, forms: list[str]) -> None:
        shared = set()
        for entry_id, form in enumerate(forms):
            # An empty form belongs to an entry of which nothing visible is left: it matches nothing.
            if form and not self._automaton.add_word(form, entry_id):
                shared.add(form)
            if self.rules == "worldwide" and form and form[-1] != " ":
                self._open_right[entry_id] = 1
                if is_short_katakana(form):
                    self._katakana[entry_id] = len(form)
        self._automaton.make_automaton()
        if shared:
            for entry_id, form in enumerate(forms):
                if form in shared:
                    self._twins.setdefault(self._automaton.get(form), []).append(entry_id)

    def match(self, text: str) -> list[int]:
        """Return the sorted ids of all entries that match the text, each once."""
        if not len(self._automaton):
            return []
        form = text_form(text, self.rules)
        hits: set[int] = set()
        for end, entry_id in self._automaton.iter(form):
            if entry_id not in hits and (not self._open_right[entry_id] or self._lies_well(form, end, entry_id)):
                hits.add(entry_id)
        if self._twins:
            hits.update(twin for entry_id in tuple(hits) for twin in self._twins.get(entry_id, ()))
        return sorted(hits)

    def _lies_well(self, form: str, end: int, entry_id: int) -> bool:
        """Judge an occurrence ending at `form[end]`, of an entry open on the right: a character follows it."""
        if is_combining(form[end + 1]):
            return False
        length = self._katakana.get(entry_id)
        if length is None:
            return True
        before = end - length
        while is_combining(form[before]):
            before -= 1
        return not in_katakana_run(form[before]) and not in_katakana_run(form[end + 1])

    def match_batch(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """Match an array of strings: one list<int32> of sorted entry ids a text, empty for a null."""
        values, ends = array("i"), array("i", [0])
        for text in texts.to_pylist():
            if text:
                values.extend(self.match(text))
            ends.append(len(values))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, pa.int32()))
