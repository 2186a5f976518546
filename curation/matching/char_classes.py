"""Classify characters for the rules `worldwide`: letter, combining mark, joiner, punctuation or symbol; and script.

Each character gets one of ten one-letter classes (see `CharacterClasses`), so that `rules` can describe runs of
characters by regular expressions over a string of classes:

    text     d o n ' t , ガ ◌゙ メ 한 ™
    classes  x x x j x j o  O  o  h  s

The script ranges are those of Unicode 16.0 (`Scripts.txt`), written out so that they do not change with the
interpreter. General categories and NFKC come from `unicodedata`, in the interpreter's version of Unicode.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import cache

# Scripts written without spaces between words: an entry in them may touch its neighbors on both sides.
_OPEN = {
    "Han": "2E80-2E99 2E9B-2EF3 2F00-2FD5 3005 3007 3021-3029 3038-303B 3400-4DBF 4E00-9FFF F900-FA6D"
    " FA70-FAD9 16FE2-16FE3 16FF0-16FF1 20000-2A6DF 2A700-2B739 2B740-2B81D 2B820-2CEA1 2CEB0-2EBE0"
    " 2EBF0-2EE5D 2F800-2FA1D 30000-3134A 31350-323AF",
    "Hiragana": "3041-3096 309D-309F 1B001-1B11F 1B132 1B150-1B152 1F200",
    "Katakana": "30A1-30FA 30FD-30FF 31F0-31FF 32D0-32FE 3300-3357 FF66-FF6F FF71-FF9D 1AFF0-1AFF3"
    " 1AFF5-1AFFB 1AFFD-1AFFE 1B000 1B120-1B122 1B155 1B164-1B167",
    "Bopomofo": "2EA-2EB 3105-312F 31A0-31BF",
    "Thai": "E01-E3A E40-E5B",
    "Lao": "E81-E82 E84 E86-E8A E8C-EA3 EA5 EA7-EBD EC0-EC4 EC6 EC8-ECE ED0-ED9 EDC-EDF",
    "Khmer": "1780-17DD 17E0-17E9 17F0-17F9 19E0-19FF",
    "Myanmar": "1000-109F A9E0-A9FE AA60-AA7F 116D0-116E3",
    "Tibetan": "F00-F47 F49-F6C F71-F97 F99-FBC FBE-FCC FCE-FD4 FD9-FDA",
    # Unicode gives ー and 〆 no script of their own; 々 and 〇 are Han already.
    "symbols": "3006 30FC",
}
_HANGUL = (
    "1100-11FF 302E-302F 3131-318E 3200-321E 3260-327E A960-A97C AC00-D7A3 D7B0-D7C6 D7CB-D7FB"
    " FFA0-FFBE FFC2-FFC7 FFCA-FFCF FFD2-FFD7 FFDA-FFDC"
)
_RADICALS = range(0x2E80, 0x2FD6)  # CJK and Kangxi radicals: category So, but written in place of ideographs
_TSHEG = 0x0F0B  # category Po, but Tibetan writes it between all syllables

INNER_JOINERS = "'-_·.,״׳"
MARK_CLASSES = "OHX"  # the classes of combining marks, for character sets of regular expressions


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """Parse `3041-3096 309D …` (hexadecimal, both ends included) into sorted pairs of code points."""
    pairs = (part.partition("-") for part in text.split())
    return sorted((int(first, 16), int(last or first, 16)) for first, _, last in pairs)


class RangeSet:
    """A set of code points given as ranges; `in` is a binary search."""

    def __init__(self, text: str) -> None:
        ranges = parse_ranges(text)
        self._firsts = [first for first, _ in ranges]
        self._lasts = [last for _, last in ranges]

    def __contains__(self, code: int) -> bool:
        at = bisect_right(self._firsts, code) - 1
        return at >= 0 and code <= self._lasts[at]


OPEN = RangeSet(" ".join(_OPEN.values()))
HANGUL = RangeSet(_HANGUL)
_KATAKANA_RUN = RangeSet(_OPEN["Katakana"] + " 30FC")


class CharacterClasses(dict[int, str]):
    """A table for `str.translate`, code point → one-letter class, computed at the first use of a character.

    `o`, `h`, `x`: letters and digits of the open scripts, of Hangul, and of all other scripts; `O`, `H`, `X`: their
    combining marks, which belong to their base whatever its class; `j`: inner joiners; `s`: symbols and fractions that
    NFKC changes; `p`: all other punctuation and symbols; a space: white space.
    """

    def __missing__(self, code: int) -> str:
        self[code] = class_ = _classify(code)
        return class_


def _classify(code: int) -> str:
    char = chr(code)
    script = "o" if code in OPEN else "h" if code in HANGUL else "x"
    category = unicodedata.category(char)
    if char.isspace():
        return " "
    if char in INNER_JOINERS:
        return "j"
    if code in _RADICALS or code == _TSHEG:
        return script
    if category[0] in "PS" or "\N{FRACTION SLASH}" in unicodedata.normalize("NFKC", char):
        folds = category[0] != "P" and not unicodedata.is_normalized("NFKC", char)
        return "s" if folds else "p"
    # Format characters that are not removed (ZWJ, ZWNJ, tags) attach to the preceding character, as marks do.
    return script.upper() if category[0] == "M" or category == "Cf" else script


CLASSES = CharacterClasses()


@cache
def in_katakana_run(char: str) -> bool:
    """Return whether the character is part of a Katakana run: a Katakana letter or the long-vowel mark ー."""
    return ord(char) in _KATAKANA_RUN


@cache
def is_combining(char: str) -> bool:
    """Return whether the character is a combining mark, nonspacing (Mn) or spacing (Mc)."""
    return unicodedata.category(char) in ("Mn", "Mc")
