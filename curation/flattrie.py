"""Tries in flat arrays: all forms of one language in a few open-addressing tables, as compiled loops take them.

`planting` fills them, `walking` matches with them.

A form bounded by spaces is a sequence of tokens and matches where its tokens stand in a row; every other form is a
sequence of characters and matches wherever they stand. Each kind has a trie. The tables have linear probing, and rows
of zeros where nothing lies:

    tokens   uint64   the first 8 bytes of the token · where the rest is, value << 32
    edges    uint32   the node above, plus 1 · the token, as its row in `tokens` · value
    chars    uint32   the node above, plus 1 · the character's code point · value

A node is the row that leads to it, so nothing else need be stored: in the trie of tokens, row r of `tokens` is node r,
a child of the root, and row r of `edges` is node `len(tokens) + r`; in the trie of characters the root is 0 and row r
of `chars` is node `r + 1`. A value says whether a form ends at the node, which entry it is, whether nodes follow, and
whether the entry is a short Katakana word. Where the rest of a token is: its length in bytes plus 1 where that is 8 or
less and there is none; else the place in `rests` plus 10, of its length followed by its other bytes, 8 in a number.
A hash only says where to look; tokens are compared byte for byte, so matches are exact.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.compiled import Bytes, Int, Ints, Words, inlined

Table = npt.NDArray[np.uint32]

TERMINAL: Final = 1
CHILDREN: Final = 2
SHORT: Final = 4
ID_SHIFT: Final = 3
NONE, SOME, ANY = range(3)
MOST_ENTRIES: Final = 1 << 29

SHORT_HEADS: Final = 1 << 16  # bits of the first bitmap in `heads`
LONG_HEADS: Final = 1 << 17  # and of the second
WORD: Final = 8  # bytes of a token that are read, hashed and compared at a time
REST: Final = WORD + 2  # added to the place of a token's rest


class Tries(NamedTuple):
    """The arrays of both tries; see above.

    Attributes:
        firsts: of every byte, whether a form in `chars` begins with it: NONE, SOME or, when one of them has less than
            three bytes, ANY.
        heads: two bitmaps, over a hash of three bytes and over one of six: whether a form in `chars` that is not longer
            than five, or longer, may begin with them. Most places where no form begins are told by these alone.
        twins: the next entry with the same form, or -1, for each entry; empty when all forms differ.
    """

    tokens: Words
    rests: Words
    edges: Table
    chars: Table
    firsts: Bytes
    heads: Bytes
    twins: Ints


@inlined
def row_of(mixed: Int, size: Int) -> Int:
    """Return the row of a table of some size that a hash leads to."""
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@inlined
def word_at(data: Bytes, start: Int, size: Int) -> Int:
    """Return up to 8 bytes as a number, zeros behind the last; 8 are read, one load to the compiler."""
    at = np.uint64(start)
    word = np.uint64(data[at])
    word |= np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
    word |= np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
    word |= np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
    word |= np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
    word |= np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
    word |= np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
    word |= np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    if size < WORD:
        word &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    return word


@inlined
def _mix(first: Int, second: Int, third: Int) -> Int:
    """Hash three numbers of 32 bits; the upper half is strongly universal (multilinear hashing, Lemire 2013)."""
    mixed = np.uint64(first) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(second) * np.uint64(0xD6E8FEB86659FD93)
    return mixed + np.uint64(third) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(0x165667B19E3779F9)


@inlined
def hash_token(first: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Hash the token `data[start:end]`, of which `first` is the first word."""
    low = np.uint64(0xFFFFFFFF)
    key = _mix(first & low, first >> np.uint64(32), end - start)
    for at in range(start + WORD, end, WORD):
        word = word_at(data, at, end - at)
        key = _mix(word & low, word >> np.uint64(32), key >> np.uint64(32))
    return key


@inlined
def hash_edge(node: Int, symbol: Int) -> Int:
    """Hash the edge from a node over a symbol."""
    return _mix(node, symbol, 0)


@inlined
def short_head(word: Int) -> Int:
    """Return the bit of `heads` for the first three bytes of a word."""
    return ((word & np.uint64(0xFFFFFF)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)


@inlined
def long_head(word: Int) -> Int:
    """Return the bit of `heads` for the first six bytes of a word."""
    mixed = (word & np.uint64(0xFFFFFFFFFFFF)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(47)) + np.uint64(SHORT_HEADS)


@inlined
def has_head(heads: Bytes, bit: Int) -> Int:
    """Return 1 when a bit of `heads` is set, else 0."""
    return heads[bit >> np.uint64(3)] >> (bit & np.uint64(7)) & 1


@inlined
def _has_rest(rests: Words, place: Int, data: Bytes, start: Int, end: Int) -> bool:
    """Tell whether what lies at a place of `rests` is that of the token `data[start:end]`."""
    if rests[place] != np.uint64(end - start):
        return False
    for at in range(start + WORD, end, WORD):
        place += 1
        if rests[place] != word_at(data, at, end - at):
            return False
    return True


@inlined
def find_token(tokens: Words, rests: Words, row: Int, first: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Return the row of a token that would lie at `row` or behind it, or -1 minus the free row where it would go."""
    size = len(tokens)
    length = end - start
    while True:
        place = np.int64(tokens[row, 1] & np.uint64(0xFFFFFFFF))
        if place == 0:
            return -1 - row
        if tokens[row, 0] == first:
            if length <= WORD:
                if place == length + 1:
                    return row
            elif place >= REST and _has_rest(rests, place - REST, data, start, end):
                return row
        row = row + 1 if row + 1 < size else 0


@inlined
def find_edge_from(table: Table, row: Int, node: Int, symbol: Int) -> Int:
    """Return the row from a node over a symbol, which would lie at `row` or behind it, or -1 minus the free row."""
    size = len(table)
    above, over = np.uint32(node + 1), np.uint32(symbol)
    while table[row, 0] != 0:
        if table[row, 0] == above and table[row, 1] == over:
            return row
        row = row + 1 if row + 1 < size else 0
    return -1 - row


@inlined
def find_edge(table: Table, node: Int, symbol: Int) -> Int:
    """Return the row that leads from a node over a symbol, or -1 minus the free row where it would go."""
    return find_edge_from(table, row_of(hash_edge(node, symbol), len(table)), node, symbol)
