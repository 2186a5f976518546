"""A matcher built on the Aho-Corasick automaton of pyahocorasick, for tests and benchmarks.

It returns the same matches as `matcher.Matcher` and is simple enough to serve as the reference that the compiled engine
is compared with. Jobs do not use it: it works on one Python string per text and takes 200 bytes per entry in every
process.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import ahocorasick
import pyarrow as pa

from curation.matching.char_classes import in_katakana_run, is_combining
from curation.matching.matcher_file import is_short_katakana
from curation.matching.rules import check_rules, normalize_entry, normalize_text


class AhoCorasickMatcher:
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
        self._katakana: dict[int, int] = {}  # id of a short Katakana entry → length of the normalized entry
        self._duplicates: dict[int, list[int]] = {}  # stored id of entries that are normalized alike → their ids
        self._compile([normalize_entry(entry, rules) for entry in entries])

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._entries

    def _compile(self, entries: list[str]) -> None:
        shared = set()
        for entry_id, entry in enumerate(entries):
            # An entry without visible characters is normalized to "" and matches nothing.
            if entry and not self._automaton.add_word(entry, entry_id):
                shared.add(entry)
            if self.rules == "worldwide" and entry and entry[-1] != " ":
                self._open_right[entry_id] = 1
                if is_short_katakana(entry):
                    self._katakana[entry_id] = len(entry)
        self._automaton.make_automaton()
        if shared:
            for entry_id, entry in enumerate(entries):
                if entry in shared:
                    self._duplicates.setdefault(self._automaton.get(entry), []).append(entry_id)

    def match(self, text: str) -> list[int]:
        """Return the sorted ids of all entries that match the text, each once."""
        if not len(self._automaton):
            return []
        text = normalize_text(text, self.rules)
        hits: set[int] = set()
        for end, entry_id in self._automaton.iter(text):
            if entry_id not in hits and (not self._open_right[entry_id] or self._is_allowed(text, end, entry_id)):
                hits.add(entry_id)
        if self._duplicates:
            hits.update(other for entry_id in tuple(hits) for other in self._duplicates.get(entry_id, ()))
        return sorted(hits)

    def _is_allowed(self, text: str, end: int, entry_id: int) -> bool:
        """Return whether an occurrence that ends with `text[end]` satisfies the boundary rules.

        The entry is open on the right, so a character follows it.
        """
        if is_combining(text[end + 1]):
            return False
        length = self._katakana.get(entry_id)
        if length is None:
            return True
        before = end - length
        while is_combining(text[before]):
            before -= 1
        return not in_katakana_run(text[before]) and not in_katakana_run(text[end + 1])

    def match_batch(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """Match an array of strings: return one list<int32> of sorted entry ids per text, empty for a null."""
        values, ends = array("i"), array("i", [0])
        for text in texts.to_pylist():
            if text:
                values.extend(self.match(text))
            ends.append(len(values))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values, pa.int32()))
