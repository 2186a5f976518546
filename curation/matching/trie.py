"""Tries in flat arrays: all forms of one language in a few hash tables, as compiled loops take them.

`planting` fills them, `walking` matches with them.

A form bounded by spaces is a sequence of tokens and matches where its tokens stand in a row; every other form is a
sequence of characters and matches wherever they stand. Each kind has a trie. The tables are rows of 64 bytes, one line
of the processor's cache, of some slots each, zeros where nothing lies. What finds its row full goes to the next row
with room, and the rows passed over say so:

    tokens   uint64   4 slots: the first 8 bytes of each token, then value << 32 | where the rest is
    edges    uint32   5 slots: the nodes above, plus 1, then the tokens' slots, then the values, then MORE
    chars    uint32   5 slots: the nodes above, plus 1, then the characters, then the values, then MORE

A node is the slot that leads to it, so nothing else need be stored. In the trie of tokens, slot s of `tokens` is node
s, a child of the root, and slot s of `edges` is node `4 * len(tokens) + s`. In the trie of characters, the first
character of a form is the node of its own code point; ROOT has the forms of one character; slot s of `chars` is node
`ROOT + 1 + s`. A value says whether a form ends at the node, which entry it is, whether nodes follow, whether another
entry has the same form, and whether the entry is a short Katakana word. Where the rest of a token is: its length in
bytes plus 1 where that is 8 or less and there is none; else the place in `rests` plus 10, of its length followed by its
other bytes, 8 in a number. A hash only says where to look; tokens are compared byte for byte, so matches are exact.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, Int, Ints, Words, inlined

Table = npt.NDArray[np.uint32]

TERMINAL: Final = 1
CHILDREN: Final = 2
SHORT: Final = 4  # of characters
PASSED: Final = 4  # of the first token of a row: tokens of this row went on to the next
TWIN: Final = 8
ID_SHIFT: Final = 4
MOST_ENTRIES: Final = 1 << 28

ROW: Final = 64  # bytes
TOKEN_SLOTS: Final = 4
SLOTS: Final = 5
VALUES: Final = 2 * SLOTS  # where the values of a row begin
MORE: Final = 3 * SLOTS  # of a row of edges or characters: 1 when some of this row went on to the next

ROOT: Final = 0x110000
CODE: Final = 0x1FFFFF  # the bits of a code point
END: Final = CODE  # stands behind the last character of a text

WORD: Final = 8  # bytes of a token that are read, hashed and compared at a time
REST: Final = WORD + 2  # added to the place of a token's rest
VALUE_SHIFT: Final = np.uint64(32)  # of a token
PLACE: Final = np.uint64(0xFFFFFFFF)


class Tries(NamedTuple):
    """The arrays of both tries; see above.

    Attributes:
        heads: a bitmap over a hash of two characters: whether a form in `chars` may begin with them, or, where the
            second is END, be the first alone. Most places where no form begins are told by it.
        twins: the next entry with the same form, or -1, for each entry; empty when all forms differ.
    """

    tokens: Words
    rests: Words
    edges: Table
    chars: Table
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
def head_bit(heads: Bytes, first: Int, second: Int) -> Int:
    """Return the bit of `heads` for the first two characters of a form."""
    return np.uint64(row_of(hash_edge(first, second), 8 * len(heads)))


@inlined
def has_head(heads: Bytes, first: Int, second: Int) -> Int:
    """Return 1 when a form may begin with two characters, else 0."""
    bit = head_bit(heads, first, second)
    return np.int64(heads[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7)) & 1)


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
    """Return the slot of a token that would lie in a row or behind it, or -1.

    All slots of a row are compared, those of short tokens without branches: which of them it is cannot be predicted.
    """
    length = end - start
    while True:
        at = np.uint64(row)
        slot = np.int64(0)
        if length <= WORD:
            for number in range(TOKEN_SLOTS):
                place = np.int64(tokens[at, TOKEN_SLOTS + number] & PLACE)
                slot += (number + 1) * np.int64((tokens[at, number] == first) & (place == length + 1))
        else:
            for number in range(TOKEN_SLOTS):
                if tokens[at, number] == first:
                    place = np.int64(tokens[at, TOKEN_SLOTS + number] & PLACE)
                    if place >= REST and _has_rest(rests, place - REST, data, start, end):
                        slot = np.int64(number + 1)
        if slot > 0 or not np.int64(tokens[at, TOKEN_SLOTS] >> VALUE_SHIFT) & PASSED:
            return TOKEN_SLOTS * row + slot - 1 if slot > 0 else np.int64(-1)
        row = row + 1 if row + 1 < len(tokens) else 0


@inlined
def edge_row(table: Table, node: Int, symbol: Int) -> Int:
    """Return the row where the edge from a node over a symbol would lie."""
    return row_of(hash_edge(node, symbol), len(table))


@inlined
def find_edge(table: Table, row: Int, node: Int, symbol: Int) -> tuple[Int, Int]:
    """Return the slot that leads from a node over a symbol, from a row on, and its value; or -1 and 0.

    All slots of a row are compared, without branches: which of them it is cannot be predicted.
    """
    above, over = np.uint32(node + 1), np.uint32(symbol)
    while True:
        at = np.uint64(row)
        slot = np.int64(0)
        for number in range(SLOTS):
            slot += (number + 1) * np.int64((table[at, number] == above) & (table[at, SLOTS + number] == over))
        if (slot > 0) | (table[at, MORE] == 0):
            value = np.int64(table[at, np.uint64(VALUES - 1 + slot)]) & -np.int64(slot > 0)
            return (SLOTS * row + slot - 1 if slot > 0 else np.int64(-1)), value
        row = row + 1 if row + 1 < len(table) else 0
