"""What every character is to the spacing rules, as flat tables that compiled loops read.

The tables say of each code point what `scripts` and `unicodedata` say of it. They are filled as characters are met, a
block of 256 at a time, because asking about all of Unicode would take a second of every process's start. A zero
means "not asked yet": a loop that meets one stops, and `learn` fills the block.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Final

import numpy as np

from curation.matching.char_classes import CLASSES, in_katakana_run, is_combining
from curation.matching.rules import REMOVED, fold_signs

BLOCK: Final = 256
CODES: Final = 0x110000

# The low four bits: one kind a character, in this order from 1.
KINDS: Final = (" ", "x", "o", "h", "X", "O", "H", "j", "p", "removed", "folded", "apart")
SPACE, LETTER, _, _, FIRST_MARK, _, LAST_MARK, JOINER, SIGN, REMOVED_KIND, FOLDED, APART = range(1, len(KINDS) + 1)
MARK_SHIFT: Final = 3  # from the kind of a mark to that of its letters
KIND_BITS: Final = 0x0F
COMBINING: Final = 0x10  # a mark of category Mn or Mc
KATAKANA: Final = 0x20  # a letter of a Katakana run
COMPOSED: Final = 0x40  # NFD makes several characters of it
COMPOSING: Final = 0x80  # may become one character with what stands before it

_JAMO: Final = (range(0x1161, 0x1176), range(0x11A8, 0x11C3))  # vowels and finals, composed by rule


class Characters:
    """The tables of this process.

    Attributes:
        kinds: uint8 of every code point: its kind, and the flags above.
        combining_classes: uint8 of every code point.
        pairs: sorted int64, `first << 21 | second` of all characters that NFC composes from two.
        fold_at: int32 of every code point: where in `folds` its folded form lies, for the kinds folded and apart.
        folds: uint32: a length, then as many code points, for each folded form.
    """

    def __init__(self) -> None:
        self.kinds = np.zeros(CODES, np.uint8)
        self.combining_classes = np.zeros(CODES, np.uint8)
        self.pairs = np.array(sorted(first << 21 | second for first, second in _composed()), np.int64)
        self.fold_at = np.zeros(CODES, np.int32)
        self.folds = np.zeros(1, np.uint32)
        self._seconds = {int(pair) & (1 << 21) - 1 for pair in self.pairs}.union(*_JAMO)
        self.learn(0)  # of ASCII, loops need not ask whether it is known

    def learn(self, code: int) -> None:
        """Fill the block of a code point, and those of what its characters fold into."""
        first = code - code % BLOCK
        if self.kinds[first]:
            return
        folds = self.folds.tolist()
        elsewhere: set[int] = set()
        for member in range(first, first + BLOCK):
            char = chr(member)
            folded = fold_signs(unicodedata.normalize("NFKC", char)) if not _is_surrogate(member) else char
            kind = _kind(char, folded)
            if kind in ("folded", "apart"):
                self.fold_at[member] = len(folds)
                folds += [len(folded), *map(ord, folded)]
                elsewhere.update(map(ord, folded))
            self.combining_classes[member] = unicodedata.combining(char)
            self.kinds[member] = KINDS.index(kind) + 1 | self._flags(char)
        self.folds = np.array(folds, np.uint32)
        for other in elsewhere:
            self.learn(other)

    def _flags(self, char: str) -> int:
        flags = COMBINING if is_combining(char) else 0
        flags |= KATAKANA if in_katakana_run(char) else 0
        flags |= COMPOSED if not unicodedata.is_normalized("NFD", char) else 0
        return flags | (COMPOSING if ord(char) in self._seconds else 0)


def _kind(char: str, folded: str) -> str:
    """Return the kind of a character as `spacing` treats it; what shows nothing goes before anything else."""
    if REMOVED.fullmatch(char):
        return "removed"
    letter = CLASSES[ord(char)]
    if letter == "s":
        return "apart"
    if folded != char and letter != " ":
        return "folded"
    return letter


def _is_surrogate(code: int) -> bool:
    return 0xD800 <= code < 0xE000


def _composed() -> set[tuple[int, int]]:
    """Return the pairs that NFC makes one character of, Hangul syllables aside; all lie in the first two planes."""
    pairs = set()
    for code in range(0x20000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<":
            first, second = (int(part, 16) for part in parts)
            if unicodedata.normalize("NFC", chr(first) + chr(second)) == chr(code):
                pairs.add((first, second))
    return pairs


@cache
def characters() -> Characters:
    """Return the tables of this process, made at first use."""
    return Characters()
