"""English entries and texts to match: half a million entries, and texts whose words follow Zipf's law.

The words come from the English side of Tatoeba, ordered by frequency, then from WordNet, so that real words have real
ranks. The entries are all lemmas, four fifths of the words, and pairs and triples of words, which resemble bigrams and
titles. A tenth of the words of a text are in no list: numbers, file names and invented names.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import numpy.typing as npt
from common import scaled, unpacked

from curation.images.refs.read import open_local
from metadata.languages import LanguageTable
from metadata.lists.wordnet import read_wordnets, wordnet_files

ENTRIES = scaled(500_000, 5_000)
EXPONENT = 1.05


def lemmas(*, wiktionary: bool = False) -> dict[str, list[str]]:
    """Return the lemmas of all wordnets by language."""
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
    """Return the words, most frequent first."""
    words = Counter(word.strip(".,!?\"'") for line in english_sentences() for word in line.split())
    ranked = [word for word, _ in words.most_common() if word]
    seen = set(ranked)
    return (*ranked, *(lemma for lemma in lemmas()["en"] if lemma.isalpha() and lemma not in seen))


def draw_words(rng: np.random.Generator, count: int) -> npt.NDArray[np.object_]:
    """Draw words by Zipf's law."""
    words = np.array(vocabulary(), object)
    weights = 1 / (np.arange(len(words)) + 2.7) ** EXPONENT
    return words[np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(count))]


def texts(count: int, seed: int = 0) -> list[str]:
    """Return synthetic texts of about 90 bytes."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(2.65, 0.45, count).astype(int), 1, 60)
    words = draw_words(rng, int(lengths.sum()))
    unlisted = np.flatnonzero(rng.random(len(words)) < 0.1)
    numbers = rng.integers(0, 10**6, len(unlisted))
    words[unlisted] = [(f"IMG_{n}.jpg", f"{n}", f"Zq{n % 9973}x")[n % 3] for n in numbers.tolist()]
    suffixes = np.array(["", "", "", "", "", ".", ",", "!", " -", "'s"], object)
    words = words + suffixes[rng.integers(0, len(suffixes), len(words))]
    ends = np.cumsum(lengths)
    return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def entries() -> list[str]:
    """Return ENTRIES sorted entries."""
    words = vocabulary()
    unique = dict.fromkeys([*lemmas()["en"], *(word for rank, word in enumerate(words) if rank % 5)])
    rng = np.random.default_rng(1)
    while len(unique) < ENTRIES:
        drawn = draw_words(rng, 3 * ENTRIES).reshape(-1, 3)
        unique.update(dict.fromkeys(" ".join(row[: 2 + (number % 4 == 0)]) for number, row in enumerate(drawn)))
    return sorted(list(unique)[:ENTRIES])
