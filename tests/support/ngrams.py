"""Lists of words, and their n-grams counted the obvious way."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import strategies as st

from metadata.ngrams.tokens import BREAK

WORDS = st.sampled_from(["a", "b", "B", "é", "नमस्ते", "文", "1990", BREAK])
TEXTS = st.lists(st.lists(WORDS, max_size=12), max_size=6)


def oracle_counts(texts):
    unigrams, bigrams = Counter(), Counter()
    for words in texts:
        unigrams.update(word for word in words if word != BREAK)
        bigrams.update(pair for pair in pairwise(words) if BREAK not in pair)
    return {**{(word, None): n for word, n in unigrams.items()}, **bigrams}
