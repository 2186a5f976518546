"""Small edits of a text that keep its meaning: swapped, deleted or replaced words (EDA, arXiv 1901.11196).

Words are separated by spaces, so a text without spaces has one word and only a synonym can change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from training.data.views.seeds import generator

Edit = Literal["swap", "delete", "synonym"]
Synonyms = Mapping[str, Sequence[str]]

SHARE = 0.1  # of the words, at least one


def edit_text(text: str, edits: Sequence[Edit], seed: int, synonyms: Synonyms | None = None) -> str:
    """Return a text after one edit, drawn among those that can change it; a text that none can change stays the same.

    Args:
        text: the words.
        edits: kinds of edits to draw from.
        seed: decides kind and words.
        synonyms: by word in lower case; without them, `synonym` changes nothing.
    """
    words, rng, known = text.split(), generator(seed), synonyms or {}
    possible = [edit for edit in edits if _can_change(edit, words, known)]
    if not possible:
        return text
    edit = possible[int(rng.integers(len(possible)))]
    return " ".join(_EDITS[edit](words, rng, known))


def _can_change(edit: Edit, words: Sequence[str], synonyms: Synonyms) -> bool:
    if edit == "synonym":
        return any(synonyms.get(word.lower()) for word in words)
    return len(words) > 1


def _count(words: Sequence[str]) -> int:
    return max(1, int(SHARE * len(words)))


def _swap(words: list[str], rng: np.random.Generator, _: Synonyms) -> list[str]:
    """Swap two words, once per ten words."""
    swapped = list(words)
    for _number in range(_count(words)):
        first, second = rng.choice(len(words), 2, replace=False)
        swapped[first], swapped[second] = swapped[second], swapped[first]
    return swapped


def _delete(words: list[str], rng: np.random.Generator, _: Synonyms) -> list[str]:
    """Delete one word per ten words; at least one word remains."""
    deleted = set(rng.choice(len(words), _count(words), replace=False).tolist())
    return [word for number, word in enumerate(words) if number not in deleted]


def _replace(words: list[str], rng: np.random.Generator, synonyms: Synonyms) -> list[str]:
    """Replace one word per ten words by one of its synonyms."""
    replaced = list(words)
    replaceable = [number for number, word in enumerate(words) if synonyms.get(word.lower())]
    for number in rng.permutation(replaceable)[: _count(words)]:
        choices = synonyms[words[number].lower()]
        replaced[number] = choices[int(rng.integers(len(choices)))]
    return replaced


_EDITS: dict[Edit, Callable[[list[str], np.random.Generator, Synonyms], list[str]]] = {
    "swap": _swap,
    "delete": _delete,
    "synonym": _replace,
}
