"""Search a block of normalized texts for the entries in the tries of one language (see `trie` for the layout).

An entry may start at any token or character of a text. Such a position is *active* as long as a path of the trie
follows the text from there. All active positions of the block advance one level per pass, with prefetching, so that
cache misses overlap: a pass reads the rows that the previous pass prefetched, and prefetches the rows of the next.

    pass 1   look up every token (or first character); keep positions whose node has children
    pass n   for every active position: find the edge in its row, record a hit if an entry ends at the node, and if
             edges start from the node, keep the position, with the row of the next edge being prefetched

For the same reason the loops do not branch on results: whether an edge exists cannot be predicted, and a mispredicted
branch would discard the loads in flight. Instead a hit is always written, and the counter advanced by 0 or 1. A hit is
`text << 32 | value`, where `text` is the index of the text in the block.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from curation.jit.compiler import Bytes, Codes, Int, Offsets, Words, jit, jit_inline, jit_no_refcount
from curation.jit.prefetch import prefetch
from curation.jit.utf8 import BLANK, next_code
from curation.matching.char_tables import COMBINING, KATAKANA
from curation.matching.text_block import BLOCK_TEXTS, Block
from curation.matching.trie import (
    CHILDREN,
    CODE_MASK,
    DUPLICATE,
    END_OF_TEXT,
    ID_SHIFT,
    ROOT,
    SHORT_KATAKANA,
    TERMINAL,
    TOKEN_SLOTS,
    VALUE_SHIFT,
    Table,
    Tries,
    edge_row,
    find_edge,
    find_token,
    hash_token,
    load_word,
    may_start_with,
    row_index,
)

_TOKEN_SLOTS: Final = np.uint64(TOKEN_SLOTS)
_KIND_SHIFT: Final = 24  # position of the kind and flags of a character, above its code point


class Workspace(NamedTuple):
    """Scratch space of a search.

    Attributes:
        words, token_slots, values: per token of the block: its first 8 bytes, its slot in `Tries.tokens` or -1, and its
            value there.
        codes: the characters of the normalized texts, `kind << _KIND_SHIFT | code point`; each text is followed by
            END_OF_TEXT.
        code_offsets: start of each text in `codes`, and the end of the last.
        positions, nodes, text_ids, rows: per active position: its index in `token_slots` or `codes`, the node reached,
            the index of its text, and the row where the search for its next edge starts.
    """

    words: Words
    token_slots: Offsets
    values: Codes
    codes: Codes
    code_offsets: Offsets
    positions: Offsets
    nodes: Offsets
    text_ids: Offsets
    rows: Offsets


@jit
def make_workspace(tokens: Int, codes: Int) -> Workspace:
    """Allocate a workspace for blocks of up to `tokens` tokens and `codes` characters."""
    active = max(tokens, 2 * codes)
    return Workspace(
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


@jit_no_refcount
def measure_block(block: Block, num_texts: Int) -> tuple[Int, Int]:
    """Return the number of tokens of a block, and an upper bound of the characters of its normalized texts."""
    codes = 0
    for text in range(num_texts):
        codes += block.spans[2 * text + 1] - block.spans[2 * text]
    return block.token_offsets[num_texts], codes


@jit_no_refcount
def search(tries: Tries, kinds: Bytes, block: Block, num_texts: Int, workspace: Workspace, hits: Words) -> Int:
    """Write the hits of a block to `hits` and return their number; `len(hits)` or more means that it overflowed.

    Args:
        tries: the entries.
        kinds: kinds of characters, with which occurrences must satisfy the boundary rules of `worldwide`; or empty.
        block: normalized texts.
        num_texts: their number.
        workspace: large enough for the block (see `measure_block`).
        hits: receives the hits, in no particular order.
    """
    count = 0
    if len(tries.tokens):
        _look_up_tokens(tries, block, block.token_offsets[num_texts], workspace)
        active, count = _seed_tokens(tries.edges, block.token_offsets, num_texts, workspace, hits)
        while active > 0:
            active, count = _advance_tokens(
                tries.edges, TOKEN_SLOTS * len(tries.tokens), workspace, active, hits, count
            )
    if len(tries.chars):
        _decode_texts(block, num_texts, kinds, workspace)
        active = _seed_chars(tries.chars, tries.first_pairs, num_texts, workspace)
        depth = 1
        while active > 0:
            active, count = _advance_chars(tries.chars, workspace, active, depth, hits, count)
            depth += 1
    if len(tries.duplicates):
        for index in range(min(count, len(hits))):
            count = _add_duplicates(tries, hits, index, count)
    return count


@jit_no_refcount
def _look_up_tokens(tries: Tries, block: Block, num_tokens: Int, workspace: Workspace) -> None:
    """Look up all tokens of a block: write the slot of each, or -1, to `token_slots`, and its value to `values`."""
    tokens, tails, data = tries.tokens, tries.tails, block.data
    starts, ends, words, rows = block.starts, block.ends, workspace.words, workspace.rows
    token_slots, values = workspace.token_slots, workspace.values
    for position in range(num_tokens):
        start, end = np.int64(starts[position]), np.int64(ends[position])
        words[position] = load_word(data, start, end - start)
        rows[position] = row_index(hash_token(words[position], data, start, end), len(tokens))
        prefetch(tokens, rows[position])
    for position in range(num_tokens):
        start, end = np.int64(starts[position]), np.int64(ends[position])
        slot = find_token(tokens, tails, rows[position], words[position], data, start, end)
        token_slots[position] = slot
        at = np.uint64(max(slot, 0))
        value = tokens[at // _TOKEN_SLOTS, _TOKEN_SLOTS + at % _TOKEN_SLOTS] >> VALUE_SHIFT
        values[position] = value if slot >= 0 else np.uint64(0)


@jit_no_refcount
def _seed_tokens(
    edges: Table, token_offsets: Offsets, num_texts: Int, workspace: Workspace, hits: Words
) -> tuple[Int, Int]:
    """Record hits of one token, and activate the positions where a second may follow; return the numbers of both.

    Returns the number of active positions, then of hits.
    """
    token_slots, values = workspace.token_slots, workspace.values
    positions, nodes, text_ids, rows = workspace.positions, workspace.nodes, workspace.text_ids, workspace.rows
    active: Int = 0
    count: Int = 0
    last_hit = len(hits) - 1
    for text in range(num_texts):
        last = token_offsets[text + 1] - 1
        token_slots[last] = -1  # no token follows the last of a text
        for position in range(token_offsets[text], last):
            value = values[position]
            hits[min(count, last_hit)] = np.uint64(text) << VALUE_SHIFT | np.uint64(value)
            count += np.int64(value & TERMINAL)
            positions[active], nodes[active], text_ids[active] = position + 1, token_slots[position], text
            rows[active] = edge_row(edges, token_slots[position], token_slots[position + 1])
            prefetch(edges, rows[active])
            active += np.int64(((value & CHILDREN) != 0) & (token_slots[position + 1] >= 0))
    return active, count


@jit_no_refcount
def _advance_tokens(
    edges: Table, node_base: Int, workspace: Workspace, active: Int, hits: Words, count: Int
) -> tuple[Int, Int]:
    """Advance the active positions by one token; return the number of those still active, and of hits."""
    token_slots, positions, nodes = workspace.token_slots, workspace.positions, workspace.nodes
    text_ids, rows = workspace.text_ids, workspace.rows
    num_next: Int = 0
    last_hit = len(hits) - 1
    for index in range(active):
        position, text = positions[index], text_ids[index]
        slot, value = find_edge(edges, rows[index], nodes[index], token_slots[position])
        hits[min(count, last_hit)] = np.uint64(text) << VALUE_SHIFT | np.uint64(value)
        count += value & TERMINAL
        positions[num_next], nodes[num_next], text_ids[num_next] = position + 1, node_base + slot, text
        rows[num_next] = edge_row(edges, node_base + slot, token_slots[position + 1])
        prefetch(edges, rows[num_next])
        num_next += np.int64(((value & CHILDREN) != 0) & (token_slots[position + 1] >= 0))
    return num_next, count


@jit_no_refcount
def _decode_texts(block: Block, num_texts: Int, kinds: Bytes, workspace: Workspace) -> None:
    """Decode all normalized texts to `codes`, with the kinds of the characters if `kinds` is not empty, else 0."""
    data, spans, codes, code_offsets = block.data, block.spans, workspace.codes, workspace.code_offsets
    with_kinds = len(kinds) > 0
    count = 0
    for text in range(num_texts):
        code_offsets[text] = count
        at, end = spans[2 * text], spans[2 * text + 1]
        while at < end:
            code, at = next_code(data, at, end)
            kind = np.uint32(kinds[code]) if with_kinds else np.uint32(0)
            codes[count] = code | kind << np.uint32(_KIND_SHIFT)
            count += 1
        codes[count] = END_OF_TEXT
        count += 1
    code_offsets[num_texts] = count
    codes[count] = END_OF_TEXT  # loops look one character ahead


@jit_no_refcount
def _seed_chars(chars: Table, first_pairs: Bytes, num_texts: Int, workspace: Workspace) -> Int:
    """Activate all positions where an entry may start, and return their number.

    A position is activated at ROOT for entries of one character, and after its first character for longer entries.
    """
    codes, code_offsets = workspace.codes, workspace.code_offsets
    positions, nodes, text_ids, rows = workspace.positions, workspace.nodes, workspace.text_ids, workspace.rows
    active = 0
    for text in range(num_texts):
        for position in range(code_offsets[text], code_offsets[text + 1] - 1):
            first, second = np.int64(codes[position] & CODE_MASK), np.int64(codes[position + 1] & CODE_MASK)
            positions[active], nodes[active], text_ids[active] = position, ROOT, text
            active += may_start_with(first_pairs, first, END_OF_TEXT)
            positions[active], nodes[active], text_ids[active] = position + 1, first, text
            active += may_start_with(first_pairs, first, second)
    for index in range(active):
        rows[index] = edge_row(chars, nodes[index], codes[positions[index]] & CODE_MASK)
        prefetch(chars, rows[index])
    return active


@jit_no_refcount
def _advance_chars(
    chars: Table, workspace: Workspace, active: Int, depth: Int, hits: Words, count: Int
) -> tuple[Int, Int]:
    """Advance the active positions by one character; return the number of those still active, and of hits.

    An occurrence that does not end with a space must not be followed by a combining mark.
    """
    codes, positions, nodes = workspace.codes, workspace.positions, workspace.nodes
    text_ids, rows = workspace.text_ids, workspace.rows
    num_next: Int = 0
    last_hit = len(hits) - 1
    for index in range(active):
        position, node, text = positions[index], nodes[index], text_ids[index]
        code, follower = codes[position], codes[position + 1]
        slot, value = find_edge(chars, rows[index], node, code & CODE_MASK)
        is_allowed = np.int64((follower >> _KIND_SHIFT & COMBINING == 0) | (code & CODE_MASK == BLANK))
        if value & SHORT_KATAKANA and is_allowed:
            is_allowed = _fills_run(codes, position - depth + (node == ROOT), follower)
        hits[min(count, last_hit)] = np.uint64(text) << VALUE_SHIFT | np.uint64(value)
        count += value & TERMINAL & is_allowed
        positions[num_next], nodes[num_next], text_ids[num_next] = position + 1, ROOT + 1 + slot, text
        rows[num_next] = edge_row(chars, ROOT + 1 + slot, follower & CODE_MASK)
        prefetch(chars, rows[num_next])
        num_next += np.int64((value & CHILDREN) != 0)
    return num_next, count


@jit_no_refcount
def _fills_run(codes: Codes, start: Int, follower: Int) -> Int:
    """Return 1 if a short Katakana word that starts at index `start` has Katakana on neither side, else 0."""
    start -= 1
    while codes[start] >> _KIND_SHIFT & COMBINING:  # marks belong to the letter before them
        start -= 1
    return np.int64((codes[start] | follower) >> _KIND_SHIFT & KATAKANA == 0)


@jit_inline
def _add_duplicates(tries: Tries, hits: Words, index: Int, count: Int) -> Int:
    """Append a hit for each entry with the same normalized form as the one of a hit; return the number of hits."""
    duplicates = tries.duplicates
    if hits[index] & np.uint64(DUPLICATE):
        text = hits[index] >> VALUE_SHIFT << VALUE_SHIFT
        duplicate = duplicates[np.int64(hits[index] & np.uint64(0xFFFFFFFF)) >> ID_SHIFT]
        while duplicate >= 0:
            hits[min(count, len(hits) - 1)] = text | np.uint64(duplicate) << np.uint64(ID_SHIFT)
            count += 1
            duplicate = duplicates[duplicate]
    return count
