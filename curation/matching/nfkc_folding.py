"""Apply NFKC to texts in a compiled loop, one character at a time; report the texts for which that is not enough.

NFKC replaces characters, then reorders combining marks and composes them with their bases. Replacing is a table lookup
per character. Reordering and composing need context, but few texts need either. `fold_text` therefore replaces each
character by its own NFKC form and checks that nothing is left to reorder or compose (the quick check of Unicode
Standard Annex 15, with every "maybe" looked up). If a check fails it returns NEEDS_NFKC, and the text is normalized in
Python by `rules`. The result is correct because replacing characters by their NFKC forms does not change the NFKC form
of the text, and a text whose characters are all folded, with marks in order and nothing to compose, is in NFKC.

Characters to be removed are left out, and symbols to be separated get spaces around them, as `rules` says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, jit_inline
from curation.jit.utf8 import BLANK, next_code
from curation.matching.char_tables import (
    COMBINING,
    DECOMPOSABLE,
    FIRST_MARK,
    KIND_BITS,
    LAST_MARK,
    MAY_COMPOSE,
    REMOVED_KIND,
    SET_APART,
    CharTables,
)

# The state of a text: it is normalized, or it needs the full NFKC, or it has a character that is not loaded yet.
NORMALIZED, NEEDS_NFKC, UNKNOWN_CHAR = range(3)


class CharArrays(NamedTuple):
    """The arrays of `char_tables.CharTables`, as compiled loops take them."""

    kinds: Bytes
    combining_classes: Bytes
    pairs: Offsets
    fold_offsets: Ints
    folded_forms: Codes


def build_char_arrays(char_tables: CharTables) -> CharArrays:
    """Return the current arrays of the tables; `ensure_loaded` may replace them."""
    return CharArrays(
        char_tables.kinds,
        char_tables.combining_classes,
        char_tables.pairs,
        char_tables.fold_offsets,
        char_tables.folded_forms,
    )


@jit_inline
def _composes(pairs: Offsets, first: Int, second: Int) -> bool:
    """Return whether NFC composes two characters."""
    pair = np.int64(first) << 21 | np.int64(second)
    at = np.searchsorted(pairs, pair)
    return bool(at < len(pairs) and pairs[at] == pair)


@jit_inline
def _is_stable_after(kinds: Bytes, combining_classes: Bytes, pairs: Offsets, before: Int, code: Int) -> bool:
    """Return whether NFKC surely neither reorders a character with the one before it nor composes the two."""
    combining_class, class_before = combining_classes[code], combining_classes[before]
    if combining_class != 0 and combining_class < class_before:
        return False
    if not kinds[code] & MAY_COMPOSE:
        return True
    jamo = 0x1100 <= code < 0x1200
    return bool(
        class_before == 0 and not jamo and not kinds[before] & DECOMPOSABLE and not _composes(pairs, before, code)
    )


@jit_inline
def fold_text(
    data: Bytes,
    start: Int,
    end: Int,
    kinds: Bytes,
    combining_classes: Bytes,
    pairs: Offsets,
    fold_offsets: Ints,
    folded_forms: Codes,
    out: Codes,
) -> tuple[Int, Int]:
    """Write the folded code points of the text `data[start:end]` to `out`; return its state and their number."""
    length = 0
    before = np.uint32(BLANK)
    class_before: Int = np.uint8(0)  # the combining class of the last character written
    is_set_apart = False
    at = start
    while at < end:
        code, at = next_code(data, at, end)
        flags = kinds[code]
        kind = flags & KIND_BITS
        if kind == 0:
            return UNKNOWN_CHAR, 0
        if kind == REMOVED_KIND:
            continue
        after_set_apart, is_set_apart = is_set_apart, kind == SET_APART
        if after_set_apart and FIRST_MARK <= kind <= LAST_MARK:
            return NEEDS_NFKC, 0  # a symbol is separated together with its marks
        if kind < REMOVED_KIND:
            combining_class = combining_classes[code]
            may_change = ((combining_class != 0) & (combining_class < class_before)) | ((flags & MAY_COMPOSE) != 0)
            if may_change and not _is_stable_after(kinds, combining_classes, pairs, before, code):
                return NEEDS_NFKC, 0
            out[length] = before = code
            length += 1
            class_before = combining_class
            continue
        if is_set_apart:
            out[length] = before = np.uint32(BLANK)
            length += 1
        first = fold_offsets[code] + 1
        if after_set_apart and FIRST_MARK <= kinds[folded_forms[first]] & KIND_BITS <= LAST_MARK:
            return NEEDS_NFKC, 0
        for index in range(first, first + folded_forms[first - 1]):
            part = folded_forms[index]
            if kinds[part] & (COMBINING | MAY_COMPOSE) and not _is_stable_after(
                kinds, combining_classes, pairs, before, part
            ):
                return NEEDS_NFKC, 0
            out[length] = before = part
            length += 1
            class_before = combining_classes[part]
        if is_set_apart:
            out[length] = before = np.uint32(BLANK)
            length += 1
            class_before = np.uint8(0)
    return NORMALIZED, length
