"""The words of running text, in order, with a mark wherever no bigram may reach over.

Words are what white space and marks leave between them; a mark is any punctuation character or symbol (Unicode
categories P and S). A mark breaks the chain of words. Of languages written without spaces a segmenter cuts what is left
(`metadata.ngrams.segmenters`), and white space breaks the chain too: a bigram's parts are joined without a space
there, so one that reached over a space would stand in no text. Nothing is folded to lower case.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from metadata.languages import Language
from metadata.ngrams.segmenters import Segment, segment, segmenter_of

BREAK = "\0"  # no word: it stands where the chain of words is broken

Tokenize = Callable[[str], list[str]]


def tokenizer(language: Language) -> Tokenize:
    """Return the function that cuts a Wikipedia's text into words and `BREAK`s.

    Raises UsageError when the segmenter of the language is not installed.
    """
    segmenter = segmenter_of(language)
    if segmenter is None:
        return spaced_words
    cut = segment(language.segmenter, language.code)
    return lambda text: unspaced_words(text, cut, segmenter.inner)


def joiner(language: Language) -> str:
    """Return what stands between the two parts of a bigram."""
    segmenter = segmenter_of(language)
    return " " if segmenter is None else segmenter.joiner


def spaced_words(text: str) -> list[str]:
    """Return the words of a text whose words stand apart."""
    return _mapped(text, _marks()).replace(BREAK, f" {BREAK} ").split()


def unspaced_words(text: str, cut: Segment, inner: str = "") -> list[str]:
    """Return the words of a text written without spaces; `inner` are marks that its words hold."""
    words: list[str] = []
    for piece in _mapped(text, _marks(inner, spaces=True)).split(BREAK):
        if piece:
            words += cut(piece)
            words.append(BREAK)
    return words


def _mapped(text: str, table: npt.NDArray[np.uint32]) -> str:
    """Return a text in NFC, every character replaced by the table's; many times faster than `str.translate`."""
    codes = unicodedata.normalize("NFC", text).encode("utf-32-le", "surrogatepass")
    return table[np.frombuffer(codes, np.uint32)].tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _marks(inner: str = "", *, spaces: bool = False) -> npt.NDArray[np.uint32]:
    """Return a table of all characters in which marks, and white space on demand, are `BREAK`."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if (unicodedata.category(char)[0] in "PS" and char not in inner) or (spaces and char.isspace()):
            table[code] = ord(BREAK)
    return table
