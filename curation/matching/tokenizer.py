"""Normalize texts and split them into tokens in compiled loops: the result of `rules.normalize_text`, as UTF-8.

Texts are processed in blocks of up to 256 (`text_block`), with one loop per step, over arrays that fit the cache of the
processor.

`tokenize_texts` handles three kinds of text:

- printable ASCII under the rules `worldwide`: its tokens are substrings of the text itself, so nothing is copied;
- any other text that `nfkc_folding` can fold: folded to code points, then cut into runs of one script class;
- the rest (`NEEDS_NFKC`, `UNKNOWN_CHAR`): left to the caller, which normalizes the text with `rules`, or loads the
  character into the tables, and passes the text again.

`rules` defines the result, and tests compare the two.
"""

from __future__ import annotations

import numpy as np

from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, Words, jit_inline, jit_no_refcount
from curation.jit.utf8 import BLANK, encode, next_code
from curation.matching.char_tables import FIRST_MARK, JOINER, KIND_BITS, LAST_MARK, LETTER, MARK_SHIFT, SPACE, SYMBOL
from curation.matching.nfkc_folding import NORMALIZED, UNKNOWN_CHAR, CharArrays, fold_text
from curation.matching.text_block import BLOCK_BYTES, BLOCK_TEXTS, Block

# The mode: normalize by one of the rule sets, or only tokenize, because the texts are normalized already.
REFERENCE, WORLDWIDE, PRENORMALIZED = range(3)


@jit_inline
def _all_loaded(data: Bytes, start: Int, end: Int, kinds: Bytes) -> bool:
    """Return whether every character of a text is loaded into the tables."""
    at = start
    while at < end:
        code, at = next_code(data, at, end)
        if kinds[code] == 0:
            return False
    return True


@jit_inline
def split_at_spaces(data: Bytes, start: Int, end: Int, starts: Ints, ends: Ints, count: Int) -> Int:
    """Split the normalized text `data[start:end]` after its first space at every space, keeping empty tokens.

    Returns the new number of tokens.
    """
    starts[count] = start + 1
    for at in range(start + 1, end):  # without a branch, because where words end cannot be predicted
        ends[count] = at
        starts[count + 1] = at + 1
        count += data[at] == BLANK
    return count


@jit_inline
def _normalize_reference(data: Bytes, start: Int, end: Int, out: Bytes, length: Int) -> Int:
    """Append the text normalized by the rules `reference` to `out` and return the new length."""
    out[length] = BLANK
    length += 1
    for at in range(start, end):
        byte = data[at]
        if (byte > 0x3F and byte != 0x60) or byte == BLANK:
            out[length] = byte
            length += 1
        elif byte in (0x2C, 0x2E, 0x3A, 0x3B, 0x3F, 0x21, 0x60):  # , . : ; ? ! `
            out[length] = BLANK
            out[length + 1] = byte
            out[length + 2] = BLANK
            length += 3
        else:
            out[length] = BLANK if byte in (0x09, 0x0A, 0x0D) else byte
            length += 1
    out[length] = BLANK
    return length + 1


@jit_inline
def _is_printable_ascii(words: Words, start: Int, end: Int) -> bool:
    """Return whether all bytes are printable ASCII, which normalization does not change.

    Eight bytes are tested at a time, so bytes of a neighboring text may make the result False. Then the text takes the
    general path, which suits every text.
    """
    high_bits = np.uint64(0)
    for at in range(start >> 3, (end + 7) >> 3):
        word = words[at]
        low = word - np.uint64(0x2020202020202020)
        delete = (word ^ np.uint64(0x7F7F7F7F7F7F7F7F)) - np.uint64(0x0101010101010101)
        high_bits |= word | low | delete
    return bool((high_bits & np.uint64(0x8080808080808080)) == 0)


@jit_no_refcount
def _flag_ascii_tokens(block: Block, bounds: Offsets) -> None:
    """Flag the bytes where tokens start and end, on the assumption that all texts of the block are printable ASCII.

    The loops run over the whole block without branches: so they are vectorized, and do not depend on predicting word
    ends. The flags of the first byte of a text are wrong; `_tokenize_ascii` does not read them.
    """
    data, letter_flags, run_flags = block.data, block.letter_flags, block.run_flags
    start_flags, end_flags = block.start_flags, block.end_flags
    size = bounds[-1] - bounds[0]
    for at in range(size):
        byte = data[at]
        letter_flags[at] = ((byte >= 0x30) & (byte <= 0x39)) | (((byte | 0x20) >= 0x61) & ((byte | 0x20) <= 0x7A))
    for at in range(1, size - 1):
        byte = data[at]
        joiner = (byte == 0x27) | ((byte >= 0x2C) & (byte <= 0x2E)) | (byte == 0x5F)  # ' , - . _
        run_flags[at] = letter_flags[at] | (joiner & letter_flags[at - 1] & letter_flags[at + 1])
    for text in range(len(bounds) - 1):
        if bounds[text] < bounds[text + 1]:  # a joiner at the edge of a text joins nothing
            first, last = bounds[text] - bounds[0], bounds[text + 1] - bounds[0] - 1
            run_flags[first], run_flags[last] = letter_flags[first], letter_flags[last]
    for at in range(1, size):
        is_boundary = 1 - (run_flags[at] & run_flags[at - 1])
        start_flags[at] = is_boundary & (data[at] != BLANK)
        end_flags[at] = is_boundary & (data[at - 1] != BLANK)


@jit_inline
def _tokenize_ascii(
    data: Bytes, start: Int, end: Int, start_flags: Bytes, end_flags: Bytes, starts: Ints, ends: Ints, count: Int
) -> Int:
    """Split a text of printable ASCII where its bytes are flagged; return the new number of tokens."""
    if start == end:
        return count
    num_starts = num_ends = np.uint64(count)
    starts[num_starts] = start
    num_starts += np.uint64(data[start] != BLANK)
    for at in range(np.uint64(start + 1), np.uint64(end)):
        ends[num_ends] = at
        num_ends += np.uint64(end_flags[at])
        starts[num_starts] = at
        num_starts += np.uint64(start_flags[at])
    ends[num_ends] = end
    num_ends += np.uint64(data[end - 1] != BLANK)
    return np.int64(num_ends)


@jit_inline
def _joins_letters(codes: Codes, at: Int, size: Int, kinds: Bytes) -> bool:
    """Return whether the joiner at index `at`, which follows a letter, precedes one too, combining marks aside."""
    at += 1
    while at < size and FIRST_MARK <= kinds[codes[at]] & KIND_BITS <= LAST_MARK:
        at += 1
    return bool(at < size and kinds[codes[at]] & KIND_BITS == LETTER)


@jit_inline
def _tokenize_codes(
    codes: Codes, size: Int, kinds: Bytes, out: Bytes, length: Int, bounds: tuple[Ints, Ints], count: Int
) -> tuple[Int, Int]:
    """Append a space to `out`, then every run of one script class and every symbol, each followed by a space.

    Args:
        codes: the folded code points of a text.
        size: their number.
        kinds: of the character tables.
        out: receives the normalized text as UTF-8, from `length` on.
        length: the length of `out` before.
        bounds: the arrays of token starts and ends.
        count: the number of tokens before.

    Returns the new length and the new number of tokens.
    """
    starts, ends = bounds
    out[length] = BLANK
    length += 1
    run = 0  # the kind of the current run; SYMBOL for a symbol with its marks; 0 after white space
    for at in range(size):
        code = codes[at]
        kind = kinds[code] & KIND_BITS
        mark = (kind >= FIRST_MARK) & (kind <= LAST_MARK)
        # without a branch, because marks cannot be predicted
        continues = (mark & (run != 0)) | ((kind == run) & (kind != SYMBOL))
        if kind == JOINER and run == LETTER:
            continues = _joins_letters(codes, at, size, kinds)
        if not continues:
            if run:
                ends[count] = length
                count += 1
                out[length] = BLANK
                length += 1
            run = 0 if kind == SPACE else kind - MARK_SHIFT if mark else SYMBOL if kind == JOINER else kind
            starts[count] = length
        if run:
            length = encode(code, out, length)
    if run:
        ends[count] = length
        count += 1
        out[length] = BLANK
        length += 1
    return length, count


@jit_no_refcount
def tokenize_texts(data: Bytes, offsets: Offsets, first: Int, mode: Int, tables: CharArrays, block: Block) -> Int:
    """Normalize and tokenize as many texts, from `first` on, as fit a block; return the index after the last.

    Args:
        data: the UTF-8 bytes of the texts.
        offsets: start of each text in `data`, and the end of the last.
        first: index of the first text.
        mode: REFERENCE, WORLDWIDE or PRENORMALIZED.
        tables: properties of characters.
        block: receives the result.
    """
    kinds, classes, pairs = tables.kinds, tables.combining_classes, tables.pairs
    fold_offsets, folded_forms = tables.fold_offsets, tables.folded_forms
    out, spans, token_offsets, states = block.data, block.spans, block.token_offsets, block.states
    folded, starts, ends = block.folded, block.starts, block.ends
    start_flags, end_flags, words = block.start_flags, block.end_flags, block.data.view(np.uint64)
    last = first + 1
    while last < min(first + BLOCK_TEXTS, len(offsets) - 1) and offsets[last + 1] - offsets[first] <= BLOCK_BYTES:
        last += 1
    length = offsets[last] - offsets[first]
    for at in range(length):
        out[at] = data[offsets[first] + at]
    if mode == WORLDWIDE:
        _flag_ascii_tokens(block, offsets[first : last + 1])
    count = 0
    for text in range(last - first):
        start, end = offsets[first + text] - offsets[first], offsets[first + text + 1] - offsets[first]
        states[text] = NORMALIZED
        token_offsets[text] = count
        spans[2 * text] = length
        if mode == WORLDWIDE:
            if _is_printable_ascii(words, start, end):
                count = _tokenize_ascii(out, start, end, start_flags, end_flags, starts, ends, count)
            else:
                states[text], size = fold_text(
                    out, start, end, kinds, classes, pairs, fold_offsets, folded_forms, folded
                )
                if states[text] == NORMALIZED:
                    length, count = _tokenize_codes(folded, size, kinds, out, length, (starts, ends), count)
        elif mode == REFERENCE:
            length = _normalize_reference(out, start, end, out, length)
            count = split_at_spaces(out, spans[2 * text], length, starts, ends, count)
        elif _all_loaded(out, start, end, kinds):
            spans[2 * text] = start
            count = split_at_spaces(out, start, end, starts, ends, count)
        else:
            states[text] = UNKNOWN_CHAR
        spans[2 * text + 1] = end if mode == PRENORMALIZED and states[text] == NORMALIZED else length
        starts[count] = ends[count] = 0
        count += 1
    token_offsets[last - first] = count
    return last
