"""Forms of texts, compiled: what `spacing.text_form` gives, from UTF-8 to UTF-8, cut into tokens on the way.

Texts are worked on in blocks of some hundreds: one loop for each step, over arrays that fit the processor's cache.

`spacing` says what the forms are, and is what tests compare with. Under the rules `worldwide` this file handles every
text whose characters fold one by one. Where marks would have to be reordered or composed, which takes all of NFKC, it
says so, and the text's form is made by `spacing`. The reasoning: let each character be replaced by its own NFKC form.
The result has the same NFKC form as the text, and none of its characters folds any further. So if in addition its marks
stand in order and none of them composes with what stands before it (the quick check of Unicode Standard Annex 15, with
every `maybe` looked up), it is that form.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curation.characters import (
    APART,
    COMBINING,
    COMPOSED,
    COMPOSING,
    FIRST_MARK,
    JOINER,
    KIND_BITS,
    LAST_MARK,
    LETTER,
    MARK_SHIFT,
    REMOVED_KIND,
    SIGN,
    SPACE,
    Characters,
)
from curation.compiled import Int, compiled, inlined

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

# How a text becomes a form: by the rules, or it is one already.
REFERENCE, WORLDWIDE, READY = range(3)

# The state of a text: its form is made, or it needs all of NFKC, or has a character that is not in the tables yet.
MADE, NEEDS_NFKC, UNKNOWN = range(3)

BLOCK_TEXTS: Final = 256
BLOCK_BYTES: Final = 1 << 15
_BLANK: Final = 0x20
_OUTSIDE: Final = 0xFFFD  # what broken UTF-8 is read as


class Tables(NamedTuple):
    """The arrays of `characters.Characters`, as compiled loops take them."""

    kinds: Bytes
    combining_classes: Bytes
    pairs: Offsets
    fold_at: Ints
    folds: Codes


class Block(NamedTuple):
    """Some texts and their forms, and room to work.

    Attributes:
        data: the texts one after the other, then their forms, all in UTF-8.
        forms: where the form of each text begins and ends in `data`, two numbers a text. The form of a text of plain
            ASCII under the rules `worldwide` is empty: its tokens are cut where it lies itself.
        tokens: where the tokens of each text begin, in the arrays that follow, with one place of no token behind the
            last of each text.
        starts, ends: where each token begins and ends in `data`; 0 for no token.
        states: MADE, NEEDS_NFKC or UNKNOWN, for each text.
        codes: room for one text.
        letters, runs, begins, finishes: flags of each byte of the texts.
        words, rows, symbols, values: room for numbers of each token.
    """

    data: Bytes
    forms: Offsets
    tokens: Offsets
    starts: Ints
    ends: Ints
    states: npt.NDArray[np.int8]
    codes: Codes
    letters: Bytes
    runs: Bytes
    begins: Bytes
    finishes: Bytes
    words: Words
    rows: Offsets
    symbols: Offsets
    values: Codes


def tables_of(characters: Characters) -> Tables:
    """Return the arrays of the tables."""
    return Tables(
        characters.kinds,
        characters.combining_classes,
        characters.pairs,
        characters.fold_at,
        characters.folds,
    )


@compiled
def make_block(longest: Int) -> Block:
    """Make room for texts of at most BLOCK_BYTES in all, or for one of `longest` bytes.

    A form is longest for U+FDFA, whose three bytes become 33, and a space around it; a comma makes two tokens under the
    rules `reference`. Behind a form some bytes more may be read together with its last.
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
        np.empty(11 * longest + 16, np.uint32),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(size + 1, np.uint8),
        np.empty(tokens, np.uint64),
        np.empty(tokens, np.int64),
        np.empty(tokens, np.int64),
        np.empty(tokens, np.uint32),
    )


@inlined
def next_code(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the code point at a place and the place behind it, which is at most `end`."""
    code = np.uint32(data[at])
    at += 1
    if code < 0x80:
        return code, at
    more = 1 if code < 0xE0 else 2 if code < 0xF0 else 3
    if code < 0xC0 or at + more > end:
        return np.uint32(_OUTSIDE), at
    code = np.uint32(code & (0x3F >> more))
    for _ in range(more):
        code = np.uint32(code << 6 | data[at] & 0x3F)
        at += 1
    return (code if code < 0x110000 else np.uint32(_OUTSIDE)), at


@inlined
def decode(data: Bytes, start: Int, end: Int, codes: Codes) -> Int:
    """Write the code points of `data[start:end]` and return their number; nothing outside is read."""
    size = 0
    at = start
    while at < end:
        codes[size], at = next_code(data, at, end)
        size += 1
    return size


@inlined
def encode(code: Int, data: Bytes, place: Int) -> Int:
    """Write one code point as UTF-8 and return where the next one goes."""
    if code < 0x80:
        data[place] = np.uint8(code)
        return place + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    lead = 0xC0 if more == 1 else 0xE0 if more == 2 else 0xF0
    data[place] = np.uint8(lead | code >> 6 * more)
    for step in range(more - 1, -1, -1):
        place += 1
        data[place] = np.uint8(0x80 | (code >> 6 * step & 0x3F))
    return place + 1


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
        count += data[at] == _BLANK
    return count


@inlined
def _reference(data: Bytes, start: Int, end: Int, out: Bytes, length: Int) -> Int:
    """Append the form under the rules `reference` and return the new length."""
    out[length] = _BLANK
    length += 1
    for at in range(start, end):
        byte = data[at]
        if (byte > 0x3F and byte != 0x60) or byte == _BLANK:
            out[length] = byte
            length += 1
        elif byte in (0x2C, 0x2E, 0x3A, 0x3B, 0x3F, 0x21, 0x60):  # , . : ; ? ! `
            out[length] = _BLANK
            out[length + 1] = byte
            out[length + 2] = _BLANK
            length += 3
        else:
            out[length] = _BLANK if byte in (0x09, 0x0A, 0x0D) else byte
            length += 1
    out[length] = _BLANK
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


@compiled
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
        begins[at] = torn & (text[at] != _BLANK)
        finishes[at] = torn & (text[at - 1] != _BLANK)


@inlined
def _cut_plain(
    text: Bytes, start: Int, end: Int, begins: Bytes, finishes: Bytes, starts: Ints, ends: Ints, count: Int
) -> Int:
    """Cut a text of printable ASCII, which lies in the block, into tokens where it is marked; return the new count."""
    if start == end:
        return count
    begun = ended = np.uint64(count)
    starts[begun] = start
    begun += np.uint64(text[start] != _BLANK)
    for at in range(np.uint64(start + 1), np.uint64(end)):
        ends[ended] = at
        ended += np.uint64(finishes[at])
        starts[begun] = at
        begun += np.uint64(begins[at])
    ends[ended] = end
    ended += np.uint64(text[end - 1] != _BLANK)
    return np.int64(ended)


@inlined
def _is_pair(pairs: Offsets, first: Int, second: Int) -> bool:
    wanted = np.int64(first) << 21 | np.int64(second)
    at = np.searchsorted(pairs, wanted)
    return bool(at < len(pairs) and pairs[at] == wanted)


@inlined
def _fits(kinds: Bytes, combining_classes: Bytes, pairs: Offsets, before: Int, code: Int) -> bool:
    """Tell whether a character may follow another without being reordered or composed; False where it is unclear."""
    own, other = combining_classes[code], combining_classes[before]
    if own != 0 and own < other:
        return False
    if not kinds[code] & COMPOSING:
        return True
    jamo = 0x1100 <= code < 0x1200
    return bool(other == 0 and not jamo and not kinds[before] & COMPOSED and not _is_pair(pairs, before, code))


@inlined
def _fold(
    data: Bytes,
    start: Int,
    end: Int,
    kinds: Bytes,
    combining_classes: Bytes,
    pairs: Offsets,
    fold_at: Ints,
    folds: Codes,
    out: Codes,
) -> tuple[Int, Int]:
    """Write the folded code points of a text, symbols set apart; return its state and their number."""
    length = 0
    before = np.uint32(_BLANK)
    marked: Int = np.uint8(0)  # the combining class of what stands before
    apart = False
    at = start
    while at < end:
        code, at = next_code(data, at, end)
        known = kinds[code]
        kind = known & KIND_BITS
        if kind == 0:
            return UNKNOWN, 0
        if kind == REMOVED_KIND:
            continue
        was_apart, apart = apart, kind == APART
        if was_apart and FIRST_MARK <= kind <= LAST_MARK:
            return NEEDS_NFKC, 0  # a symbol takes its marks along when it is set apart
        if kind < REMOVED_KIND:
            own = combining_classes[code]
            doubtful = ((own != 0) & (own < marked)) | ((known & COMPOSING) != 0)
            if doubtful and not _fits(kinds, combining_classes, pairs, before, code):
                return NEEDS_NFKC, 0
            out[length] = before = code
            length += 1
            marked = own
            continue
        if apart:
            out[length] = before = np.uint32(_BLANK)
            length += 1
        first = fold_at[code] + 1
        if was_apart and FIRST_MARK <= kinds[folds[first]] & KIND_BITS <= LAST_MARK:
            return NEEDS_NFKC, 0
        for place in range(first, first + folds[first - 1]):
            part = folds[place]
            if kinds[part] & (COMBINING | COMPOSING) and not _fits(kinds, combining_classes, pairs, before, part):
                return NEEDS_NFKC, 0
            out[length] = before = part
            length += 1
            marked = combining_classes[part]
        if apart:
            out[length] = before = np.uint32(_BLANK)
            length += 1
            marked = np.uint8(0)
    return MADE, length


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
    out[length] = _BLANK
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
                out[length] = _BLANK
                length += 1
            run = 0 if kind == SPACE else kind - MARK_SHIFT if mark else SIGN if kind == JOINER else kind
            starts[count] = length
        if run:
            length = encode(code, out, length)
    if run:
        ends[count] = length
        count += 1
        out[length] = _BLANK
        length += 1
    return length, count


@compiled
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
    codes, starts, ends = block.codes, block.starts, block.ends
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
                states[place], size = _fold(out, start, end, kinds, classes, pairs, fold_at, folds, codes)
                length, count = _cut(codes, size, kinds, out, length, (starts, ends), count)
        elif how == REFERENCE:
            length = _reference(out, start, end, out, length)
            count = split(out, forms[2 * place], length, starts, ends, count)
        else:
            forms[2 * place] = start
            count = split(out, start, end, starts, ends, count)
            if not _all_known(out, start, end, kinds):
                states[place] = UNKNOWN
        forms[2 * place + 1] = end if how == READY else length
        starts[count] = ends[count] = 0
        count += 1
    tokens[last - first] = count
    return last
