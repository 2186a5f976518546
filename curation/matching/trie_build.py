"""Filling the tries of one language with the forms of its entries (see `flattrie`)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.errors import UsageError
from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, Words, compiled, inlined
from curation.jit.utf8 import BLANK, decode
from curation.matching.tokenizer import Block, make_block, split
from curation.matching.trie import (
    CHILDREN,
    END,
    ID_SHIFT,
    MORE,
    MOST_ENTRIES,
    PASSED,
    PLACE,
    REST,
    ROOT,
    ROW,
    SHORT,
    SLOTS,
    TERMINAL,
    TOKEN_SLOTS,
    TWIN,
    VALUE_SHIFT,
    VALUES,
    WORD,
    Table,
    Tries,
    edge_row,
    find_edge,
    find_token,
    hash_token,
    head_bit,
    row_of,
    word_at,
)

LOAD: Final = 0.6  # of the final tables; fuller ones are smaller and slower
_HEAD_BITS: Final = 8  # of `heads`, for each pair of characters that forms begin with


class Used(NamedTuple):
    """How much of tables is used: slots of tokens, edges and characters, numbers of rests, entries that are twins."""

    tokens: int
    edges: int
    chars: int
    rests: int
    twins: int


@inlined
def _is_bounded(data: Bytes, start: Int, end: Int) -> bool:
    """Tell whether a form begins and ends with a space, so that it is a sequence of tokens."""
    return bool(end - start > 1 and data[start] == BLANK and data[end - 1] == BLANK)


@compiled
def _measure(data: Bytes, offsets: Offsets, block: Block) -> tuple[Int, Int]:
    """Return how many tokens the bounded forms have, and how many characters the others have at most."""
    tokens = chars = 0
    for entry in range(len(offsets) - 1):
        start, end = offsets[entry], offsets[entry + 1]
        if _is_bounded(data, start, end):
            tokens += split(data, start, end, block.starts, block.ends, 0)
        else:
            for at in range(start, end):
                chars += data[at] & 0xC0 != 0x80
    return tokens, chars


@inlined
def _ended(value: Int, entry: Int, short: bool, twins: Ints) -> Int:
    """Return the value of a node where the form of an entry ends, of which another may be the twin."""
    if value & TERMINAL:
        first = value >> ID_SHIFT
        twins[entry] = twins[first]
        twins[first] = entry
        return value | TWIN
    return value | entry << ID_SHIFT | TERMINAL | (SHORT if short else 0)


@compiled
def _plant(
    data: Bytes, offsets: Offsets, short: npt.NDArray[np.bool_], tries: Tries, block: Block
) -> tuple[Int, Int, Int, Int, Int]:
    """Fill empty tables with forms; return what `Used` holds. `data` goes on for some bytes behind the last form."""
    used_tokens = used_edges = used_chars = written = doubled = 0
    for entry in range(len(offsets) - 1):
        start, end = offsets[entry], offsets[entry + 1]
        if start == end:
            continue
        if _is_bounded(data, start, end):
            count = split(data, start, end, block.starts, block.ends, 0)
            slot, tokens, edges, written = _plant_tokens(tries, data, block.starts, block.ends, count, written)
            used_tokens += tokens
            used_edges += edges
            if count == 1:
                value = _token_value(tries.tokens, slot)
                ended = _ended(value, entry, False, tries.twins)
                _say_of_token(tries.tokens, slot, ended)
            else:
                value = np.int64(tries.edges[slot // SLOTS, VALUES + slot % SLOTS])
                ended = _ended(value, entry, False, tries.twins)
                _say_of_edge(tries.edges, slot, ended)
        else:
            size = decode(data, start, end, block.folded)
            slot, chars = _plant_chars(tries, block.folded, size)
            used_chars += chars
            value = np.int64(tries.chars[slot // SLOTS, VALUES + slot % SLOTS])
            ended = _ended(value, entry, short[entry], tries.twins)
            _say_of_edge(tries.chars, slot, ended)
        doubled += ended & TWIN != 0
    return used_tokens, used_edges, used_chars, written, doubled


@inlined
def _token_value(tokens: Words, slot: Int) -> Int:
    """Return the value of a token."""
    return np.int64(tokens[slot // TOKEN_SLOTS, TOKEN_SLOTS + slot % TOKEN_SLOTS] >> VALUE_SHIFT)


@inlined
def _say_of_token(tokens: Words, slot: Int, bits: Int) -> None:
    """Add bits to the value of a token."""
    tokens[slot // TOKEN_SLOTS, TOKEN_SLOTS + slot % TOKEN_SLOTS] |= np.uint64(bits) << VALUE_SHIFT


@inlined
def _say_of_edge(table: Table, slot: Int, bits: Int) -> None:
    """Add bits to the value of an edge."""
    table[slot // SLOTS, VALUES + slot % SLOTS] |= np.uint32(bits)


@compiled
def _plant_tokens(
    tries: Tries, data: Bytes, starts: Ints, ends: Ints, count: Int, written: Int
) -> tuple[Int, Int, Int, Int]:
    """Add the path of a sequence of tokens.

    Returns the slot where it ends, in `tokens` when it is one token, else in `edges`, how many slots of either are new,
    and how many numbers of `rests` are written then.
    """
    tokens, edges = tries.tokens, tries.edges
    new_tokens = new_edges = 0
    node = slot = np.int64(-1)
    for place in range(count):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        first = word_at(data, start, end - start)
        home = row_of(hash_token(first, data, start, end), len(tokens))
        symbol = np.int64(find_token(tokens, tries.rests, home, first, data, start, end))
        if symbol < 0:
            symbol = _free_token(tokens, home)
            tokens[symbol // TOKEN_SLOTS, symbol % TOKEN_SLOTS] = first
            where = end - start + 1 if end - start <= WORD else written + REST
            tokens[symbol // TOKEN_SLOTS, TOKEN_SLOTS + symbol % TOKEN_SLOTS] |= np.uint64(where)
            written = _write_rest(tries.rests, written, data, start, end)
            new_tokens += 1
        if place == 0:
            node = slot = symbol
            continue
        if place == 1:
            _say_of_token(tokens, slot, CHILDREN)
        else:
            _say_of_edge(edges, slot, CHILDREN)
        slot, new = _plant_edge(edges, node, symbol)
        new_edges += new
        node = TOKEN_SLOTS * len(tokens) + slot
    return slot, new_tokens, new_edges, written


@inlined
def _free_token(tokens: Words, row: Int) -> Int:
    """Return the first free slot in a row or behind it, and tell the rows in between that they are passed over."""
    while True:
        for number in range(TOKEN_SLOTS):
            if tokens[row, TOKEN_SLOTS + number] & PLACE == 0:
                return np.int64(TOKEN_SLOTS * row + number)
        _say_of_token(tokens, TOKEN_SLOTS * row, PASSED)
        row = row + 1 if row + 1 < len(tokens) else 0


@inlined
def _plant_edge(table: Table, node: Int, symbol: Int) -> tuple[Int, Int]:
    """Return the slot of an edge, and 1 when it is new."""
    row = edge_row(table, node, symbol)
    slot, _ = find_edge(table, row, node, symbol)
    if slot >= 0:
        return slot, 0
    while True:
        for number in range(SLOTS):
            if table[row, number] == 0:
                table[row, number] = np.uint32(node + 1)
                table[row, SLOTS + number] = np.uint32(symbol)
                return np.int64(SLOTS * row + number), 1
        table[row, MORE] = 1
        row = row + 1 if row + 1 < len(table) else 0


@compiled
def _write_rest(rests: Words, place: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Write the rest of a token that has one; return where the next goes."""
    if end - start > WORD:
        rests[place] = np.uint64(end - start)
        place += 1
        for at in range(start + WORD, end, WORD):
            rests[place] = word_at(data, at, end - at)
            place += 1
    return place


@compiled
def _plant_chars(tries: Tries, codes: Codes, size: Int) -> tuple[Int, Int]:
    """Add the path of a sequence of characters; return the slot where it ends and how many slots are new."""
    chars, heads = tries.chars, tries.heads
    bit = head_bit(heads, codes[0], codes[1] if size > 1 else END)
    heads[bit >> np.uint64(3)] |= np.uint8(np.uint64(1) << (bit & np.uint64(7)))
    if size == 1:
        return _plant_edge(chars, ROOT, codes[0])
    node = np.int64(codes[0])
    slot = np.int64(-1)
    new = 0
    for at in range(1, size):
        if at > 1:
            _say_of_edge(chars, slot, CHILDREN)
        slot, added = _plant_edge(chars, node, codes[at])
        new += added
        node = ROOT + 1 + slot
    return slot, new


def build(data: Bytes, offsets: Offsets, short: npt.NDArray[np.bool_]) -> Tries:
    """Make the tries of forms.

    Args:
        data: the UTF-8 bytes of all forms, and some more behind them.
        offsets: where each form begins, and the end of the last.
        short: of each entry, whether it is a Katakana word too short to match inside another.

    They are filled twice: into roomy tables to count what they hold, then into tables of the right size. Raises
    UsageError when they are too many.
    """
    entries = len(offsets) - 1
    if entries > MOST_ENTRIES:
        raise UsageError(f"{entries} entries: a matcher holds at most {MOST_ENTRIES}")
    if len(data) >= 1 << 31:  # places in it are numbers of 31 bits, and nodes of 32
        raise UsageError(f"entries of {len(data)} bytes: a matcher holds less than 2 GiB")
    block = make_block(int(np.diff(offsets).max(initial=0)))
    tokens, chars = _measure(data, offsets, block)
    roomy = _empty(Used(tokens, tokens, chars, len(data) // WORD + 2 * tokens, 0), entries if chars else 0, entries)
    used = Used(*_plant(data, offsets, short, roomy, block))
    tries = _empty(used, int(np.bitwise_count(roomy.heads).sum()), entries)
    _plant(data, offsets, short, tries, block)
    return tries if used.twins else tries._replace(twins=tries.twins[:0])


def _empty(used: Used, heads: int, entries: int) -> Tries:
    return Tries(
        tokens=np.zeros((_rows(used.tokens, TOKEN_SLOTS), ROW // 8), np.uint64),
        rests=np.zeros(used.rests, np.uint64),
        edges=np.zeros((_rows(used.edges, SLOTS), ROW // 4), np.uint32),
        chars=np.zeros((_rows(used.chars, SLOTS), ROW // 4), np.uint32),
        heads=np.zeros((_HEAD_BITS * heads + 7) // 8, np.uint8),
        twins=np.full(entries, -1, np.int32),
    )


def _rows(used: int, slots: int) -> int:
    """Return how many rows take so many slots and leave one free, where a search ends."""
    return int(used / slots / LOAD) + 1 if used else 0
