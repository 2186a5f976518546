"""Filling the tries of one language with the forms of its entries (see `flattrie`)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from curation.compiled import Bytes, Codes, Int, Ints, Offsets, Words, compiled, inlined
from curation.flattrie import (
    ANY,
    CHILDREN,
    ID_SHIFT,
    LONG_HEADS,
    MOST_ENTRIES,
    REST,
    SHORT,
    SHORT_HEADS,
    SOME,
    TERMINAL,
    WORD,
    Tries,
    find_edge,
    find_token,
    hash_token,
    long_head,
    row_of,
    short_head,
    word_at,
)
from curation.forming import Block, make_block, split
from curation.utf8 import decode

_LOAD: Final = 0.6  # of the final tables; fuller ones are smaller and slower
_BLANK: Final = 0x20


@inlined
def _is_bounded(data: Bytes, start: Int, end: Int) -> bool:
    """Tell whether a form begins and ends with a space, so that it is a sequence of tokens."""
    return bool(end - start > 1 and data[start] == _BLANK and data[end - 1] == _BLANK)


@compiled
def _measure(data: Bytes, offsets: Offsets, block: Block) -> tuple[Int, Int]:
    """Return how many tokens the bounded forms have, and how many characters the others have at most."""
    tokens = chars = 0
    for entry in range(len(offsets) - 1):
        start, end = offsets[entry], offsets[entry + 1]
        if _is_bounded(data, start, end):
            tokens += split(data, start, end, block.starts, block.ends, 0)
        else:
            chars += end - start
    return tokens, chars


@inlined
def _ended(value: Int, entry: Int, short: bool, twins: Ints) -> Int:
    """Return the value of a node where the form of an entry ends; -1 when that of another does, whose twin it is."""
    if value & TERMINAL:
        first = value >> ID_SHIFT
        twins[entry] = twins[first]
        twins[first] = entry
        return -1
    return value | entry << ID_SHIFT | TERMINAL | (SHORT if short else 0)


@compiled
def _plant(
    data: Bytes, offsets: Offsets, short: npt.NDArray[np.bool_], tries: Tries, block: Block
) -> tuple[Int, Int, Int, Int, Int]:
    """Fill empty tables with forms; return the rows used of tokens, edges, chars, the numbers of rests, the twins.

    `data` goes on for some bytes behind the last form.
    """
    used_tokens = used_edges = used_chars = written = doubled = 0
    for entry in range(len(offsets) - 1):
        start, end = offsets[entry], offsets[entry + 1]
        if start == end:
            continue
        if _is_bounded(data, start, end):
            count = split(data, start, end, block.starts, block.ends, 0)
            row, tokens, edges, written = _plant_tokens(tries, data, block.starts, block.ends, count, written)
            used_tokens += tokens
            used_edges += edges
            at_token = count == 1
            value = tries.tokens[row, 1] >> np.uint64(32) if at_token else np.uint64(tries.edges[row, 2])
            ended = _ended(np.int64(value), entry, False, tries.twins)
            if ended < 0:
                doubled += 1
            elif at_token:
                tries.tokens[row, 1] |= np.uint64(ended) << np.uint64(32)
            else:
                tries.edges[row, 2] = np.uint32(ended)
        else:
            _mark_head(data, start, end, tries.firsts, tries.heads)
            row, chars = _plant_chars(tries, block.codes, decode(data, start, end, block.codes))
            used_chars += chars
            ended = _ended(np.int64(tries.chars[row, 2]), entry, short[entry], tries.twins)
            if ended < 0:
                doubled += 1
            else:
                tries.chars[row, 2] = np.uint32(ended)
    return used_tokens, used_edges, used_chars, written, doubled


@compiled
def _mark_head(data: Bytes, start: Int, end: Int, firsts: Bytes, heads: Bytes) -> None:
    """Mark with what bytes a form of `chars` begins."""
    byte, word = int(data[start]), word_at(data, start, WORD)
    firsts[byte] = max(firsts[byte], SOME if end - start >= 3 else ANY)
    bit: Int = long_head(word) if end - start >= 6 else short_head(word)
    heads[bit >> np.uint64(3)] |= np.uint8(np.uint64(1) << (bit & np.uint64(7)))


@compiled
def _plant_tokens(
    tries: Tries, data: Bytes, starts: Ints, ends: Ints, count: Int, written: Int
) -> tuple[Int, Int, Int, Int]:
    """Add the path of a sequence of tokens.

    Returns the row where it ends, in `tokens` when it is one token, else in `edges`, how many rows of either are new,
    and how many numbers of `rests` are written then.
    """
    tokens, edges = tries.tokens, tries.edges
    new_tokens = new_edges = 0
    node = row = np.int64(-1)
    for place in range(count):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        first = word_at(data, start, end - start)
        home = row_of(hash_token(first, data, start, end), len(tokens))
        symbol = np.int64(find_token(tokens, tries.rests, home, first, data, start, end))
        if symbol < 0:
            symbol = -1 - symbol
            tokens[symbol, 0] = first
            tokens[symbol, 1] = np.uint64(end - start + 1 if end - start <= WORD else written + REST)
            written = _write_rest(tries.rests, written, data, start, end)
            new_tokens += 1
        if place == 0:
            node = row = symbol
            continue
        if place == 1:
            tokens[row, 1] |= np.uint64(CHILDREN) << np.uint64(32)
        else:
            edges[row, 2] |= np.uint32(CHILDREN)
        row = np.int64(find_edge(edges, node, symbol))
        if row < 0:
            row = -1 - row
            edges[row, 0] = np.uint32(node + 1)
            edges[row, 1] = np.uint32(symbol)
            new_edges += 1
        node = len(tokens) + row
    return row, new_tokens, new_edges, written


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
    """Add the path of a sequence of characters; return the row where it ends and how many rows are new."""
    chars = tries.chars
    new = 0
    node = row = np.int64(0)
    for at in range(size):
        if at:
            chars[row, 2] |= np.uint32(CHILDREN)
        row = np.int64(find_edge(chars, node, codes[at]))
        if row < 0:
            row = -1 - row
            chars[row, 0] = np.uint32(node + 1)
            chars[row, 1] = codes[at]
            new += 1
        node = row + 1
    return row, new


def build(data: Bytes, offsets: Offsets, short: npt.NDArray[np.bool_]) -> Tries:
    """Make the tries of forms.

    Args:
        data: the UTF-8 bytes of all forms, and some more behind them.
        offsets: where each form begins, and the end of the last.
        short: of each entry, whether it is a Katakana word too short to match inside another.

    They are filled twice: into roomy tables to count what they hold, then into tables of the right size.
    """
    entries = len(offsets) - 1
    if entries > MOST_ENTRIES:
        raise ValueError(f"{entries} entries: a matcher holds at most {MOST_ENTRIES}")
    block = make_block(int(np.diff(offsets).max(initial=0)))
    tokens, chars = _measure(data, offsets, block)
    used = _plant(data, offsets, short, _empty(tokens, tokens, chars, len(data) // WORD + 2 * tokens, entries), block)
    tries = _empty(*used[:4], entries)
    *_, doubled = _plant(data, offsets, short, tries, block)
    return tries if doubled else tries._replace(twins=tries.twins[:0])


def _empty(tokens: int, edges: int, chars: int, rests: int, entries: int) -> Tries:
    # At least one row stays free, where a search ends.
    rows = [int(used / _LOAD) + 1 if used else 0 for used in (tokens, edges, chars)]
    return Tries(
        tokens=np.zeros((rows[0], 2), np.uint64),
        rests=np.zeros(rests, np.uint64),
        edges=np.zeros((rows[1], 3), np.uint32),
        chars=np.zeros((rows[2], 3), np.uint32),
        firsts=np.zeros(256, np.uint8),
        heads=np.zeros((SHORT_HEADS + LONG_HEADS) // 8, np.uint8),
        twins=np.full(entries, -1, np.int32),
    )
