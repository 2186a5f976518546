"""How well languages without spaces are cut into words: by what dictionaries know, and how fast.

Texts: Tatoeba sentences, names of emoji, and word lists (gatitos), from the unpacked archives. Dictionaries: the
wordnets of the language, hand-made and from Wiktionary, or the word list itself. "In dictionary" is the share of all
words cut; "found" the share of the dictionary's words in the text (of two characters and more, the longest first) that
were cut out as they are. Tibetan words of several syllables are no unit here. Segmenters not installed are left out.

    python benchmarks/bench_segmenters.py
"""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path

from common import table, unpacked

from metadata.languages import Language, LanguageTable
from metadata.lists.wordnet import read_tab
from metadata.ngrams.segmenters import SEGMENTERS, segment
from metadata.ngrams.tokens import BREAK, unspaced_words

LANGUAGES = LanguageTable.load().languages
LONGEST = 16
# Wikipedia, where its texts come from, their code there, the wordnets, other segmenters to try
CASES = (
    ("zh", "tatoeba", "cmn", ("data-cmn", "data-qcn", "wikt-cmn"), ("jieba",)),
    ("zh_yue", "tatoeba", "yue", ("wikt-yue", "data-cmn", "data-qcn"), ()),
    ("ja", "tatoeba", "jpn", ("data-jpn", "wikt-jpn"), ("fugashi",)),
    ("th", "tatoeba", "tha", ("data-tha", "wikt-tha"), ("pythainlp",)),
    ("km", "tatoeba", "khm", ("wikt-khm",), ()),
    ("km", "emoji", "km", ("wikt-khm",), ()),
    ("lo", "emoji", "lo", ("wikt-lao",), ()),
    ("my", "emoji", "my", ("wikt-mya",), ()),
    ("shn", "emoji", "shn", (), ("icu",)),
    ("shn", "gatitos", "shn", (), ("icu",)),
    ("bo", "gatitos", "bo", (), ()),
    ("dz", "gatitos", "dz", (), ()),
)


def texts(folder: Path, source: str, code: str) -> list[str]:
    """Return the texts of one language."""
    if source == "tatoeba":
        path = folder / "laser-tatoeba" / "data" / "tatoeba" / "v1" / f"tatoeba.{code}-eng.{code}"
        return path.read_text(encoding="utf-8").splitlines()
    path = folder / "gatitos" / f"en_{code}.tsv" if source == "gatitos" else folder / "emoji-pairs-base.tsv"
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [row[1] for row in rows if len(row) > 1] if source == "gatitos" else [r[3] for r in rows if r[0] == code]


def dictionary(folder: Path, wordnets: Iterable[str], code: str) -> set[str]:
    """Return the words of a language: its wordnets' lemmas, or else its word list, each without its last tsheg."""
    words: set[str] = set()
    for name in wordnets:
        for path in folder.glob(f"omw/**/wn-{name}.tab"):
            with path.open("rb") as stream:
                words.update(read_tab(stream, str(path), Counter()))
    words.update(() if wordnets else texts(folder, "gatitos", code))
    return {unicodedata.normalize("NFC", word).strip("་༌") for word in words}


def pieces(language: Language, lines: Iterable[str]) -> list[str]:
    """Return what marks and white space leave of the texts, zero-width spaces removed."""
    inner = SEGMENTERS[language.segmenter].inner
    words = (
        word for line in lines for word in unspaced_words(line.replace("\u200b", ""), lambda piece: [piece], inner)
    )
    return [word for word in words if word != BREAK]


def longest_matches(piece: str, known: set[str]) -> Iterator[tuple[int, int]]:
    """Yield where dictionary words of two characters and more stand, the longest first from left to right."""
    start = 0
    while start < len(piece):
        ends = range(min(len(piece), start + LONGEST), start + 1, -1)
        end = next((end for end in ends if piece[start:end] in known), 0)
        if end:
            yield start, end
        start = end or start + 1


def measure(language: Language, lines: list[str], known: set[str]) -> list[str]:
    """Return the figures of one segmenter on some texts."""
    cut = segment(language.segmenter, language.code)
    texts_ = pieces(language, lines)
    cut(texts_[0])  # dictionaries are loaded once
    started = time.perf_counter()
    words = [cut(piece) for piece in texts_]
    speed = sum(map(len, texts_)) / (time.perf_counter() - started) / 1e6
    there = found = 0
    for piece, parts in zip(texts_, words, strict=True):
        edges = [0, *accumulate(map(len, parts))]
        for match in longest_matches(piece, known) if edges[-1] == len(piece) else ():
            there += 1
            found += match in set(pairwise(edges))
    count = sum(map(len, words))
    share = sum(word in known for parts in words for word in parts) / count
    length = sum(len(word) for parts in words for word in parts) / count
    recall = "–" if SEGMENTERS[language.segmenter].inner or not there else f"{found / there:.0%} of {there:,}"
    return [language.segmenter, f"{count:,}", f"{length:.1f}", f"{share:.0%}", recall, f"{speed:.2f}"]


def main() -> None:
    """Measure and print."""
    folder, rows = unpacked(), []
    for code, source, name, wordnets, others in CASES:
        lines, known = texts(folder, source, name), dictionary(folder, wordnets, name)
        for segmenter in (LANGUAGES[code].segmenter, *others):
            if not SEGMENTERS[segmenter].module or find_spec(SEGMENTERS[segmenter].module):
                figures = measure(replace(LANGUAGES[code], segmenter=segmenter), lines, known)
                rows.append([code, f"{source} {name}", *figures])
    columns = [
        "Wikipedia",
        "texts",
        "segmenter",
        "words",
        "length",
        "in dictionary",
        "dictionary words found",
        "M char/s",
    ]
    table("Languages without spaces, cut into words", columns, rows)


if __name__ == "__main__":
    main()
