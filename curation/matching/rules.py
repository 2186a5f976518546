"""Normalize texts and entries: an entry matches a text when its normalized form is a substring of the text's.

There are two rule sets. `reference` follows the public code of Meta CLIP to the letter. `worldwide`, the default,
normalizes texts and entries with one function, `normalize_worldwide`:

- Characters that do not show are removed: controls, bidi marks, soft hyphen, BOM, word joiner, zero-width space, and
  variation selectors (they change how ❤ looks, not which character it is). ZWJ and ZWNJ stay, attached to the
  preceding character.
- NFKC is applied; ’ and ʼ become ', ‐ and ‑ become -. Symbols that NFKC would turn into letters (dog™, 20℃) and
  fractions (1½) are first separated by spaces, together with their combining marks.
- A space is inserted around every punctuation mark and symbol, and between two characters of different script
  classes. There are three classes: the open scripts (written without spaces, see `char_classes`), Hangul, and all
  others. A combining mark belongs to the class of its base.
- Inner joiners (' - _ · . , ״ ׳) between two letters or digits of the third class stay: don't, 3.5, U.S.
- The Tibetan tsheg and the CJK radicals, symbols by category, are treated as letters of their scripts.
- A run of white space becomes one space, and the result starts and ends with one space.

`normalize_worldwide` is idempotent: removed and folded characters do not come back, a separated symbol stays separated,
and a joiner that stayed is still between the same two letters. `matcher` adds two boundary rules: a match of an entry
that is open on the right never ends before a combining mark, and an entry of one or two Katakana characters fills its
Katakana run. A compiled version of this module, for texts only, is in `tokenizer` and `nfkc_folding`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Final

from curation.errors import UsageError
from curation.matching.char_classes import CLASSES, MARK_CLASSES, RangeSet

RULES: Final = ("worldwide", "reference")

# Characters that do not show: removed before any other rule.
REMOVED: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180b-\u180d\u180f\u200b\u200e\u200f\u202a-\u202e\u2060"
    "\u2066-\u2069\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+"
)

# These patterns match the string of character classes (see CharacterClasses), not the text. `_RUN`: runs of one script
# class, and single symbols. A run of the class `x` continues over inner joiners, and over white space, which only
# makes the runs fewer.
_M = MARK_CLASSES
_SYMBOL_OR_REST = re.compile(f"s[{_M}]*|[^s]+")
_RUN = re.compile(f"[xX][x{_M}]*(?:(?:j[{_M}]*(?=x)| +(?=[xX]))[x{_M}]*)*|[oO][o{_M}]*|[hH][h{_M}]*|[jps][{_M}]*")
# The same for printable ASCII, matched against the text itself.
_ASCII_RUN = re.compile(r"[A-Za-z0-9]+(?:['\-_.,][A-Za-z0-9]+)*|[^ A-Za-z0-9]")

_REFERENCE_PUNCTUATION = re.compile(r"[,.;:?!`]")  # `tokenizer` has the same list
_REFERENCE_WHITE = str.maketrans("\t\n\r", "   ")
_REFERENCE_OPEN_SYMBOLS = frozenset(string.punctuation + "，。、；：？！“”‘’（）【】《》〈〉「」『』～—")
_REFERENCE_OPEN_RANGES = RangeSet(
    "4E00-9FFF 3400-4DBF 20000-2A6DF 2A700-2B73F 2B740-2B81F 2B820-2CEAF 2CEB0-2EBEF F900-FAFF 2E80-2EFF"
    " 2F00-2FDF 2FF0-2FFF E00-EFF F00-FFF 1000-109F 1780-17FF"
)


def normalize_worldwide(s: str) -> str:
    """Normalize a text or an entry by the rules `worldwide`; the result is " " when nothing visible is left."""
    if s.isascii() and s.isprintable():
        return _join_with_spaces(_ASCII_RUN.findall(s))
    return _join_with_spaces(" ".join(_split_by_class(_RUN, _fold(s))).split())


def _join_with_spaces(words: list[str]) -> str:
    return f" {' '.join(words)} " if words else " "


def _fold(s: str) -> str:
    """Remove characters that do not show, separate symbols that NFKC would turn into letters, then apply NFKC."""
    s = REMOVED.sub("", s)
    if not unicodedata.is_normalized("NFKC", s):
        s = unicodedata.normalize("NFKC", " ".join(_split_by_class(_SYMBOL_OR_REST, s)))
    return fold_punctuation(s)


def fold_punctuation(s: str) -> str:
    """Replace the apostrophes and the hyphen that NFKC leaves (it turns U+2011 into U+2010) with those of ASCII."""
    # Replacing one by one is several times faster than `translate`.
    return s.replace("\u2019", "'").replace("\u02bc", "'").replace("\u2010", "-")


def _split_by_class(pattern: re.Pattern[str], s: str) -> list[str]:
    """Return the substrings whose character classes match the pattern."""
    return [s[match.start() : match.end()] for match in pattern.finditer(s.translate(CLASSES))]


def normalize_text(text: str, rules: str = "worldwide") -> str:
    """Return the normalized text, which is searched for normalized entries; UsageError on unknown rules."""
    check_rules(rules)
    if rules == "worldwide":
        return normalize_worldwide(text)
    return _REFERENCE_PUNCTUATION.sub(r" \g<0> ", f" {text} ").translate(_REFERENCE_WHITE)


def normalize_entry(entry: str, rules: str = "worldwide") -> str:
    """Return the normalized entry: the entry matches a text when this is a substring of the normalized text.

    If it starts (ends) with a space, it matches only where a word starts (ends). An entry without visible characters
    is normalized to "" and matches nothing. UsageError on unknown rules.
    """
    check_rules(rules)
    if rules == "reference":
        return _normalize_reference_entry(entry)
    normalized = normalize_worldwide(entry).strip(" ")
    runs = _RUN.findall(normalized.translate(CLASSES))
    if not runs:
        return ""
    left = "" if runs[0][0] in "oO" else " "
    right = "" if runs[-1][0] in "oOhH" else " "
    return f"{left}{normalized}{right}"


def _normalize_reference_entry(entry: str) -> str:
    if not entry:
        return ""
    left = "" if _is_open_in_reference(entry[0]) else " "
    right = "" if _is_open_in_reference(entry[-1]) else " "
    return f"{left}{entry}{right}"


def _is_open_in_reference(char: str) -> bool:
    return char in _REFERENCE_OPEN_SYMBOLS or ord(char) in _REFERENCE_OPEN_RANGES


def check_rules(rules: str) -> None:
    """Raise UsageError, naming the key, unless `rules` is one of `RULES`."""
    if rules not in RULES:
        raise UsageError(f"match.rules: unknown rule set {rules!r}, use one of: {', '.join(RULES)}")
