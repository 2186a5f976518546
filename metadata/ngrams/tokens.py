"""Split running text into words, with a `BREAK` wherever no bigram may span two words.

White space and punctuation separate words; punctuation is any character of the Unicode categories P and S, and breaks
bigrams. In languages written without spaces, a segmenter splits the text between them (`metadata.ngrams.segmenters`),
and white space breaks bigrams too: the words of such a bigram are joined without a space, so a bigram across a space
would occur in no text. The case of letters is kept.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from metadata.languages import Language
from metadata.ngrams.segmenters import Segment, find_segmenter, segment

BREAK = "\0"  # not a word: no bigram spans it

Tokenize = Callable[[str], list[str]]


def tokenizer(language: Language) -> Tokenize:
    """Return the function that splits a Wikipedia's text into words and `BREAK`s.

    Raises UsageError if the segmenter of the language is not installed.
    """
    segmenter = find_segmenter(language)
    if segmenter is None:
        return spaced_words
    split = segment(language.segmenter, language.code)
    return lambda text: unspaced_words(text, split, segmenter.inner)


def joiner(language: Language) -> str:
    """Return the text between the two words of a bigram."""
    segmenter = find_segmenter(language)
    return " " if segmenter is None else segmenter.joiner


def spaced_words(text: str) -> list[str]:
    """Return the words of a text with spaces between words."""
    return _mapped(text, _break_table()).replace(BREAK, f" {BREAK} ").split()


def unspaced_words(text: str, split: Segment, inner: str = "") -> list[str]:
    """Return the words of a text written without spaces; `inner` are punctuation marks that are parts of words."""
    words: list[str] = []
    for part in _mapped(text, _break_table(inner, spaces=True)).split(BREAK):
        if part:
            words += split(part)
            words.append(BREAK)
    return words


def _mapped(text: str, table: npt.NDArray[np.uint32]) -> str:
    """Return a text in NFC with its characters mapped by a table; many times faster than `str.translate`."""
    codes = unicodedata.normalize("NFC", text).encode("utf-32-le", "surrogatepass")
    return table[np.frombuffer(codes, np.uint32)].tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _break_table(inner: str = "", *, spaces: bool = False) -> npt.NDArray[np.uint32]:
    """Return a table of all characters that maps punctuation, and optionally white space, to `BREAK`."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if (unicodedata.category(char)[0] in "PS" and char not in inner) or (spaces and char.isspace()):
            table[code] = ord(BREAK)
    return table
