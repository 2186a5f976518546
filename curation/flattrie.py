"""Tries in flat arrays: all forms of one language in a few open-addressing tables, filled and walked by compiled loops.

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

from curation.characters import COMBINING, KATAKANA
from curation.compiled import Int, compiled, inlined
from curation.forming import Block, Bytes, Codes, Ints, Offsets, decode, make_block, next_code, split

Table = npt.NDArray[np.uint32]
Words = npt.NDArray[np.uint64]

TERMINAL: Final = 1
CHILDREN: Final = 2
SHORT: Final = 4
ID_SHIFT: Final = 3
NONE, LONG, ANY = range(3)
MOST_ENTRIES: Final = 1 << 29

_HEAD: Final = 3  # bytes that `heads` is asked for
_LOAD: Final = 0.6  # of the final tables; fuller ones are smaller and slower
_WORD: Final = 8  # bytes of a token that are read, hashed and compared at a time
_REST: Final = _WORD + 2  # added to the place of a token's rest
_BLANK: Final = 0x20


class Tries(NamedTuple):
    """The arrays of both tries; see above.

    Attributes:
        firsts: of every byte, whether a form in `chars` begins with it: NONE, LONG or, when one of them has less than
            three bytes, ANY.
        heads: a bitmap over a hash of three bytes: whether a form in `chars` may begin with them.
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
def _row(mixed: Int, size: Int) -> Int:
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@inlined
def _word(data: Bytes, start: Int, size: Int) -> Int:
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
    if size < _WORD:
        word &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    return word


@inlined
def _mix(first: Int, second: Int, third: Int) -> Int:
    """Hash three numbers of 32 bits; the upper half is strongly universal (multilinear hashing, Lemire 2013)."""
    mixed = np.uint64(first) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(second) * np.uint64(0xD6E8FEB86659FD93)
    return mixed + np.uint64(third) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(0x165667B19E3779F9)


@inlined
def _hash_token(first: Int, data: Bytes, start: Int, end: Int) -> Int:
    low = np.uint64(0xFFFFFFFF)
    key = _mix(first & low, first >> np.uint64(32), end - start)
    for at in range(start + _WORD, end, _WORD):
        word = _word(data, at, end - at)
        key = _mix(word & low, word >> np.uint64(32), key >> np.uint64(32))
    return key


@inlined
def _hash_edge(node: Int, symbol: Int) -> Int:
    return _mix(node, symbol, 0)


@inlined
def _head(data: Bytes, start: Int) -> Int:
    """Return a hash of three bytes in 16 bits."""
    head = np.uint32(data[start]) | np.uint32(data[start + 1]) << 8 | np.uint32(data[start + 2]) << 16
    return np.uint32(np.uint32(head) * np.uint32(0x9E3779B1)) >> np.uint32(16)


@inlined
def _has_rest(rests: Words, place: Int, data: Bytes, start: Int, end: Int) -> bool:
    """Tell whether what lies at a place of `rests` is that of the token `data[start:end]`."""
    if rests[place] != np.uint64(end - start):
        return False
    for at in range(start + _WORD, end, _WORD):
        place += 1
        if rests[place] != _word(data, at, end - at):
            return False
    return True


@inlined
def _find_token(tokens: Words, rests: Words, row: Int, first: Int, data: Bytes, start: Int, end: Int) -> Int:
    """Return the row of a token that would lie at `row` or behind it, or -1 minus the free row where it would go."""
    size = len(tokens)
    length = end - start
    while True:
        place = np.int64(tokens[row, 1] & np.uint64(0xFFFFFFFF))
        if place == 0:
            return -1 - row
        if tokens[row, 0] == first:
            if length <= _WORD:
                if place == length + 1:
                    return row
            elif place >= _REST and _has_rest(rests, place - _REST, data, start, end):
                return row
        row = row + 1 if row + 1 < size else 0


@inlined
def _find_edge(table: Table, row: Int, node: Int, symbol: Int) -> Int:
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
    return _find_edge(table, _row(_hash_edge(node, symbol), len(table)), node, symbol)


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
            head = _head(data, start)
            tries.heads[head >> np.uint32(3)] |= np.uint8(1 << (head & 7))
            tries.firsts[data[start]] = max(tries.firsts[data[start]], LONG if end - start >= _HEAD else ANY)
            row, chars = _plant_chars(tries, block.codes, decode(data, start, end, block.codes))
            used_chars += chars
            ended = _ended(np.int64(tries.chars[row, 2]), entry, short[entry], tries.twins)
            if ended < 0:
                doubled += 1
            else:
                tries.chars[row, 2] = np.uint32(ended)
    return used_tokens, used_edges, used_chars, written, doubled


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
        first = _word(data, start, end - start)
        home = _row(_hash_token(first, data, start, end), len(tokens))
        symbol = np.int64(_find_token(tokens, tries.rests, home, first, data, start, end))
        if symbol < 0:
            symbol = -1 - symbol
            tokens[symbol, 0] = first
            tokens[symbol, 1] = np.uint64(end - start + 1 if end - start <= _WORD else written + _REST)
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
    if end - start > _WORD:
        rests[place] = np.uint64(end - start)
        place += 1
        for at in range(start + _WORD, end, _WORD):
            rests[place] = _word(data, at, end - at)
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
    used = _plant(data, offsets, short, _empty(tokens, tokens, chars, len(data) // _WORD + 2 * tokens, entries), block)
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
        heads=np.zeros((1 << 16) // 8, np.uint8),
        twins=np.full(entries, -1, np.int32),
    )


@compiled
def find_tokens(tries: Tries, block: Block, texts: Int) -> None:
    """Look up all tokens of a block, and where the edge from each to the next would lie.

    Puts to `block.symbols` the row of each token, or -1; to `block.values` its value; to `block.rows` the home of the
    edge, or -1 when there is none.
    """
    tokens, rests, edges, data = tries.tokens, tries.rests, tries.edges, block.data
    starts, ends, words, rows = block.starts, block.ends, block.words, block.rows
    symbols, values = block.symbols, block.values
    total = block.tokens[texts]
    for place in range(total):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        words[place] = _word(data, start, end - start)
        rows[place] = _row(_hash_token(words[place], data, start, end), len(tokens))
    for place in range(total):  # fetch the rows of all tokens from memory at once, not each when it is needed
        values[place] = tokens[rows[place], 1] >> np.uint64(32)
    for place in range(total):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        row = _find_token(tokens, rests, rows[place], words[place], data, start, end)
        symbols[place] = max(row, -1)
        if row >= 0 and row != rows[place]:
            values[place] = tokens[row, 1] >> np.uint64(32)
    for text in range(texts):
        symbols[block.tokens[text + 1] - 1] = -1
    for place in range(total - 1):
        on = (symbols[place] >= 0) & (symbols[place + 1] >= 0) & ((values[place] & CHILDREN) != 0)
        rows[place] = _row(_hash_edge(symbols[place], symbols[place + 1]), len(edges)) if on else -1
    for place in range(total - 1):
        if rows[place] >= 0 and edges[rows[place], 0] == 0:
            rows[place] = -1


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
        row = _find_edge(edges, rows[place], symbols[place], symbols[place + 1])
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
        if first == LONG:
            head = _head(data, start)
            first = heads[head >> np.uint32(3)] >> (head & 7) & 1
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
