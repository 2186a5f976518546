"""How often concepts are shown: word frequencies of real text, from the package wordfreq.

The frequency of a name of several words is 1 / Σ 1/f over its words, as wordfreq defines it; a word that wordfreq does
not list has the frequency of the rarest one that it could list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import wordfreq

from metadata.languages import LanguageTable
from metadata.ngrams.tokens import BREAK, tokenizer
from proof.names import Name
from proof.settings import LanguageSize

UNLISTED = 1e-9  # wordfreq rounds frequencies to hundredths of a power of ten, from 10^-8 or 10^-6 on


@cache
def word_frequencies(code: str) -> Mapping[str, float]:
    """Return the frequency of every word of a language, by its code in wordfreq, the most frequent first."""
    frequencies: Mapping[str, float] = wordfreq.get_frequency_dict(code, wordlist="best")
    return frequencies


def phrase_frequency(words: Sequence[str], frequencies: Mapping[str, float]) -> float:
    """Return the frequency of a phrase: half of that of its words if there are two of the same frequency, and so on."""
    return 1 / sum(1 / frequencies.get(word.casefold(), UNLISTED) for word in words) if words else UNLISTED


def concept_weights(code: str, size: LanguageSize, names: Mapping[str, Name], concepts: Sequence[str]) -> list[float]:
    """Return the share of each concept in the pictures of a language; one without a name there has 0. The sum is 1."""
    frequencies = word_frequencies(size.words or code)
    tokenize = tokenizer(LanguageTable.load().languages[code])
    weights = [
        phrase_frequency([word for word in tokenize(names[concept].name) if word != BREAK], frequencies)
        if concept in names
        else 0.0
        for concept in concepts
    ]
    total = sum(weights)
    return [weight / total for weight in weights]


def frequent_words(code: str, size: LanguageSize, count: int) -> tuple[list[str], list[float]]:
    """Return the most frequent words of a language that have a letter, and their frequencies."""
    listed = (
        (word, share) for word, share in word_frequencies(size.words or code).items() if any(map(str.isalpha, word))
    )
    pairs = [pair for _, pair in zip(range(count), listed, strict=False)]
    return [word for word, _ in pairs], [share for _, share in pairs]
