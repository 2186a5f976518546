"""Find the entries of one language in texts, with compiled loops over flat arrays, straight from Arrow buffers.

An entry matches a text if its normalized form is a substring of the text's (see `rules`). All occurrences count, also
overlapping ones, each entry once per text. Under the rules `worldwide` an occurrence must also satisfy the boundary
rules: it never ends before a combining mark if the entry is open on the right, and an entry of one or two Katakana
characters fills its Katakana run.

`Matcher.match_batch` processes the texts in blocks. Each block passes through

    tokenizer.tokenize_texts   UTF-8 to normalized text and tokens
    trie_search.search         tokens and characters to hits, with the tries of `trie`
    collect_hits.collect_hits  hits to sorted entry ids per text

No Python object is made of a text, except for the few that need the full NFKC (see `nfkc_folding`). `aho_corasick` does
the same work with pyahocorasick, for comparison. Matchers are stored as files that are mapped into memory (see
`matcher_file`).
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
from curation.jit.compiler import Bytes, Int, Ints, Offsets, jit
from curation.jit.utf8 import string_buffers
from curation.matching.char_tables import char_tables
from curation.matching.collect_hits import LANES, MAX_RANKED, collect_hits
from curation.matching.matcher_file import compile_entries, read_matcher
from curation.matching.nfkc_folding import NEEDS_NFKC, UNKNOWN_CHAR, CharArrays, build_char_arrays
from curation.matching.rules import normalize_text
from curation.matching.text_block import BLOCK_TEXTS, make_block
from curation.matching.tokenizer import PRENORMALIZED, REFERENCE, WORLDWIDE, tokenize_texts
from curation.matching.trie import Tries
from curation.matching.trie_search import make_workspace, measure_block, search

ALGORITHM: Final = 2  # part of match_id: raise it whenever normalized texts, matches or identified languages change
HIT_CAPACITY: Final = 1 << 14  # hits of a block, at first; more are allocated when a block has more
_EXTRA_IDS: Final = MAX_RANKED + LANES * BLOCK_TEXTS  # scratch space of `collect_hits` in addition to one id per hit
MAX_TEXT_BYTES: Final = 128 << 20  # offsets in a block, which has up to 12 times as many bytes, have 31 bits
_MAX_IDS: Final = 2**31 - 1  # per batch: offsets of Arrow lists have 31 bits
_MODES: Final = {"reference": REFERENCE, "worldwide": WORLDWIDE}


class Matcher:
    """The compiled entries of one language; entry ids are positions in the entry list.

    Create one with `build`, `open` or `from_bytes`.

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
        """Read a compiled matcher without copying it; arguments and errors are those of `matcher_file.read_matcher`."""
        tries, entries = read_matcher(data, rules, name, checked=checked)
        return cls(tries, entries, rules)

    def __len__(self) -> int:
        """Return the number of entries."""
        return self._entries

    def match(self, text: str) -> list[int]:
        """Return the sorted ids of all entries that match the text, each once."""
        ids: list[int] = self.match_batch(pa.array([text], pa.string()))[0].as_py()
        return ids

    def match_batch(self, texts: pa.Array | pa.ChunkedArray) -> pa.ListArray:
        """Match an array of strings: return one list<int32> of sorted entry ids per text, empty for a null.

        Raises InputError if a text, normalized or not, has more than MAX_TEXT_BYTES.
        """
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        return self._match(texts.fill_null(""), _MODES[self.rules])

    def _match(self, texts: pa.Array, mode: int) -> pa.ListArray:
        table = char_tables()
        data, offsets = string_buffers(texts)
        longest = int(np.diff(offsets).max(initial=0))
        if longest > MAX_TEXT_BYTES:
            raise InputError(
                f"a text of {longest} bytes: the longest to match has {MAX_TEXT_BYTES}; set filters.max_chars"
            )
        strict = self.rules == "worldwide"
        values, ends, states = _match_texts(data, offsets, longest, mode, strict, build_char_arrays(table), self._tries)
        matches = pa.ListArray.from_arrays(pa.array(ends), pa.array(values))
        unmatched = np.flatnonzero(states)
        if not len(unmatched):
            return matches
        normalized, unknown = [], []
        for row in unmatched:
            text = texts[int(row)].as_py()
            if states[row] == NEEDS_NFKC:
                normalized.append(normalize_text(text, self.rules))
            else:
                unknown.append(text)
        for code in {ord(char) for text in [*normalized, *unknown] for char in text}:
            table.ensure_loaded(code)
        parts = [
            matches,
            self._match(pa.array(normalized, texts.type), PRENORMALIZED),
            self._match(pa.array(unknown, texts.type), mode),
        ]
        indices = np.arange(len(texts))  # of each text's matches in the concatenated parts
        indices[states == NEEDS_NFKC] = len(texts) + np.arange(len(normalized))
        indices[states == UNKNOWN_CHAR] = len(texts) + len(normalized) + np.arange(len(unknown))
        return pa.concat_arrays(parts).take(pa.array(indices))


@jit
def _match_texts(
    data: Bytes,
    offsets: Offsets,
    longest: Int,
    mode: Int,
    strict: bool,
    tables: CharArrays,
    tries: Tries,
) -> tuple[Ints, Ints, npt.NDArray[np.int8]]:
    """Match texts, block by block.

    Returns the ids of all texts one after the other, their offsets (one more than texts), and the states of the texts;
    those in another state than NORMALIZED are not matched.
    """
    num_texts = len(offsets) - 1
    block, workspace = make_block(longest), make_workspace(1 << 14, 1 << 14)
    kinds = tables.kinds if strict else tables.kinds[:0]
    hits, ids = np.empty(HIT_CAPACITY, np.uint64), np.empty(HIT_CAPACITY + _EXTRA_IDS, np.int32)
    cursors = np.empty(BLOCK_TEXTS, np.int64)
    matches = np.empty(8 * num_texts + 1024, np.int32)
    ends = np.zeros(num_texts + 1, np.int32)
    states = np.zeros(num_texts, np.int8)
    first = count = 0
    while first < num_texts:
        last = tokenize_texts(data, offsets, first, mode, tables, block)
        tokens, codes = measure_block(block, last - first)
        if tokens > len(workspace.words) or codes + BLOCK_TEXTS >= len(workspace.codes):
            workspace = make_workspace(max(tokens, len(workspace.words)), max(codes, len(workspace.codes)))
        num_hits = search(tries, kinds, block, last - first, workspace, hits)
        while num_hits >= len(hits):  # a second time if hits that did not fit have duplicates
            hits, ids = np.empty(2 * num_hits, np.uint64), np.empty(2 * num_hits + _EXTRA_IDS, np.int32)
            num_hits = search(tries, kinds, block, last - first, workspace, hits)
        if count + num_hits > _MAX_IDS:
            raise OverflowError("more than 2**31 matches in a batch of texts")
        if count + num_hits > len(matches):
            matches = np.concatenate((matches[:count], np.empty(count + num_hits, np.int32)))
        count = collect_hits(hits, num_hits, ids, cursors, matches, count, ends[first : last + 1])
        states[first:last] = block.states[: last - first]
        first = last
    return matches[:count], ends, states
