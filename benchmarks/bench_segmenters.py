"""Measure how well and how fast texts without spaces are segmented into words, judged by dictionaries.

The texts are Tatoeba sentences, names of emoji and word lists (gatitos) from the unpacked archives. Dictionaries are
the wordnets of the language, hand-made and from Wiktionary, or the word list itself. "In dictionary" is the share of
the segmented words that a dictionary contains. "Dictionary words found" is the share of the dictionary words in the
text (two or more characters, longest first) that the segmenter returns as one word. It is not measured for Tibetan,
whose unit is the syllable. Segmenters that are not installed are skipped.

    python benchmarks/bench_segmenters.py [--tiny]
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

from common import run, scaled, table, unpacked

from metadata.languages import Language, LanguageTable
from metadata.lists.wordnet import read_tab
from metadata.ngrams.segmenters import SEGMENTERS, segment
from metadata.ngrams.tokens import BREAK, unspaced_words

LANGUAGES = LanguageTable.load().languages
LONGEST = 16
LINES = scaled(None, 20)  # of each language; all of them in a full run
# Wikipedia, source of the texts, code of the language there, wordnets, other segmenters
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
    """Return the lemmas of the wordnets of a language, or else its word list, without final tshegs."""
    words: set[str] = set()
    for name in wordnets:
        for path in folder.glob(f"omw/**/wn-{name}.tab"):
            with path.open("rb") as stream:
                words.update(read_tab(stream, str(path), Counter()))
    words.update(() if wordnets else texts(folder, "gatitos", code))
    return {unicodedata.normalize("NFC", word).strip("་༌") for word in words}


def runs_of_text(language: Language, lines: Iterable[str]) -> list[str]:
    """Return the runs of text between punctuation and white space, without zero-width spaces."""
    inner = SEGMENTERS[language.segmenter].inner
    words = (word for line in lines for word in unspaced_words(line.replace("\u200b", ""), lambda text: [text], inner))
    return [word for word in words if word != BREAK]


def longest_matches(text: str, known: set[str]) -> Iterator[tuple[int, int]]:
    """Yield the spans of dictionary words of two or more characters, from left to right, longest first."""
    start = 0
    while start < len(text):
        ends = range(min(len(text), start + LONGEST), start + 1, -1)
        end = next((end for end in ends if text[start:end] in known), 0)
        if end:
            yield start, end
        start = end or start + 1


def measure(language: Language, lines: list[str], known: set[str]) -> list[str]:
    """Return the figures of one segmenter on some texts."""
    segmenter = segment(language.segmenter, language.code)
    unsegmented = runs_of_text(language, lines)
    segmenter(unsegmented[0])  # loads the dictionary
    started = time.perf_counter()
    words = [segmenter(text) for text in unsegmented]
    speed = sum(map(len, unsegmented)) / (time.perf_counter() - started) / 1e6
    num_known = num_found = 0
    for text, parts in zip(unsegmented, words, strict=True):
        edges = [0, *accumulate(map(len, parts))]
        for span in longest_matches(text, known) if edges[-1] == len(text) else ():
            num_known += 1
            num_found += span in set(pairwise(edges))
    count = sum(map(len, words))
    share = sum(word in known for parts in words for word in parts) / count
    length = sum(len(word) for parts in words for word in parts) / count
    recall = "–"
    if num_known and not SEGMENTERS[language.segmenter].inner:
        recall = f"{num_found / num_known:.0%} of {num_known:,}"
    return [language.segmenter, f"{count:,}", f"{length:.1f}", f"{share:.0%}", recall, f"{speed:.2f}"]


def main() -> None:
    """Measure and print."""
    folder, rows = unpacked(), []
    for code, source, name, wordnets, others in CASES:
        lines, known = texts(folder, source, name)[:LINES], dictionary(folder, wordnets, name)
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
    table("Languages without spaces, segmented into words", columns, rows)


if __name__ == "__main__":
    run(main)
