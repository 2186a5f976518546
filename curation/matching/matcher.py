"""Which entries of one language a text contains, by compiled loops over flat arrays, straight from Arrow buffers.

An entry matches where its form lies in the text's form (see `spacing`); all overlapping occurrences count, each
entry once a text. Under the rules `worldwide` an occurrence must also lie well: it never ends before a combining
mark when the entry is open on the right, and an entry of one or two Katakana characters fills its Katakana run.

Forms bounded by spaces are matched as sequences of tokens, all others as sequences of characters (see `flattrie`). No
Python object is made of a text, except where its form takes all of NFKC (see `folding`). `automaton` does the same
work with pyahocorasick, for comparison.

Matchers are stored as files that are mapped into memory (see `matcher_file`).
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.errors import InputError
from curation.jit.compiler import Bytes, Int, Ints, Offsets, compiled
from curation.jit.utf8 import string_buffers
from curation.matching import tokenizer as forming
from curation.matching.char_tables import characters
from curation.matching.collect_hits import FEW, LANES, gather
from curation.matching.matcher_file import compile_entries, read
from curation.matching.nfkc_folding import NEEDS_NFKC, UNKNOWN, Tables, tables_of
from curation.matching.rules import text_form
from curation.matching.tokenizer import BLOCK_TEXTS, READY, cut_texts, make_block
from curation.matching.trie import Tries
from curation.matching.trie_search import make_room, size_of, walk

ALGORITHM: Final = 2  # part of match_id: raise it whenever forms, matches or identified languages change
HITS: Final = 1 << 14  # of a block that there is room for at first
_BESIDES: Final = FEW + LANES * BLOCK_TEXTS  # more room than for hits that `gather` needs
MOST_BYTES: Final = 128 << 20  # of a text: places in a block of up to 12 times as many bytes are numbers of 31 bits
_MOST_IDS: Final = 2**31 - 1  # of a batch: places in a list are numbers of 31 bits
_HOW: Final = {"reference": forming.REFERENCE, "worldwide": forming.WORLDWIDE}


class Matcher:
    """The compiled entries of one language; entry ids are positions in the entry list.

    Make one with `build`, `open` or `from_bytes`.

    Args:
        tries: the arrays, as `matcher_file.compile_entries` makes them.
        entries: the number of entries.
        rules: the rule set they were built for.
    """

    def __init__(self, tries: Tries, entries: int, rules: str) -> None:
        self.rules = rules
        self._tries = tries
        self._entries = entries

    @classmethod
    def build(cls, entries: Sequence[str], rules: str) -> Self:
        """Compile the entries; UsageError on unknown rules."""
        return cls.from_bytes(compile_entries(entries, rules), rules)

    @classmethod
    def open(cls, path: Path, rules: str, *, checked: bool = False) -> Self:
        """Map a local file into memory; InputError when it cannot be read, otherwise as `from_bytes`."""
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise InputError(f"{path}: cannot read the matcher: {error}") from error
        return cls.from_bytes(data, rules, str(path), checked=checked)

    @classmethod
    def from_bytes(cls, data: bytes | mmap.mmap, rules: str, name: str = "matcher", *, checked: bool = False) -> Self:
        """Read what `compile_entries` wrote, as `matcher_file.read` does: its arguments, its errors, and no copy."""
        tries, entries = read(data, rules, name, checked=checked)
        return cls(tries, entries, rules)

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._entries

    def match(self, text: str) -> list[int]:
        """Return the sorted ids of all entries that match the text, each once."""
        ids: list[int] = self.match_batch(pa.array([text], pa.string()))[0].as_py()
        return ids

    def match_batch(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """Match an array of strings: one list<int32> of sorted entry ids a text, empty for a null.

        Raises InputError on a text of more than MOST_BYTES, or whose form is longer.
        """
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        return self._match(texts.fill_null(""), _HOW[self.rules])

    def _match(self, texts: pa.Array, how: int) -> pa.ListArray:
        table = characters()
        data, offsets = string_buffers(texts)
        longest = int(np.diff(offsets).max(initial=0))
        if longest > MOST_BYTES:
            raise InputError(f"a text of {longest} bytes: the longest to match has {MOST_BYTES}; set filters.max_chars")
        strict = self.rules == "worldwide"
        values, ends, states = _match_texts(data, offsets, longest, how, strict, tables_of(table), self._tries)
        found = pa.ListArray.from_arrays(pa.array(ends), pa.array(values))
        again = np.flatnonzero(states)
        if not len(again):
            return found
        forms, unknown = [], []
        for row in again:
            text = texts[int(row)].as_py()
            if states[row] == NEEDS_NFKC:
                forms.append(text_form(text, self.rules))
            else:
                unknown.append(text)
        for code in {ord(char) for text in [*forms, *unknown] for char in text}:
            table.learn(code)
        parts = [
            found,
            self._match(pa.array(forms, texts.type), READY),
            self._match(pa.array(unknown, texts.type), how),
        ]
        places = np.arange(len(texts))
        places[states == NEEDS_NFKC] = len(texts) + np.arange(len(forms))
        places[states == UNKNOWN] = len(texts) + len(forms) + np.arange(len(unknown))
        return pa.concat_arrays(parts).take(pa.array(places))


@compiled
def _match_texts(
    data: Bytes,
    offsets: Offsets,
    longest: Int,
    how: Int,
    strict: bool,
    tables: Tables,
    tries: Tries,
) -> tuple[Ints, Ints, npt.NDArray[np.int8]]:
    """Match texts; return the ids of all, where each text's ids end (after a 0), and what each still needs."""
    texts = len(offsets) - 1
    block, room = make_block(longest), make_room(1 << 14, 1 << 14)
    kinds = tables.kinds if strict else tables.kinds[:0]
    hits, ids = np.empty(HITS, np.uint64), np.empty(HITS + _BESIDES, np.int32)
    places = np.empty(BLOCK_TEXTS, np.int64)
    found = np.empty(8 * texts + 1024, np.int32)
    ends = np.zeros(texts + 1, np.int32)
    states = np.zeros(texts, np.int8)
    first = count = 0
    while first < texts:
        last = cut_texts(data, offsets, first, how, tables, block)
        tokens, codes = size_of(block, last - first)
        if tokens > len(room.words) or codes + BLOCK_TEXTS >= len(room.codes):
            room = make_room(max(tokens, len(room.words)), max(codes, len(room.codes)))
        many = walk(tries, kinds, block, last - first, room, hits)
        while many >= len(hits):  # twice where those with room have twins
            hits, ids = np.empty(2 * many, np.uint64), np.empty(2 * many + _BESIDES, np.int32)
            many = walk(tries, kinds, block, last - first, room, hits)
        if count + many > _MOST_IDS:
            raise OverflowError("more than 2**31 matches in a batch of texts")
        if count + many > len(found):
            found = np.concatenate((found[:count], np.empty(count + many, np.int32)))
        count = gather(hits, many, ids, places, found, count, ends[first : last + 1])
        states[first:last] = block.states[: last - first]
        first = last
    return found[:count], ends, states
