"""Forms of texts, compiled: what `spacing.text_form` gives, from UTF-8 to UTF-8, cut into tokens on the way.

Texts are worked on in blocks of some hundreds: one loop for each step, over arrays that fit the processor's cache.

`spacing` says what the forms are, and is what tests compare with. A text that cannot be folded character by character
(see `folding`) is left to it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, Words, borrowing, compiled, inlined
from curation.jit.utf8 import BLANK, encode, next_code
from curation.matching.char_tables import FIRST_MARK, JOINER, KIND_BITS, LAST_MARK, LETTER, MARK_SHIFT, SIGN, SPACE
from curation.matching.nfkc_folding import MADE, UNKNOWN, Tables, fold

# How a text becomes a form: by the rules, or it is one already.
REFERENCE, WORLDWIDE, READY = range(3)

BLOCK_TEXTS: Final = 256
BLOCK_BYTES: Final = 1 << 15


class Block(NamedTuple):
    """Some texts and their forms, and room to work.

    Attributes:
        data: the texts one after the other, then their forms, all in UTF-8.
        forms: where the form of each text begins and ends in `data`, two numbers a text. The form of a text of plain
            ASCII under the rules `worldwide` is empty: its tokens are cut where it lies itself.
        tokens: where the tokens of each text begin, in the arrays that follow, with one place of no token behind the
            last of each text.
        starts, ends: where each token begins and ends in `data`; 0 for no token.
        states: MADE, NEEDS_NFKC or UNKNOWN, for each text; one that is not made has an empty form and no tokens.
        folded: room for the code points of one text.
        letters, runs, begins, finishes: flags of each byte of the texts.
    """

    data: Bytes
    forms: Offsets
    tokens: Offsets
    starts: Ints
    ends: Ints
    states: npt.NDArray[np.int8]
    folded: Codes
    letters: Bytes
    runs: Bytes
    begins: Bytes
    finishes: Bytes


@compiled
def make_block(longest: Int) -> Block:
    """Make room for texts of at most BLOCK_BYTES in all, or for one of `longest` bytes.

    A form is longest for U+FDFA, whose three bytes become 18 characters in 33, and a space around it; a comma makes two
    tokens under the rules `reference`. Behind a form some bytes more may be read together with its last.
    """
    size = max(longest, BLOCK_BYTES)
    tokens = 2 * size + 4 * BLOCK_TEXTS
    return Block(
        np.zeros((12 * size + 16 * (BLOCK_TEXTS + 1)) // 8 * 8, np.uint8),
        np.empty(2 * BLOCK_TEXTS, np.int64),
        np.empty(BLOCK_TEXTS + 1, np.int64),
        np.empty(tokens, np.int32),
        np.empty(tokens, np.int32),
        np.empty(BLOCK_TEXTS, np.int8),
        np.empty(6 * longest + 16, np.uint32),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
    )


@inlined
def _all_known(data: Bytes, start: Int, end: Int, kinds: Bytes) -> bool:
    """Tell whether the tables know every character."""
    at = start
    while at < end:
        code, at = next_code(data, at, end)
        if kinds[code] == 0:
            return False
    return True


@inlined
def split(data: Bytes, start: Int, end: Int, starts: Ints, ends: Ints, count: Int) -> Int:
    """Cut the form `data[start:end]` at every space but the first, empty tokens included; return the new count."""
    starts[count] = start + 1
    for at in range(start + 1, end):  # without a branch, because where words end cannot be predicted
        ends[count] = at
        starts[count + 1] = at + 1
        count += data[at] == BLANK
    return count


@inlined
def _reference(data: Bytes, start: Int, end: Int, out: Bytes, length: Int) -> Int:
    """Append the form under the rules `reference` and return the new length."""
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


@inlined
def _is_plain(words: Words, start: Int, end: Int) -> bool:
    """Tell whether all bytes are printable ASCII, of which every character is itself in every form.

    Eight bytes at a time, so a neighbour may make it False: then the text is cut in the way that suits every text.
    """
    odd = np.uint64(0)
    for at in range(start >> 3, (end + 7) >> 3):
        word = words[at]
        low = word - np.uint64(0x2020202020202020)
        delete = (word ^ np.uint64(0x7F7F7F7F7F7F7F7F)) - np.uint64(0x0101010101010101)
        odd |= word | low | delete
    return bool((odd & np.uint64(0x8080808080808080)) == 0)


@borrowing
def _mark_plain(block: Block, bounds: Offsets) -> None:
    """Mark in `begins` and `finishes` where `spacing` cuts tokens, if all the texts of a block were printable ASCII.

    Loops without branches over the whole block, because they run on many bytes at a time, and because where words end
    cannot be predicted. What they say of the first byte of a text is wrong: `_cut_plain` does not ask.
    """
    text, letters, runs, begins, finishes = block.data, block.letters, block.runs, block.begins, block.finishes
    size = bounds[-1] - bounds[0]
    for at in range(size):
        byte = text[at]
        letters[at] = ((byte >= 0x30) & (byte <= 0x39)) | (((byte | 0x20) >= 0x61) & ((byte | 0x20) <= 0x7A))
    for at in range(1, size - 1):
        byte = text[at]
        joiner = (byte == 0x27) | ((byte >= 0x2C) & (byte <= 0x2E)) | (byte == 0x5F)  # ' , - . _
        runs[at] = letters[at] | (joiner & letters[at - 1] & letters[at + 1])
    for place in range(len(bounds) - 1):
        if bounds[place] < bounds[place + 1]:  # a joiner at the edge of a text joins nothing
            first, last = bounds[place] - bounds[0], bounds[place + 1] - bounds[0] - 1
            runs[first], runs[last] = letters[first], letters[last]
    for at in range(1, size):
        torn = 1 - (runs[at] & runs[at - 1])
        begins[at] = torn & (text[at] != BLANK)
        finishes[at] = torn & (text[at - 1] != BLANK)


@inlined
def _cut_plain(
    text: Bytes, start: Int, end: Int, begins: Bytes, finishes: Bytes, starts: Ints, ends: Ints, count: Int
) -> Int:
    """Cut a text of printable ASCII, which lies in the block, into tokens where it is marked; return the new count."""
    if start == end:
        return count
    begun = ended = np.uint64(count)
    starts[begun] = start
    begun += np.uint64(text[start] != BLANK)
    for at in range(np.uint64(start + 1), np.uint64(end)):
        ends[ended] = at
        ended += np.uint64(finishes[at])
        starts[begun] = at
        begun += np.uint64(begins[at])
    ends[ended] = end
    ended += np.uint64(text[end - 1] != BLANK)
    return np.int64(ended)


@inlined
def _joins(codes: Codes, at: Int, size: Int, kinds: Bytes) -> bool:
    """Tell whether the joiner at this place, behind a letter, has a letter behind it too, marks aside."""
    at += 1
    while at < size and FIRST_MARK <= kinds[codes[at]] & KIND_BITS <= LAST_MARK:
        at += 1
    return bool(at < size and kinds[codes[at]] & KIND_BITS == LETTER)


@inlined
def _cut(
    codes: Codes, size: Int, kinds: Bytes, out: Bytes, length: Int, cuts: tuple[Ints, Ints], count: Int
) -> tuple[Int, Int]:
    """Append a space, then every run of one script and every sign with a space behind it, from folded code points.

    Returns the new length and the new count of tokens.
    """
    starts, ends = cuts
    out[length] = BLANK
    length += 1
    run = 0  # the kind of the run at hand, SIGN for a sign with its marks, 0 behind white space
    for at in range(size):
        code = codes[at]
        kind = kinds[code] & KIND_BITS
        mark = (kind >= FIRST_MARK) & (kind <= LAST_MARK)
        goes_on = (mark & (run != 0)) | ((kind == run) & (kind != SIGN))  # whether it is a mark cannot be predicted
        if kind == JOINER and run == LETTER:
            goes_on = _joins(codes, at, size, kinds)
        if not goes_on:
            if run:
                ends[count] = length
                count += 1
                out[length] = BLANK
                length += 1
            run = 0 if kind == SPACE else kind - MARK_SHIFT if mark else SIGN if kind == JOINER else kind
            starts[count] = length
        if run:
            length = encode(code, out, length)
    if run:
        ends[count] = length
        count += 1
        out[length] = BLANK
        length += 1
    return length, count


@borrowing
def cut_texts(data: Bytes, offsets: Offsets, first: Int, how: Int, tables: Tables, block: Block) -> Int:
    """Make the forms of as many texts from `first` on as a block takes; return the text behind the last.

    Args:
        data: the UTF-8 bytes of the texts.
        offsets: where each text begins, and the end of the last.
        first: the first text.
        how: REFERENCE, WORLDWIDE or READY.
        tables: what characters are.
        block: filled.
    """
    kinds, classes, pairs = tables.kinds, tables.combining_classes, tables.pairs
    fold_at, folds = tables.fold_at, tables.folds
    out, forms, tokens, states = block.data, block.forms, block.tokens, block.states
    folded, starts, ends = block.folded, block.starts, block.ends
    begins, finishes, words = block.begins, block.finishes, block.data.view(np.uint64)
    last = first + 1
    while last < min(first + BLOCK_TEXTS, len(offsets) - 1) and offsets[last + 1] - offsets[first] <= BLOCK_BYTES:
        last += 1
    length = offsets[last] - offsets[first]
    for at in range(length):
        out[at] = data[offsets[first] + at]
    if how == WORLDWIDE:
        _mark_plain(block, offsets[first : last + 1])
    count = 0
    for place in range(last - first):
        start, end = offsets[first + place] - offsets[first], offsets[first + place + 1] - offsets[first]
        states[place] = MADE
        tokens[place] = count
        forms[2 * place] = length
        if how == WORLDWIDE:
            if _is_plain(words, start, end):
                count = _cut_plain(out, start, end, begins, finishes, starts, ends, count)
            else:
                states[place], size = fold(out, start, end, kinds, classes, pairs, fold_at, folds, folded)
                if states[place] == MADE:
                    length, count = _cut(folded, size, kinds, out, length, (starts, ends), count)
        elif how == REFERENCE:
            length = _reference(out, start, end, out, length)
            count = split(out, forms[2 * place], length, starts, ends, count)
        elif _all_known(out, start, end, kinds):
            forms[2 * place] = start
            count = split(out, start, end, starts, ends, count)
        else:
            states[place] = UNKNOWN
        forms[2 * place + 1] = end if how == READY and states[place] == MADE else length
        starts[count] = ends[count] = 0
        count += 1
    tokens[last - first] = count
    return last
