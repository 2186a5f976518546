"""Matching a block of forms with the tries of one language (see `flattrie`).

Both tries are walked level by level, all places of the block at once: what the rows of a table hold comes from memory,
and a place that waited for its own next row would wait for each in turn. For the same reason nothing here branches on
what is found. A hit is `text << 32 | value`, the text being its number in the block.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from curation.jit.compiler import Bytes, Codes, Int, Offsets, Words, borrowing, compiled, inlined
from curation.jit.prefetch import prefetch
from curation.jit.utf8 import BLANK, next_code
from curation.matching.char_tables import COMBINING, KATAKANA
from curation.matching.tokenizer import BLOCK_TEXTS, Block
from curation.matching.trie import (
    CHILDREN,
    CODE,
    END,
    ID_SHIFT,
    ROOT,
    SHORT,
    TERMINAL,
    TOKEN_SLOTS,
    TWIN,
    VALUE_SHIFT,
    Table,
    Tries,
    edge_row,
    find_edge,
    find_token,
    has_head,
    hash_token,
    row_of,
    word_at,
)

_TOKEN_SLOTS: Final = np.uint64(TOKEN_SLOTS)
_KIND_SHIFT: Final = 24  # of what a character is, above its code point


class Room(NamedTuple):
    """Room to work.

    Attributes:
        words, symbols, values: numbers of each token.
        codes: the characters of the forms, `kind << _KIND_SHIFT | code point`, an END behind each form.
        chars: where the characters of each text begin in `codes`, and the end of the last.
        places, nodes, owners, rows: of the active places, where in `codes` or `symbols` they are, the node they have
            come to, their text, and the row where the next edge would lie.
    """

    words: Words
    symbols: Offsets
    values: Codes
    codes: Codes
    chars: Offsets
    places: Offsets
    nodes: Offsets
    owners: Offsets
    rows: Offsets


@compiled
def make_room(tokens: Int, codes: Int) -> Room:
    """Make room for blocks of so many tokens, and of forms of so many characters."""
    active = max(tokens, 2 * codes)
    return Room(
        np.empty(tokens, np.uint64),
        np.empty(tokens, np.int64),
        np.empty(tokens, np.uint32),
        np.empty(codes + BLOCK_TEXTS + 1, np.uint32),
        np.empty(BLOCK_TEXTS + 1, np.int64),
        np.empty(active + 1, np.int64),
        np.empty(active + 1, np.int64),
        np.empty(active + 1, np.int64),
        np.empty(active + 1, np.int64),
    )


@borrowing
def size_of(block: Block, texts: Int) -> tuple[Int, Int]:
    """Return how many tokens a block has, and at most how many characters its forms."""
    codes = 0
    for text in range(texts):
        codes += block.forms[2 * text + 1] - block.forms[2 * text]
    return block.tokens[texts], codes


@borrowing
def walk(tries: Tries, kinds: Bytes, block: Block, texts: Int, room: Room, hits: Words) -> Int:
    """Put the hits of all texts of a block to `hits` and return their number; not all are there when it fills the room.

    With `kinds`, the table of characters, an occurrence must lie well (the rules `worldwide`); empty, it need not.
    """
    count = 0
    if len(tries.tokens):
        _find_tokens(tries, block, block.tokens[texts], room)
        active, count = _seed_tokens(tries.edges, block.tokens, texts, room, hits)
        while active > 0:
            active, count = _step_tokens(tries.edges, TOKEN_SLOTS * len(tries.tokens), room, active, hits, count)
    if len(tries.chars):
        _decode(block, texts, kinds, room)
        active = _seed_chars(tries.chars, tries.heads, texts, room)
        depth = 1
        while active > 0:
            active, count = _step_chars(tries.chars, room, active, depth, hits, count)
            depth += 1
    if len(tries.twins):
        for place in range(min(count, len(hits))):
            count = _add_twins(tries, hits, place, count)
    return count


@borrowing
def _find_tokens(tries: Tries, block: Block, total: Int, room: Room) -> None:
    """Look up all tokens of a block: puts to `symbols` the slot of each, or -1, and to `values` its value."""
    tokens, rests, data = tries.tokens, tries.rests, block.data
    starts, ends, words, rows = block.starts, block.ends, room.words, room.rows
    symbols, values = room.symbols, room.values
    for place in range(total):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        words[place] = word_at(data, start, end - start)
        rows[place] = row_of(hash_token(words[place], data, start, end), len(tokens))
        prefetch(tokens, rows[place])
    for place in range(total):
        start, end = np.int64(starts[place]), np.int64(ends[place])
        slot = find_token(tokens, rests, rows[place], words[place], data, start, end)
        symbols[place] = slot
        at = np.uint64(max(slot, 0))
        value = tokens[at // _TOKEN_SLOTS, _TOKEN_SLOTS + at % _TOKEN_SLOTS] >> VALUE_SHIFT
        values[place] = value if slot >= 0 else np.uint64(0)


@borrowing
def _seed_tokens(edges: Table, bounds: Offsets, texts: Int, room: Room, hits: Words) -> tuple[Int, Int]:
    """Take the entries of one token, and all places where a second may follow; return the numbers of both."""
    symbols, values = room.symbols, room.values
    places, nodes, owners, rows = room.places, room.nodes, room.owners, room.rows
    active: Int = 0
    count: Int = 0
    full = len(hits) - 1
    for text in range(texts):
        last = bounds[text + 1] - 1
        symbols[last] = -1  # at the end of a text stands no token
        for place in range(bounds[text], last):
            value = values[place]
            hits[min(count, full)] = np.uint64(text) << VALUE_SHIFT | np.uint64(value)
            count += np.int64(value & TERMINAL)
            places[active], nodes[active], owners[active] = place + 1, symbols[place], text
            rows[active] = edge_row(edges, symbols[place], symbols[place + 1])
            prefetch(edges, rows[active])
            active += np.int64(((value & CHILDREN) != 0) & (symbols[place + 1] >= 0))
    return active, count


@borrowing
def _step_tokens(edges: Table, above: Int, room: Room, active: Int, hits: Words, count: Int) -> tuple[Int, Int]:
    """Follow the active places by one token; return how many are active then, and the number of hits."""
    symbols, places, nodes, owners, rows = room.symbols, room.places, room.nodes, room.owners, room.rows
    going: Int = 0
    full = len(hits) - 1
    for one in range(active):
        place, text = places[one], owners[one]
        slot, value = find_edge(edges, rows[one], nodes[one], symbols[place])
        hits[min(count, full)] = np.uint64(text) << VALUE_SHIFT | np.uint64(value)
        count += value & TERMINAL
        places[going], nodes[going], owners[going] = place + 1, above + slot, text
        rows[going] = edge_row(edges, above + slot, symbols[place + 1])
        prefetch(edges, rows[going])
        going += np.int64(((value & CHILDREN) != 0) & (symbols[place + 1] >= 0))
    return going, count


@borrowing
def _decode(block: Block, texts: Int, kinds: Bytes, room: Room) -> None:
    """Put the characters of all forms to `codes`; their kinds are 0 without `kinds`."""
    data, forms, codes, chars = block.data, block.forms, room.codes, room.chars
    strict = len(kinds) > 0
    count = 0
    for text in range(texts):
        chars[text] = count
        at, end = forms[2 * text], forms[2 * text + 1]
        while at < end:
            code, at = next_code(data, at, end)
            kind = np.uint32(kinds[code]) if strict else np.uint32(0)
            codes[count] = code | kind << np.uint32(_KIND_SHIFT)
            count += 1
        codes[count] = END
        count += 1
    chars[texts] = count
    codes[count] = END  # what stands behind is looked at


@borrowing
def _seed_chars(chars: Table, heads: Bytes, texts: Int, room: Room) -> Int:
    """Make all places active where an entry may begin, and return their number."""
    codes, bounds = room.codes, room.chars
    places, nodes, owners, rows = room.places, room.nodes, room.owners, room.rows
    active = 0
    for text in range(texts):
        for place in range(bounds[text], bounds[text + 1] - 1):
            first, second = np.int64(codes[place] & CODE), np.int64(codes[place + 1] & CODE)
            places[active], nodes[active], owners[active] = place, ROOT, text
            active += has_head(heads, first, END)
            places[active], nodes[active], owners[active] = place + 1, first, text
            active += has_head(heads, first, second)
    for one in range(active):
        rows[one] = edge_row(chars, nodes[one], codes[places[one]] & CODE)
        prefetch(chars, rows[one])
    return active


@borrowing
def _step_chars(chars: Table, room: Room, active: Int, depth: Int, hits: Words, count: Int) -> tuple[Int, Int]:
    """Follow the active places by one character; return how many are active then, and the number of hits.

    What stands behind an occurrence must be no combining mark, unless it ends with a space.
    """
    codes, places, nodes, owners, rows = room.codes, room.places, room.nodes, room.owners, room.rows
    going: Int = 0
    full = len(hits) - 1
    for one in range(active):
        place, node, text = places[one], nodes[one], owners[one]
        code, follower = codes[place], codes[place + 1]
        slot, value = find_edge(chars, rows[one], node, code & CODE)
        well = np.int64((follower >> _KIND_SHIFT & COMBINING == 0) | (code & CODE == BLANK))
        if value & SHORT and well:
            well = _fills_run(codes, place - depth + (node == ROOT), follower)
        hits[min(count, full)] = np.uint64(text) << VALUE_SHIFT | np.uint64(value)
        count += value & TERMINAL & well
        places[going], nodes[going], owners[going] = place + 1, ROOT + 1 + slot, text
        rows[going] = edge_row(chars, ROOT + 1 + slot, follower & CODE)
        prefetch(chars, rows[going])
        going += np.int64((value & CHILDREN) != 0)
    return going, count


@borrowing
def _fills_run(codes: Codes, start: Int, follower: Int) -> Int:
    """Return 1 when a short Katakana word that begins at a place has Katakana on neither side, else 0."""
    start -= 1
    while codes[start] >> _KIND_SHIFT & COMBINING:  # marks belong to the letter before them
        start -= 1
    return np.int64((codes[start] | follower) >> _KIND_SHIFT & KATAKANA == 0)


@inlined
def _add_twins(tries: Tries, hits: Words, place: Int, count: Int) -> Int:
    """Append a hit for each entry that shares the form of one; return the number of hits."""
    twins = tries.twins
    if hits[place] & np.uint64(TWIN):
        text = hits[place] >> VALUE_SHIFT << VALUE_SHIFT
        twin = twins[np.int64(hits[place] & np.uint64(0xFFFFFFFF)) >> ID_SHIFT]
        while twin >= 0:
            hits[min(count, len(hits) - 1)] = text | np.uint64(twin) << np.uint64(ID_SHIFT)
            count += 1
            twin = twins[twin]
    return count
