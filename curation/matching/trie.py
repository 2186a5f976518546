"""Two tries over the normalized entries of one language, stored in flat hash tables that compiled loops read.

An entry whose normalized form starts and ends with a space is a sequence of tokens. It matches where its tokens follow
each other. Every other entry is a sequence of characters. It matches wherever they follow each other. There is one
trie for either kind. `trie_build` fills them, `trie_search` searches texts with them.

A trie is a hash table of edges, from (parent node, symbol) to a value. In `chars` a symbol is a code point; in `edges`
it is the number of a token, which another hash table, `tokens`, assigns.
A hash table is an array of rows of 64 bytes, one cache line each, so that a lookup usually touches one line. The hash
selects a row; a row has a few slots, which are compared all at once. An empty slot is all zeros. If the row is full,
the item is stored in the next row that has a free slot, and every full row passed over gets an overflow flag. A lookup
that finds nothing in a row continues with the next row only if the flag is set.

A row of `edges` or `chars`, 16 uint32, 5 slots (slot i is the three numbers p_i, s_i, v_i):

    +----+----+----+----+----+----+----+----+----+----+----+----+----+----+----+----------+
    | p0 | p1 | p2 | p3 | p4 | s0 | s1 | s2 | s3 | s4 | v0 | v1 | v2 | v3 | v4 | overflow |
    +----+----+----+----+----+----+----+----+----+----+----+----+----+----+----+----------+
      parent node + 1          symbol                   value                    0 or 1

A row of `tokens`, 8 uint64, 4 slots. It maps the bytes of a token to the token's slot, which is its number:

    +---------+---------+---------+---------+-----------+-----------+-----------+-----------+
    | word 0  | word 1  | word 2  | word 3  | v0 | tail | v1 | tail | v2 | tail | v3 | tail |
    +---------+---------+---------+---------+-----------+-----------+-----------+-----------+
      first 8 bytes of the token              value << 32 | tail; v0 has the overflow flag

A token of up to 8 bytes is stored completely in its word, and `tail` is its length plus 1. For a longer token `tail` is
TAIL_BIAS plus an offset in the array `tails`, which holds there its length and then its other bytes, 8 per number. The
hash only selects a row; tokens are compared byte by byte, so matches are exact.

A node is named by the slot of the edge that leads to it, so nodes need no storage of their own:

    trie of tokens      root's child over a token:  the token's slot in `tokens`
                        any other node:             4 * len(tokens) + its slot in `edges`
    trie of characters  root's child over a code point, if longer entries follow: the code point itself
                        ROOT: only the parent of the last edge of entries of one character
                        any other node:             ROOT + 1 + its slot in `chars`

A value has the flags TERMINAL (an entry ends at this node), CHILDREN (edges start from it), DUPLICATE (other entries
have the same normalized form; they are chained in `duplicates`), SHORT_KATAKANA (of `chars`: the entry is a short
Katakana word) and TOKEN_OVERFLOW (of the first slot of a row of `tokens`), and the entry's id above ID_SHIFT.

The array `first_pairs` is a Bloom filter with one hash function over the first two characters of the entries in
`chars`. It rejects most positions of a text where no entry starts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, Int, Ints, Words, jit_inline

Table = npt.NDArray[np.uint32]

# Flags of a value.
TERMINAL: Final = 1
CHILDREN: Final = 2
SHORT_KATAKANA: Final = 4  # in `chars`
TOKEN_OVERFLOW: Final = 4  # in the first slot of a row of `tokens`: some tokens of this row are in a following one
DUPLICATE: Final = 8
ID_SHIFT: Final = 4
MAX_ENTRIES: Final = 1 << 28

ROW_BYTES: Final = 64
TOKEN_SLOTS: Final = 4
EDGE_SLOTS: Final = 5
VALUE_COLUMN: Final = 2 * EDGE_SLOTS  # column of the first value of a row
OVERFLOW_COLUMN: Final = 3 * EDGE_SLOTS  # 1 if some edges of this row are in a following one

ROOT: Final = 0x110000
CODE_MASK: Final = 0x1FFFFF  # the bits of a code point
END_OF_TEXT: Final = CODE_MASK  # follows the last character of a text

WORD_BYTES: Final = 8  # bytes of a token that are read, hashed and compared at once
TAIL_BIAS: Final = WORD_BYTES + 2  # added to offsets in `tails`: smaller numbers are 1 + the length of a token
VALUE_SHIFT: Final = np.uint64(32)
TAIL_MASK: Final = np.uint64(0xFFFFFFFF)


class Tries(NamedTuple):
    """The arrays of both tries, as described above.

    Attributes:
        tokens, edges, chars: tables of rows.
        tails: the bytes of tokens after the eighth.
        first_pairs: a bitmap. The bit at the hash of two characters is set if an entry in `chars` starts with them, or,
            where the second is END_OF_TEXT, consists of the first.
        duplicates: for each entry the next entry with the same normalized form, or -1; empty if all forms differ.
    """

    tokens: Words
    tails: Words
    edges: Table
    chars: Table
    first_pairs: Bytes
    duplicates: Ints


@jit_inline
def row_index(hashed: Int, size: Int) -> Int:
    """Return the row for a hash, whose upper half is used, in a table of `size` rows."""
    return np.int64(((hashed >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@jit_inline
def load_word(data: Bytes, start: Int, size: Int) -> Int:
    """Return `min(size, 8)` bytes as a little-endian number; 8 bytes are read, which compile to a single load."""
    at = np.uint64(start)
    word = np.uint64(data[at])
    word |= np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
    word |= np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
    word |= np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
    word |= np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
    word |= np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
    word |= np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
    word |= np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    if size < WORD_BYTES:
        word &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    return word


@jit_inline
def _hash_triple(first: Int, second: Int, third: Int) -> Int:
    """Hash three numbers of 32 bits; the upper half is strongly universal (multilinear hashing, Lemire 2013)."""
    mixed = np.uint64(first) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(second) * np.uint64(0xD6E8FEB86659FD93)
    return mixed + np.uint64(third) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(0x165667B19E3779F9)


@jit_inline
def hash_token(first: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Hash the token `data[start:end]`, whose first 8 bytes are `first`."""
    low = np.uint64(0xFFFFFFFF)
    key = _hash_triple(first & low, first >> np.uint64(32), end - start)
    for at in range(start + WORD_BYTES, end, WORD_BYTES):
        word = load_word(data, at, end - at)
        key = _hash_triple(word & low, word >> np.uint64(32), key >> np.uint64(32))
    return key


@jit_inline
def hash_edge(node: Int, symbol: Int) -> Int:
    """Hash the edge that leaves a node over a symbol."""
    return _hash_triple(node, symbol, 0)


@jit_inline
def first_pair_bit(first_pairs: Bytes, first: Int, second: Int) -> Int:
    """Return the index of the bit for the first two characters of an entry."""
    return np.uint64(row_index(hash_edge(first, second), 8 * len(first_pairs)))


@jit_inline
def may_start_with(first_pairs: Bytes, first: Int, second: Int) -> Int:
    """Return 1 if an entry may start with two characters, else 0."""
    bit = first_pair_bit(first_pairs, first, second)
    return np.int64(first_pairs[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7)) & 1)


@jit_inline
def _tail_equals(tails: Words, offset: Int, data: Bytes, start: Int, end: Int) -> bool:
    """Return whether the token at an offset of `tails` equals `data[start:end]`; the first 8 bytes are not compared."""
    if tails[offset] != np.uint64(end - start):
        return False
    for at in range(start + WORD_BYTES, end, WORD_BYTES):
        offset += 1
        if tails[offset] != load_word(data, at, end - at):
            return False
    return True


@jit_inline
def find_token(tokens: Words, tails: Words, row: Int, first: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Return the slot of a token, searched from `row` on, or -1.

    All slots of a row are compared, for short tokens without branches, because the matching slot cannot be predicted.
    """
    length = end - start
    while True:
        at = np.uint64(row)
        slot = np.int64(0)
        if length <= WORD_BYTES:
            for number in range(TOKEN_SLOTS):
                tail = np.int64(tokens[at, TOKEN_SLOTS + number] & TAIL_MASK)
                slot += (number + 1) * np.int64((tokens[at, number] == first) & (tail == length + 1))
        else:
            for number in range(TOKEN_SLOTS):
                if tokens[at, number] == first:
                    tail = np.int64(tokens[at, TOKEN_SLOTS + number] & TAIL_MASK)
                    if tail >= TAIL_BIAS and _tail_equals(tails, tail - TAIL_BIAS, data, start, end):
                        slot = np.int64(number + 1)
        if slot > 0 or not np.int64(tokens[at, TOKEN_SLOTS] >> VALUE_SHIFT) & TOKEN_OVERFLOW:
            return TOKEN_SLOTS * row + slot - 1 if slot > 0 else np.int64(-1)
        row = row + 1 if row + 1 < len(tokens) else 0


@jit_inline
def edge_row(table: Table, node: Int, symbol: Int) -> Int:
    """Return the row where the search for an edge starts."""
    return row_index(hash_edge(node, symbol), len(table))


@jit_inline
def find_edge(table: Table, row: Int, node: Int, symbol: Int) -> tuple[Int, Int]:
    """Return the slot and the value of an edge, searched from `row` on; or -1 and 0.

    All slots of a row are compared, without branches, because the matching slot cannot be predicted.
    """
    parent, symbol_ = np.uint32(node + 1), np.uint32(symbol)
    while True:
        at = np.uint64(row)
        slot = np.int64(0)
        for number in range(EDGE_SLOTS):
            slot += (number + 1) * np.int64((table[at, number] == parent) & (table[at, EDGE_SLOTS + number] == symbol_))
        if (slot > 0) | (table[at, OVERFLOW_COLUMN] == 0):
            value = np.int64(table[at, np.uint64(VALUE_COLUMN - 1 + slot)]) & -np.int64(slot > 0)
            return (EDGE_SLOTS * row + slot - 1 if slot > 0 else np.int64(-1)), value
        row = row + 1 if row + 1 < len(table) else 0
