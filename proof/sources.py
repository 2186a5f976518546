"""Write the sources of the metadata in the formats of the real ones: a dump, page views and a wordnet.

A dump has one page of the frequent words of a language, each as often as wordfreq says, and one page per concept with
its name and keywords in CLDR; the names are also the titles, viewed as often as the words in them are used. The wordnet
is Princeton WordNet's. No frequency of the generated pages is in them.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from proof.frequencies import concept_weights, frequent_words
from proof.names import Name
from proof.packages import members
from proof.settings import World

WORDS_TITLE = "Words"
MAX_REPEATS = 100  # of a word in the dump; only the order of words matters for the lists
VIEWS = 1_000_000


def write_sources(world: World, names: Mapping[str, Mapping[str, Name]], concepts: Sequence[str], out: Path) -> None:
    """Write `wikipedia/`, `pageviews/` and `wordnet/` below a folder."""
    for folder in ("wikipedia", "pageviews", "wordnet"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    views = []
    for code, size in world.languages.items():
        words, frequencies = frequent_words(code, size, world.metadata.words)
        pages = [(WORDS_TITLE, _text_of_words(words, frequencies)), *_pages(names[code], concepts)]
        path = out / "wikipedia" / f"{code}wiki-20240501-cirrussearch-content.json.gz"
        path.write_bytes(gzip.compress("".join(map(_document, *zip(*pages, strict=True))).encode(), mtime=0))
        weights = concept_weights(code, size, names[code], concepts)
        for concept, weight in zip(concepts, weights, strict=True):
            if concept in names[code]:
                title = names[code][concept].name.replace(" ", "_")
                views.append(f"{code.replace('_', '-')} {title} {1 + round(VIEWS * weight)} 0\n")
    (out / "pageviews" / "pageviews-20240501-000000.gz").write_bytes(gzip.compress("".join(views).encode(), mtime=0))
    for name, content in members(world.packages["wordnet"], "dict/index."):
        if not name.endswith(".sense"):
            (out / "wordnet" / name.rpartition("/")[2]).write_bytes(content)


def _text_of_words(words: Sequence[str], frequencies: Sequence[float]) -> str:
    """Return a text in which a word occurs in proportion to the logarithm of its frequency; full stops separate all."""
    rarest = min(frequencies)
    repeats = [min(MAX_REPEATS, 1 + round(10 * math.log10(share / rarest))) for share in frequencies]
    return " ".join(f"{word}. " * count for word, count in zip(words, repeats, strict=True))


def _pages(names: Mapping[str, Name], concepts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for concept in concepts:
        if concept in names:
            name = names[concept]
            yield name.name, ". ".join([name.name, *name.keywords]) + "."


def _document(title: str, text: str) -> str:
    lines = ({"index": {"_type": "_doc"}}, {"title": title, "namespace": 0, "text": text})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
