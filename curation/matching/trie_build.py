"""Build the tries of one language from its normalized entries (see `trie` for the layout).

The tables cannot grow, so the entries are inserted twice: first into tables of an upper bound of the size, to count the
slots in use, then into tables of the right size.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.errors import UsageError
from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, Words, jit, jit_inline
from curation.jit.utf8 import BLANK, decode
from curation.matching.text_block import Block, make_block
from curation.matching.tokenizer import split_at_spaces
from curation.matching.trie import (
    CHILDREN,
    DUPLICATE,
    EDGE_SLOTS,
    END_OF_TEXT,
    ID_SHIFT,
    MAX_ENTRIES,
    OVERFLOW_COLUMN,
    ROOT,
    ROW_BYTES,
    SHORT_KATAKANA,
    TAIL_BIAS,
    TAIL_MASK,
    TERMINAL,
    TOKEN_OVERFLOW,
    TOKEN_SLOTS,
    VALUE_COLUMN,
    VALUE_SHIFT,
    WORD_BYTES,
    Table,
    Tries,
    edge_row,
    find_edge,
    find_token,
    first_pair_bit,
    hash_token,
    load_word,
    row_index,
)

LOAD_FACTOR: Final = 0.6  # share of slots in use; fuller tables are smaller and slower
_FIRST_PAIR_BITS: Final = 8  # bits of `first_pairs` per distinct pair


class TableSizes(NamedTuple):
    """Slots in use in the tables `tokens`, `edges` and `chars`, numbers in `tails`, and entries that are duplicates."""

    tokens: int
    edges: int
    chars: int
    tails: int
    duplicates: int


@jit_inline
def _is_bounded(data: Bytes, start: Int, end: Int) -> bool:
    """Return whether a normalized entry starts and ends with a space, so that it is a sequence of tokens."""
    return bool(end - start > 1 and data[start] == BLANK and data[end - 1] == BLANK)


@jit
def _count_upper_bounds(data: Bytes, offsets: Offsets, block: Block) -> tuple[Int, Int]:
    """Return the number of tokens of all token sequences, and of characters of all other entries."""
    tokens = chars = 0
    for entry in range(len(offsets) - 1):
        start, end = offsets[entry], offsets[entry + 1]
        if _is_bounded(data, start, end):
            tokens += split_at_spaces(data, start, end, block.starts, block.ends, 0)
        else:
            for at in range(start, end):
                chars += data[at] & 0xC0 != 0x80
    return tokens, chars


@jit_inline
def _terminal_value(value: Int, entry: Int, short: bool, duplicates: Ints) -> Int:
    """Return the value of a node after an entry ends there; chain the entry to an earlier one that ends there."""
    if value & TERMINAL:
        first = value >> ID_SHIFT
        duplicates[entry] = duplicates[first]
        duplicates[first] = entry
        return value | DUPLICATE
    return value | entry << ID_SHIFT | TERMINAL | (SHORT_KATAKANA if short else 0)


@jit
def _insert_all(
    data: Bytes, offsets: Offsets, short: npt.NDArray[np.bool_], tries: Tries, block: Block
) -> tuple[Int, Int, Int, Int, Int]:
    """Insert all entries into empty tables and return the fields of `TableSizes`; arguments as of `build_tries`."""
    num_tokens = num_edges = num_chars = tails_used = num_duplicates = 0
    for entry in range(len(offsets) - 1):
        start, end = offsets[entry], offsets[entry + 1]
        if start == end:
            continue
        if _is_bounded(data, start, end):
            count = split_at_spaces(data, start, end, block.starts, block.ends, 0)
            slot, tokens, edges, tails_used = _insert_tokens(tries, data, block.starts, block.ends, count, tails_used)
            num_tokens += tokens
            num_edges += edges
            if count == 1:
                value = _token_value(tries.tokens, slot)
                terminal_value = _terminal_value(value, entry, False, tries.duplicates)
                _set_token_flags(tries.tokens, slot, terminal_value)
            else:
                value = np.int64(tries.edges[slot // EDGE_SLOTS, VALUE_COLUMN + slot % EDGE_SLOTS])
                terminal_value = _terminal_value(value, entry, False, tries.duplicates)
                _set_edge_flags(tries.edges, slot, terminal_value)
        else:
            size = decode(data, start, end, block.folded)
            slot, chars = _insert_chars(tries, block.folded, size)
            num_chars += chars
            value = np.int64(tries.chars[slot // EDGE_SLOTS, VALUE_COLUMN + slot % EDGE_SLOTS])
            terminal_value = _terminal_value(value, entry, short[entry], tries.duplicates)
            _set_edge_flags(tries.chars, slot, terminal_value)
        num_duplicates += terminal_value & DUPLICATE != 0
    return num_tokens, num_edges, num_chars, tails_used, num_duplicates


@jit_inline
def _token_value(tokens: Words, slot: Int) -> Int:
    """Return the value of a token."""
    return np.int64(tokens[slot // TOKEN_SLOTS, TOKEN_SLOTS + slot % TOKEN_SLOTS] >> VALUE_SHIFT)


@jit_inline
def _set_token_flags(tokens: Words, slot: Int, bits: Int) -> None:
    """Add bits to the value of a token."""
    tokens[slot // TOKEN_SLOTS, TOKEN_SLOTS + slot % TOKEN_SLOTS] |= np.uint64(bits) << VALUE_SHIFT


@jit_inline
def _set_edge_flags(table: Table, slot: Int, bits: Int) -> None:
    """Add bits to the value of an edge."""
    table[slot // EDGE_SLOTS, VALUE_COLUMN + slot % EDGE_SLOTS] |= np.uint32(bits)


@jit
def _insert_tokens(
    tries: Tries, data: Bytes, starts: Ints, ends: Ints, count: Int, tails_used: Int
) -> tuple[Int, Int, Int, Int]:
    """Insert the path of an entry that is a sequence of tokens.

    Returns the slot of its last node (in `tokens` for a single token, else in `edges`), the number of new slots in
    `tokens` and in `edges`, and the new length of `tails`.
    """
    tokens, edges = tries.tokens, tries.edges
    new_tokens = new_edges = 0
    node = slot = np.int64(-1)
    for index in range(count):
        start, end = np.int64(starts[index]), np.int64(ends[index])
        first = load_word(data, start, end - start)
        row = row_index(hash_token(first, data, start, end), len(tokens))
        symbol = np.int64(find_token(tokens, tries.tails, row, first, data, start, end))
        if symbol < 0:
            symbol = _find_free_token_slot(tokens, row)
            tokens[symbol // TOKEN_SLOTS, symbol % TOKEN_SLOTS] = first
            tail = end - start + 1 if end - start <= WORD_BYTES else tails_used + TAIL_BIAS
            tokens[symbol // TOKEN_SLOTS, TOKEN_SLOTS + symbol % TOKEN_SLOTS] |= np.uint64(tail)
            tails_used = _write_tail(tries.tails, tails_used, data, start, end)
            new_tokens += 1
        if index == 0:
            node = slot = symbol
            continue
        if index == 1:
            _set_token_flags(tokens, slot, CHILDREN)
        else:
            _set_edge_flags(edges, slot, CHILDREN)
        slot, num_new = _insert_edge(edges, node, symbol)
        new_edges += num_new
        node = TOKEN_SLOTS * len(tokens) + slot
    return slot, new_tokens, new_edges, tails_used


@jit_inline
def _find_free_token_slot(tokens: Words, row: Int) -> Int:
    """Return the first free slot from `row` on, and set the overflow flag of the full rows passed over."""
    while True:
        for number in range(TOKEN_SLOTS):
            if tokens[row, TOKEN_SLOTS + number] & TAIL_MASK == 0:
                return np.int64(TOKEN_SLOTS * row + number)
        _set_token_flags(tokens, TOKEN_SLOTS * row, TOKEN_OVERFLOW)
        row = row + 1 if row + 1 < len(tokens) else 0


@jit_inline
def _insert_edge(table: Table, node: Int, symbol: Int) -> tuple[Int, Int]:
    """Return the slot of an edge, inserted if it is new, and 1 if it is new, else 0."""
    row = edge_row(table, node, symbol)
    slot, _ = find_edge(table, row, node, symbol)
    if slot >= 0:
        return slot, 0
    while True:
        for number in range(EDGE_SLOTS):
            if table[row, number] == 0:
                table[row, number] = np.uint32(node + 1)
                table[row, EDGE_SLOTS + number] = np.uint32(symbol)
                return np.int64(EDGE_SLOTS * row + number), 1
        table[row, OVERFLOW_COLUMN] = 1
        row = row + 1 if row + 1 < len(table) else 0


@jit
def _write_tail(tails: Words, index: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Append the length of a token of more than 8 bytes, and its bytes from the ninth on; return the index after."""
    if end - start > WORD_BYTES:
        tails[index] = np.uint64(end - start)
        index += 1
        for at in range(start + WORD_BYTES, end, WORD_BYTES):
            tails[index] = load_word(data, at, end - at)
            index += 1
    return index


@jit
def _insert_chars(tries: Tries, codes: Codes, size: Int) -> tuple[Int, Int]:
    """Insert the path of an entry that is a sequence of characters.

    Returns the slot of its last node in `chars` and the number of new slots.
    """
    chars, first_pairs = tries.chars, tries.first_pairs
    bit = first_pair_bit(first_pairs, codes[0], codes[1] if size > 1 else END_OF_TEXT)
    first_pairs[bit >> np.uint64(3)] |= np.uint8(np.uint64(1) << (bit & np.uint64(7)))
    if size == 1:
        return _insert_edge(chars, ROOT, codes[0])
    node = np.int64(codes[0])
    slot = np.int64(-1)
    num_new = 0
    for at in range(1, size):
        if at > 1:
            _set_edge_flags(chars, slot, CHILDREN)
        slot, added = _insert_edge(chars, node, codes[at])
        num_new += added
        node = ROOT + 1 + slot
    return slot, num_new


def build_tries(data: Bytes, offsets: Offsets, short: npt.NDArray[np.bool_]) -> Tries:
    """Build the tries of normalized entries.

    Args:
        data: the UTF-8 bytes of all normalized entries, followed by at least 8 bytes, which may be read.
        offsets: start of each entry in `data`, and the end of the last.
        short: per entry, whether it is a Katakana word that must fill its run (see `matcher_file.is_short_katakana`).

    Raises UsageError if there are too many entries or bytes.
    """
    entries = len(offsets) - 1
    if entries > MAX_ENTRIES:
        raise UsageError(f"{entries} entries: a matcher holds at most {MAX_ENTRIES}")
    if len(data) >= 1 << 31:  # offsets in `data` have 31 bits, and node numbers 32
        raise UsageError(f"entries of {len(data)} bytes: a matcher holds less than 2 GiB")
    block = make_block(int(np.diff(offsets).max(initial=0)))
    tokens, chars = _count_upper_bounds(data, offsets, block)
    oversized = _empty_tries(
        TableSizes(tokens, tokens, chars, len(data) // WORD_BYTES + 2 * tokens, 0), entries if chars else 0, entries
    )
    sizes = TableSizes(*_insert_all(data, offsets, short, oversized, block))
    tries = _empty_tries(sizes, int(np.bitwise_count(oversized.first_pairs).sum()), entries)
    _insert_all(data, offsets, short, tries, block)
    return tries if sizes.duplicates else tries._replace(duplicates=tries.duplicates[:0])


def _empty_tries(sizes: TableSizes, first_pairs: int, entries: int) -> Tries:
    return Tries(
        tokens=np.zeros((_num_rows(sizes.tokens, TOKEN_SLOTS), ROW_BYTES // 8), np.uint64),
        tails=np.zeros(sizes.tails, np.uint64),
        edges=np.zeros((_num_rows(sizes.edges, EDGE_SLOTS), ROW_BYTES // 4), np.uint32),
        chars=np.zeros((_num_rows(sizes.chars, EDGE_SLOTS), ROW_BYTES // 4), np.uint32),
        first_pairs=np.zeros((_FIRST_PAIR_BITS * first_pairs + 7) // 8, np.uint8),
        duplicates=np.full(entries, -1, np.int32),
    )


def _num_rows(used_slots: int, slots_per_row: int) -> int:
    """Return the number of rows for a table; at least one slot stays free, because a search ends there."""
    return int(used_slots / slots_per_row / LOAD_FACTOR) + 1 if used_slots else 0
