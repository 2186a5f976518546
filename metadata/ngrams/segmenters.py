"""Words of languages written without spaces, behind one interface: a piece of text in, its words out.

`segment(name, code)` returns the segmenter that the language table names for a Wikipedia:

    icu         dictionaries for Chinese, Japanese, Thai, Lao, Khmer and Burmese (PyICU, whose data is in its wheel)
    tsheg       Tibetan and Dzongkha: the syllables between tshegs
    myanmar     Shan, Mon and Pa'O: the syllables of the Burmese script. ICU has words of Burmese only, and cuts other
                languages inside syllables
    jieba       Chinese, fugashi (with unidic-lite) Japanese, pythainlp Thai: the extra `segment-more`, slower and not
                clearly better, to be named in the table by those who want them

Each works from data that came with its package: nothing is fetched at run time. A piece holds no white space and no
mark. Zero-width spaces, which many texts in Khmer, Lao, Thai and Burmese put between words, always end one.
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
TSHEGS = "\u0f0b\u0f0c"  # breaking and not
# A letter of the Burmese script begins a syllable, unless a virama binds it to the one before, or an asat (after a dot)
# or a virama closes it; so do other scripts, and digits.
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
INVISIBLE = re.compile("[\u200b\u2060\ufeff]+")  # zero-width space, word joiner, no-break space of zero width


@dataclass(frozen=True)
class Segmenter:
    """How a segmenter is made (from a Wikipedia's code), and the module it needs.

    The module comes with the `extra` of this project, and the words follow from the releases of `packages`. `joiner`
    stands between two words that follow each other in the text; `inner` are marks that it takes for letters.
    """

    make: Callable[[str], Segment]
    module: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()
    joiner: str = ""
    inner: str = ""


def segmenter_of(language: Language) -> Segmenter | None:
    """Return what cuts a language's text into words; None where white space does.

    Raises UsageError for a name that is none, and for one whose package is not installed.
    """
    if language.spacing == "space":
        return None
    found = SEGMENTERS.get(language.segmenter)
    if found is None:
        raise UsageError(
            f"language table: {language.code}: no segmenter is called {language.segmenter!r}; "
            f"there are {', '.join(SEGMENTERS)}"
        )
    try:
        if found.module:
            import_module(found.module)
    except ImportError as error:
        raise UsageError(
            f"{language.code} is cut into words by {language.segmenter}, which needs {found.module}: "
            f"pip install 'worldcurate[{found.extra}]'"
        ) from error
    return found


@cache
def segment(name: str, code: str) -> Segment:
    """Return a Wikipedia's segmenter; it loads its dictionaries once a process."""
    cut = SEGMENTERS[name].make(code)

    def words(text: str) -> list[str]:
        if INVISIBLE.search(text) is None:
            return cut(text)
        return [word for part in INVISIBLE.split(text) if part for word in cut(part)]

    return words


def fingerprint(language: Language) -> str:
    """Return what a language's words follow from: its segmenter, and the releases that hold its code and data."""
    found = segmenter_of(language)
    if found is None:
        return "whitespace"
    if language.segmenter == "icu":
        return f"icu {import_module('icu').ICU_VERSION}"
    releases = (f"{package} {version(package)}" for package in found.packages)
    return ", ".join(releases) or language.segmenter


def _icu(code: str) -> Segment:
    icu: Any = import_module("icu")
    breaks = icu.BreakIterator.createWordInstance(icu.Locale(code.partition("_")[0]))

    def words(text: str) -> list[str]:
        breaks.setText(text)
        ends = [0, *breaks]
        if ends[-1] == len(text):
            return [text[start:end] for start, end in pairwise(ends)]
        units = text.encode("utf-16-le")  # ICU counts UTF-16 units, of which characters beyond the BMP take two
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
