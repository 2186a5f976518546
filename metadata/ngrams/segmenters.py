"""Segmenters, which split text of languages written without spaces into words, with one interface.

`segment(name, code)` returns the segmenter that the language table names for a Wikipedia:

    icu         dictionaries for Chinese, Japanese, Thai, Lao, Khmer and Burmese (PyICU, whose wheel includes the data)
    tsheg       Tibetan and Dzongkha: the syllables between tshegs
    myanmar     Shan, Mon and Pa'O: the syllables of the Burmese script. ICU only has the words of Burmese and splits
                other languages inside syllables
    jieba       Chinese; fugashi (with unidic-lite) Japanese; pythainlp Thai: the extra `segment-more`, slower and not
                clearly better; to use them, name them in the language table

All of them use the data in their packages; nothing is fetched at run time. The text given to a segmenter has no white
space and no punctuation. Zero-width spaces, which many texts in Khmer, Lao, Thai and Burmese have between words, always
end a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from curation.errors import UsageError
from metadata.languages import Language

Segment = Callable[[str], list[str]]

TSHEG = "\u0f0b"
TSHEGS = "\u0f0b\u0f0c"  # breaking and non-breaking
# A letter of the Burmese script starts a syllable, unless a virama joins it to the previous letter or it is followed by
# a virama or an asat (possibly after a dot). A change between this and another script, or digits, also starts one.
MYANMAR = "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"
LETTERS = "".join(
    char
    for char in map(chr, range(0x1000, 0xAA80))
    if unicodedata.category(char)[0] == "L" and re.match(f"[{MYANMAR}]", char)
)
SYLLABLE_START = (
    f"(?<=.)(?<!\u1039)(?=[{LETTERS}](?!\u1037?[\u1039\u103a]))"
    f"|(?<=[{MYANMAR}])(?=[^{MYANMAR}])|(?<=[^{MYANMAR}])(?=[{MYANMAR}])"
)
INVISIBLE = re.compile("[\u200b\u2060\ufeff]+")  # zero-width space, word joiner, zero-width no-break space


@dataclass(frozen=True)
class Segmenter:
    """How to create a segmenter from a Wikipedia's code, and the module that it needs.

    The module is installed with the `extra` of this project, and the releases of `packages` determine the words.
    `joiner` separates adjacent words in the text; `inner` are punctuation marks that the segmenter treats as letters.
    """

    make: Callable[[str], Segment]
    module: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()
    joiner: str = ""
    inner: str = ""


def find_segmenter(language: Language) -> Segmenter | None:
    """Return the segmenter of a language; None if white space separates its words.

    Raises UsageError if the name is unknown or its package is not installed.
    """
    if language.spacing == "space":
        return None
    segmenter = SEGMENTERS.get(language.segmenter)
    if segmenter is None:
        raise UsageError(
            f"language table: {language.code}: unknown segmenter {language.segmenter!r}: "
            f"use one of {', '.join(SEGMENTERS)}"
        )
    try:
        if segmenter.module:
            import_module(segmenter.module)
    except ImportError as error:
        raise UsageError(
            f"{language.code} is split into words by {language.segmenter}, which needs {segmenter.module}: "
            f"pip install 'worldcurate[{segmenter.extra}]'"
        ) from error
    return segmenter


@cache
def segment(name: str, code: str) -> Segment:
    """Return a Wikipedia's segmenter, which loads its dictionaries once per process."""
    split = SEGMENTERS[name].make(code)

    def words(text: str) -> list[str]:
        if INVISIBLE.search(text) is None:
            return split(text)
        return [word for part in INVISIBLE.split(text) if part for word in split(part)]

    return words


def fingerprint(language: Language) -> str:
    """Return a text that changes with a language's words: its segmenter and the releases of its code and data."""
    segmenter = find_segmenter(language)
    if segmenter is None:
        return "whitespace"
    if language.segmenter == "icu":
        return f"icu {import_module('icu').ICU_VERSION}"
    releases = (f"{package} {version(package)}" for package in segmenter.packages)
    return ", ".join(releases) or language.segmenter


def _icu(code: str) -> Segment:
    icu: Any = import_module("icu")
    breaks = icu.BreakIterator.createWordInstance(icu.Locale(code.partition("_")[0]))

    def words(text: str) -> list[str]:
        breaks.setText(text)
        ends = [0, *breaks]
        if ends[-1] == len(text):
            return [text[start:end] for start, end in pairwise(ends)]
        units = text.encode("utf-16-le")  # ICU counts UTF-16 code units; a character beyond the BMP has two
        return [units[2 * start : 2 * end].decode("utf-16-le") for start, end in pairwise(ends)]

    return words


def _tsheg(_: str) -> Segment:
    syllables = re.compile(f"[{TSHEGS}]+")
    return lambda text: [syllable for syllable in syllables.split(text) if syllable]


def _myanmar(_: str) -> Segment:
    boundaries = re.compile(SYLLABLE_START)
    return lambda text: [part for part in boundaries.split(text) if part]


def _jieba(_: str) -> Segment:
    jieba: Any = import_module("jieba")
    jieba.setLogLevel("WARNING")
    return lambda text: list(jieba.lcut(text))


def _fugashi(_: str) -> Segment:
    tagger: Any = import_module("fugashi").Tagger("-Owakati")
    return lambda text: _not_blank(tagger.parse(text).split())


def _pythainlp(_: str) -> Segment:
    tokenize: Any = import_module("pythainlp.tokenize").word_tokenize
    return lambda text: _not_blank(tokenize(text, engine="newmm", keep_whitespace=False))


def _not_blank(words: Iterable[str]) -> list[str]:
    return [word for word in words if word.strip()]


SEGMENTERS = {
    "icu": Segmenter(_icu, "icu", "segment"),
    "tsheg": Segmenter(_tsheg, joiner=TSHEG, inner=TSHEGS),
    "myanmar": Segmenter(_myanmar),
    "jieba": Segmenter(_jieba, "jieba", "segment-more", ("jieba",)),
    "fugashi": Segmenter(_fugashi, "fugashi", "segment-more", ("fugashi", "unidic-lite")),
    "pythainlp": Segmenter(_pythainlp, "pythainlp", "segment-more", ("pythainlp",)),
}
