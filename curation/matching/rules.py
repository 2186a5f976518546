"""The forms in which texts and entries are compared: an entry matches where its form lies in the text's.

Two rule sets. `reference` follows the public code of Meta CLIP to the letter. `worldwide`, the default,
spaces texts and entries by one function, `spaced`:

- Removed: controls, bidi marks, soft hyphen, BOM, word joiner, zero-width space, variation selectors (they
  change how ❤ looks, not what it is). ZWJ and ZWNJ stay and cling to what stands before them.
- NFKC; ’ and ʼ become ', ‐ and ‑ become -. Symbols that NFKC would turn into letters (dog™, 20℃) and
  fractions (1½) are set apart before it does, together with their marks.
- A space stands around every punctuation mark and symbol, and wherever the text changes between the open
  scripts (written without spaces, see `scripts`), Hangul, and all others. A mark goes with its base.
- Inner joiners (' - _ · . , ״ ׳) between two letters or digits of all those others stay: don't, 3.5, U.S.
- The Tibetan tsheg and the CJK radicals, signs by category, are ordinary characters of their scripts.
- Runs of white space become one space, and one space stands at either end.

`spaced` is idempotent: what it removes or folds does not come back, a sign it has set apart stays apart, and
a joiner it has kept still stands between the same two letters. On top of the forms come two rules about the
place of a match, which `matching` applies: it never ends before a combining mark when the entry is open on
the right, and an entry of one or two Katakana characters fills its Katakana run.
"""

from __future__ import annotations

import re
import string
import unicodedata
from typing import Final

from curation.errors import UsageError
from curation.matching.char_classes import CLASSES, MARKS, RangeSet

RULES: Final = ("worldwide", "reference")

# What does not show: gone before anything else is looked at.
REMOVED: Final = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180b-\u180d\u180f\u200b\u200e\u200f\u202a-\u202e\u2060"
    "\u2066-\u2069\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+"
)

# Over the string of character classes (see CharacterClasses): runs of one script class, and single signs. A run
# of the class `x` goes on over inner joiners; and over white space, only to make fewer pieces.
_FOLDING = re.compile(f"s[{MARKS}]*|[^s]+")
_RUN = re.compile(
    f"[xX][x{MARKS}]*(?:(?:j[{MARKS}]*(?=x)| +(?=[xX]))[x{MARKS}]*)*|[oO][o{MARKS}]*|[hH][h{MARKS}]*|[jps][{MARKS}]*"
)
# The same for printable ASCII, where classes need no looking up.
_ASCII_RUN = re.compile(r"[A-Za-z0-9]+(?:['\-_.,][A-Za-z0-9]+)*|[^ A-Za-z0-9]")

_REFERENCE_SPACED = re.compile(r"[,.;:?!`]")  # `forming` has them too
_REFERENCE_WHITE = str.maketrans("\t\n\r", "   ")
_REFERENCE_OPEN_SIGNS = frozenset(string.punctuation + "，。、；：？！“”‘’（）【】《》〈〉「」『』～—")
_REFERENCE_OPEN_RANGES = RangeSet(
    "4E00-9FFF 3400-4DBF 20000-2A6DF 2A700-2B73F 2B740-2B81F 2B820-2CEAF 2CEB0-2EBEF F900-FAFF 2E80-2EFF"
    " 2F00-2FDF 2FF0-2FFF E00-EFF F00-FFF 1000-109F 1780-17FF"
)


def spaced(s: str) -> str:
    """Return the spaced form of a text or an entry (rules `worldwide`); " " where nothing visible is left."""
    if s.isascii() and s.isprintable():
        return _between_spaces(_ASCII_RUN.findall(s))
    return _between_spaces(" ".join(_cut(_RUN, _fold(s))).split())


def _between_spaces(words: list[str]) -> str:
    return f" {' '.join(words)} " if words else " "


def _fold(s: str) -> str:
    """Remove what does not show, set symbols apart that NFKC would fold into letters, then fold."""
    s = REMOVED.sub("", s)
    if not unicodedata.is_normalized("NFKC", s):
        s = unicodedata.normalize("NFKC", " ".join(_cut(_FOLDING, s)))
    return fold_signs(s)


def fold_signs(s: str) -> str:
    """Replace the apostrophes and the hyphen that NFKC leaves (U+2011 is U+2010 after it) by those of ASCII."""
    # Replacing one by one is several times faster than `translate`.
    return s.replace("\u2019", "'").replace("\u02bc", "'").replace("\u2010", "-")


def _cut(pattern: re.Pattern[str], s: str) -> list[str]:
    """Cut the string where the pattern cuts its character classes."""
    return [s[match.start() : match.end()] for match in pattern.finditer(s.translate(CLASSES))]


def text_form(text: str, rules: str = "worldwide") -> str:
    """Return the form of a text in which entry forms are looked for; UsageError on unknown rules."""
    check_rules(rules)
    if rules == "worldwide":
        return spaced(text)
    return _REFERENCE_SPACED.sub(r" \g<0> ", f" {text} ").translate(_REFERENCE_WHITE)


def entry_form(entry: str, rules: str = "worldwide") -> str:
    """Return the form of an entry: it matches a text when this is a substring of the text's form.

    A form that starts (ends) with a space matches only where a word starts (ends). An entry of which nothing
    visible is left has the form "" and matches nothing. UsageError on unknown rules.
    """
    check_rules(rules)
    if rules == "reference":
        return _reference_entry_form(entry)
    form = spaced(entry).strip(" ")
    runs = _RUN.findall(form.translate(CLASSES))
    if not runs:
        return ""
    left = "" if runs[0][0] in "oO" else " "
    right = "" if runs[-1][0] in "oOhH" else " "
    return f"{left}{form}{right}"


def _reference_entry_form(entry: str) -> str:
    if not entry:
        return ""
    left = "" if _reference_open(entry[0]) else " "
    right = "" if _reference_open(entry[-1]) else " "
    return f"{left}{entry}{right}"


def _reference_open(char: str) -> bool:
    return char in _REFERENCE_OPEN_SIGNS or ord(char) in _REFERENCE_OPEN_RANGES


def check_rules(rules: str) -> None:
    """Raise UsageError, naming the key, unless `rules` is one of `RULES`."""
    if rules not in RULES:
        raise UsageError(f"match.rules: unknown rule set {rules!r}, use one of: {', '.join(RULES)}")
