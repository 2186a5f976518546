"""Character properties for the rules `worldwide`, as flat tables indexed by code point that compiled loops read.

The tables hold the results of `char_classes` and `unicodedata`. They are filled on demand, a block of 256 code points
at a time, because filling them for all of Unicode would add a second to the start of every process. A zero in `kinds`
means "not loaded": a compiled loop that meets one reports the text as `UNKNOWN_CHAR`, the caller loads the block
(`CharTables.ensure_loaded`) and runs the loop again. One byte of `kinds` per code point:

    bit   7            6             5         4          3 2 1 0
          MAY_COMPOSE  DECOMPOSABLE  KATAKANA  COMBINING  kind, 1 to 12, an index into KINDS plus 1
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Final

import numpy as np

from curation.matching.char_classes import CLASSES, in_katakana_run, is_combining
from curation.matching.rules import REMOVED, fold_punctuation

BLOCK: Final = 256
CODES: Final = 0x110000

# The low four bits: the kind of the character, numbered from 1. The first nine are the classes of `char_classes`;
# `removed`, `folded` and `apart` (a symbol that is separated by spaces, then folded) take precedence over them.
KINDS: Final = (" ", "x", "o", "h", "X", "O", "H", "j", "p", "removed", "folded", "apart")
SPACE, LETTER, _, _, FIRST_MARK, _, LAST_MARK, JOINER, SYMBOL, REMOVED_KIND, FOLDED, SET_APART = range(
    1, len(KINDS) + 1
)
MARK_SHIFT: Final = 3  # the kind of a mark minus the kind of the letters of its script class
KIND_BITS: Final = 0x0F
COMBINING: Final = 0x10  # a mark of category Mn or Mc
KATAKANA: Final = 0x20  # a letter of a Katakana run
DECOMPOSABLE: Final = 0x40  # NFD changes it
MAY_COMPOSE: Final = 0x80  # NFC may compose it with the preceding character

_JAMO: Final = (range(0x1161, 0x1176), range(0x11A8, 0x11C3))  # vowels and finals, composed by rule


class CharTables:
    """The tables of this process.

    Attributes:
        kinds: uint8 per code point: its kind and the flags above.
        combining_classes: uint8 per code point: its canonical combining class.
        pairs: sorted int64: `first << 21 | second` for every pair of characters that NFC composes.
        fold_offsets: int32 per code point: the offset in `folded_forms` of its folded form, if its kind is `folded` or
            `apart`.
        folded_forms: uint32: for each folded form its length, then its code points.
    """

    def __init__(self) -> None:
        self.kinds = np.zeros(CODES, np.uint8)
        self.combining_classes = np.zeros(CODES, np.uint8)
        self.pairs = np.array(sorted(first << 21 | second for first, second in _composing_pairs()), np.int64)
        self.fold_offsets = np.zeros(CODES, np.int32)
        self.folded_forms = np.zeros(1, np.uint32)
        self._seconds = {int(pair) & (1 << 21) - 1 for pair in self.pairs}.union(*_JAMO)
        self.ensure_loaded(0)  # so loops need not check ASCII

    def ensure_loaded(self, code: int) -> None:
        """Fill the block of a code point, and the blocks of the characters that its members are folded to."""
        first = code - code % BLOCK
        if self.kinds[first]:
            return
        folded_forms = self.folded_forms.tolist()
        targets: set[int] = set()
        for member in range(first, first + BLOCK):
            char = chr(member)
            folded = fold_punctuation(unicodedata.normalize("NFKC", char)) if not _is_surrogate(member) else char
            kind = _kind(char, folded)
            if kind in ("folded", "apart"):
                self.fold_offsets[member] = len(folded_forms)
                folded_forms += [len(folded), *map(ord, folded)]
                targets.update(map(ord, folded))
            self.combining_classes[member] = unicodedata.combining(char)
            self.kinds[member] = KINDS.index(kind) + 1 | self._flags(char)
        self.folded_forms = np.array(folded_forms, np.uint32)
        for target in targets:
            self.ensure_loaded(target)

    def _flags(self, char: str) -> int:
        flags = COMBINING if is_combining(char) else 0
        flags |= KATAKANA if in_katakana_run(char) else 0
        flags |= DECOMPOSABLE if not unicodedata.is_normalized("NFD", char) else 0
        return flags | (MAY_COMPOSE if ord(char) in self._seconds else 0)


def _kind(char: str, folded: str) -> str:
    """Return the kind of a character, in the order of the rules: removal first, then folding, then the class."""
    if REMOVED.fullmatch(char):
        return "removed"
    class_ = CLASSES[ord(char)]
    if class_ == "s":
        return "apart"
    if folded != char and class_ != " ":
        return "folded"
    return class_


def _is_surrogate(code: int) -> bool:
    return 0xD800 <= code < 0xE000


def _composing_pairs() -> set[tuple[int, int]]:
    """Return the pairs that NFC composes, except Hangul; the composed characters are all in the first two planes."""
    pairs = set()
    for code in range(0x20000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<":
            first, second = (int(part, 16) for part in parts)
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(code):
                pairs.add((first, second))
    return pairs


@cache
def char_tables() -> CharTables:
    """Return the tables of this process, created at the first call."""
    return CharTables()
