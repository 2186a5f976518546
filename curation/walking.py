"""Matching a block of forms with the tries of one language (see `flattrie`)."""

from __future__ import annotations

from typing import Final

import numpy as np

from curation.characters import COMBINING, KATAKANA
from curation.compiled import Bytes, Codes, Int, Ints, Offsets, Words, compiled, inlined
from curation.flattrie import (
    CHILDREN,
    ID_SHIFT,
    NONE,
    SHORT,
    SOME,
    TERMINAL,
    WORD,
    Table,
    Tries,
    find_edge,
    find_edge_from,
    find_token,
    has_head,
    hash_edge,
    hash_token,
    long_head,
    row_of,
    short_head,
    word_at,
)
from curation.forming import Block
from curation.utf8 import next_code

_BLANK: Final = 0x20


@compiled
def find_tokens(tries: Tries, block: Block, texts: Int) -> None:
    """Look up all tokens of a block, and where the edge from each to the next would lie.

    Puts to `block.symbols` the row of each token, or -1; to `block.values` its value; to `block.rows` the home of the
    edge, or -1 when nothing lies there.
    """
    tokens, rests, edges, data = tries.tokens, tries.rests, tries.edges, block.data
    starts, ends, words, rows = block.starts, block.ends, block.words, block.rows
    symbols, values = block.symbols, block.values
    total = block.tokens[texts]
    for place in range(total):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        words[place] = word_at(data, start, end - start)
        rows[place] = row_of(hash_token(words[place], data, start, end), len(tokens))
    for place in range(total):  # fetch the rows of all tokens from memory at once, not each when it is needed
        values[place] = tokens[rows[place], 1] >> np.uint64(32)
    for place in range(total):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        row = find_token(tokens, rests, rows[place], words[place], data, start, end)
        symbols[place] = max(row, -1)
        if row >= 0 and row != rows[place]:
            values[place] = tokens[row, 1] >> np.uint64(32)
    for text in range(texts):
        symbols[block.tokens[text + 1] - 1] = -1
    if len(edges):
        _find_homes(edges, symbols, values, rows, total)
    else:
        rows[:total] = -1


@inlined
def _find_homes(edges: Table, symbols: Offsets, values: Codes, rows: Offsets, total: Int) -> None:
    """Put to `rows` where the edge from each token to the next would lie, or -1 when nothing lies there.

    Without branches: what to branch on comes from memory, and one wrong guess after the other would wait for it.
    """
    for place in range(total - 1):
        node, symbol = symbols[place], symbols[place + 1]
        on = np.int64((node >= 0) & (symbol >= 0) & ((values[place] & CHILDREN) != 0))
        rows[place] = row_of(hash_edge(node, symbol), len(edges)) | (on - 1)
    for place in range(total - 1):
        filled = np.int64(edges[max(rows[place], 0), 0] != 0)
        rows[place] |= filled - 1


@inlined
def collect_tokens(
    tokens: Words,
    edges: Table,
    symbols: Offsets,
    values: Codes,
    rows: Offsets,
    bounds: tuple[Int, Int],
    found: Ints,
    count: Int,
) -> Int:
    """Append the entries whose tokens stand in a row between two places of a block to the `count` found.

    Returns how many there are then; when that is more than `found` has room for, those beyond are missing in it.
    """
    for place in range(bounds[0], bounds[1]):
        if symbols[place] < 0:
            continue
        value = np.int64(values[place])
        if value & TERMINAL:
            if count < len(found):
                found[count] = value >> ID_SHIFT
            count += 1
        if rows[place] < 0:
            continue
        row = find_edge_from(edges, rows[place], symbols[place], symbols[place + 1])
        follower = place + 1
        while row >= 0:
            value = np.int64(edges[row, 2])
            if value & TERMINAL:
                if count < len(found):
                    found[count] = value >> ID_SHIFT
                count += 1
            follower += 1  # at the end of a text stands no token
            if not value & CHILDREN or symbols[follower] < 0:
                break
            row = find_edge(edges, len(tokens) + row, symbols[follower])
    return count


@inlined
def _before(data: Bytes, at: Int) -> Int:
    """Return where the character before a place begins."""
    at -= 1
    while data[at] & 0xC0 == 0x80:
        at -= 1
    return at


@inlined
def _lies_well(data: Bytes, start: Int, at: Int, end: Int, short: bool, kinds: Bytes) -> bool:
    """Judge an occurrence `data[start:at]` that does not end with a space: a character follows it, and one precedes."""
    follower = kinds[next_code(data, at, end)[0]]
    if follower & COMBINING:
        return False
    if not short:
        return True
    start = _before(data, start)
    while kinds[next_code(data, start, end)[0]] & COMBINING:
        start = _before(data, start)
    return not (kinds[next_code(data, start, end)[0]] | follower) & KATAKANA


@inlined
def collect_chars(
    chars: Table,
    starts: tuple[Bytes, Bytes],
    data: Bytes,
    bounds: tuple[Int, Int],
    kinds: Bytes,
    found: Ints,
    count: Int,
) -> Int:
    """Append the entries whose characters stand in a row in the form between two places, as `collect_tokens` does.

    With `kinds`, the table of characters, an occurrence must lie well (the rules `worldwide`); empty, it need not.
    """
    start, end = bounds
    firsts, heads = starts
    while start < end:
        first = firsts[data[start]]
        if first == SOME:
            word = word_at(data, start, WORD)
            first = has_head(heads, short_head(word)) | has_head(heads, long_head(word))
        if first == NONE:
            start += 1
            continue
        code, after = next_code(data, start, end)
        at = after
        row = find_edge(chars, 0, code)
        while row >= 0:
            value = np.int64(chars[row, 2])
            if value & TERMINAL:
                free = len(kinds) == 0 or code == _BLANK
                if free or _lies_well(data, start, at, end, bool(value & SHORT), kinds):
                    if count < len(found):
                        found[count] = value >> ID_SHIFT
                    count += 1
            if not value & CHILDREN or at == end:
                break
            code, at = next_code(data, at, end)
            row = find_edge(chars, row + 1, code)
        start = after
    return count
