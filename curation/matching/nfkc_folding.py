"""Folding texts character by character, compiled, wherever that comes to what `spacing` gets with all of NFKC.

Where marks would have to be reordered or composed, which takes all of NFKC, `fold` says so. The reasoning: let each
character be replaced by its own NFKC form. The result has the same NFKC form as the text, and none of its characters
folds any further. So if in addition its marks stand in order and none of them composes with what stands before it (the
quick check of Unicode Standard Annex 15, with every `maybe` looked up), it is that form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curation.jit.compiler import Bytes, Codes, Int, Ints, Offsets, inlined
from curation.jit.utf8 import BLANK, next_code
from curation.matching.char_tables import (
    APART,
    COMBINING,
    COMPOSED,
    COMPOSING,
    FIRST_MARK,
    KIND_BITS,
    LAST_MARK,
    REMOVED_KIND,
    Characters,
)

# The state of a text: its form is made, or it needs all of NFKC, or has a character that is not in the tables yet.
MADE, NEEDS_NFKC, UNKNOWN = range(3)


class Tables(NamedTuple):
    """The arrays of `characters.Characters`, as compiled loops take them."""

    kinds: Bytes
    combining_classes: Bytes
    pairs: Offsets
    fold_at: Ints
    folds: Codes


def tables_of(characters: Characters) -> Tables:
    """Return the arrays of the tables."""
    return Tables(
        characters.kinds,
        characters.combining_classes,
        characters.pairs,
        characters.fold_at,
        characters.folds,
    )


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
def fold(
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
    before = np.uint32(BLANK)
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
            out[length] = before = np.uint32(BLANK)
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
            out[length] = before = np.uint32(BLANK)
            length += 1
            marked = np.uint8(0)
    return MADE, length
