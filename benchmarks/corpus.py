"""English to match: half a million entries, and as many texts as wanted whose words follow Zipf's law.

Words are those of the English side of Tatoeba, by frequency, then the lemmas of WordNet: real words at real ranks. The
entries are all lemmas, four fifths of the words, and pairs and triples of words such as bigrams and titles are. A tenth
of a text's words stands in no list: numbers, file names, made-up names.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import numpy.typing as npt
from common import unpacked

from curation.images.refs import open_local
from metadata.languages import LanguageTable
from metadata.lists.wordnet import read_wordnets, wordnet_files

ENTRIES = 500_000
EXPONENT = 1.05


def lemmas(*, wiktionary: bool = False) -> dict[str, list[str]]:
    """Return the lemmas of all wordnets at hand by language."""
    folder = unpacked()
    paths = [str(path) for part in ("omw", "dict") for path in sorted((folder / part).rglob("*"))]
    read = read_wordnets(wordnet_files(paths, wiktionary=wiktionary), open_local, LanguageTable.load()).lemmas
    return {lang: sorted(words) for lang, words in read.items()}


def english_sentences() -> list[str]:
    """Return the English side of Tatoeba."""
    folder = unpacked() / "laser-tatoeba" / "data" / "tatoeba" / "v1"
    return [
        line
        for path in sorted(folder.glob("tatoeba.*-eng.eng"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


@cache
def vocabulary() -> tuple[str, ...]:
    """Return the words, the most frequent first."""
    words = Counter(word.strip(".,!?\"'") for line in english_sentences() for word in line.split())
    ranked = [word for word, _ in words.most_common() if word]
    seen = set(ranked)
    return (*ranked, *(lemma for lemma in lemmas()["en"] if lemma.isalpha() and lemma not in seen))


def words_of(dice: np.random.Generator, count: int) -> npt.NDArray[np.object_]:
    """Draw words by Zipf's law."""
    words = np.array(vocabulary(), object)
    weights = 1 / (np.arange(len(words)) + 2.7) ** EXPONENT
    return words[np.searchsorted(np.cumsum(weights) / weights.sum(), dice.random(count))]


def texts(count: int, seed: int = 0) -> list[str]:
    """Return made texts of about 90 bytes."""
    dice = np.random.default_rng(seed)
    lengths = np.clip(dice.lognormal(2.65, 0.45, count).astype(int), 1, 60)
    words = words_of(dice, int(lengths.sum()))
    odd = np.flatnonzero(dice.random(len(words)) < 0.1)
    numbers = dice.integers(0, 10**6, len(odd))
    words[odd] = [(f"IMG_{n}.jpg", f"{n}", f"Zq{n % 9973}x")[n % 3] for n in numbers.tolist()]
    signs = np.array(["", "", "", "", "", ".", ",", "!", " -", "'s"], object)
    words = words + signs[dice.integers(0, len(signs), len(words))]
    ends = np.cumsum(lengths)
    return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def entries() -> list[str]:
    """Return ENTRIES sorted entries."""
    words = vocabulary()
    found = dict.fromkeys([*lemmas()["en"], *(word for place, word in enumerate(words) if place % 5)])
    dice = np.random.default_rng(1)
    while len(found) < ENTRIES:
        drawn = words_of(dice, 3 * ENTRIES).reshape(-1, 3)
        found.update(dict.fromkeys(" ".join(row[: 2 + (place % 4 == 0)]) for place, row in enumerate(drawn)))
    return sorted(list(found)[:ENTRIES])
