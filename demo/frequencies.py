"""Frequencies of kinds, scenes and sentences per language, drawn from the seed.

Large languages are skewed, like real crawls: about half of their pictures are stock pictures, which show few kinds in
few scenes and share one caption. The other pictures are spread over all kinds, scenes and sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from demo.words import KINDS, SCENES, Language

# Shares of the pictures in the large languages; the others share the rest about equally.
LARGE = {"en": 0.28, "es": 0.08, "fr": 0.075, "de": 0.07, "zh": 0.06, "ru": 0.06}
STOCK_SHARE = {"en": 0.65, "es": 0.6, "fr": 0.6, "de": 0.6, "zh": 0.3, "ru": 0.6}
STOCK_KINDS, STOCK_SCENES, STOCK_CAPTIONS = 2, 1, 3
SKEW_LARGE, SKEW_SMALL = 0.9, 0.35  # Zipf exponents of all other choices

BARE_WORD, SECOND_SENTENCE = 0.04, 0.35


@dataclass(frozen=True)
class Subject:
    """The content of a picture; `stock` pictures have the most frequent caption of their language."""

    kind: str
    scene: str
    stock: bool


class Frequencies:
    """The frequencies of kinds, scenes, caption sentences and second sentences in one language."""

    def __init__(self, lang: Language, rng: Random) -> None:
        self._lang = lang
        self._stock_share = STOCK_SHARE.get(lang.code, 0.0)
        self._stock_kinds = rng.sample(KINDS, STOCK_KINDS)
        self._stock_scenes = rng.sample(SCENES, STOCK_SCENES)
        self._stock_caption = rng.randrange(STOCK_CAPTIONS)
        skew = SKEW_LARGE if lang.code in LARGE else SKEW_SMALL
        self._kinds = zipf(rng, len(KINDS), skew)
        self._scenes = zipf(rng, len(SCENES), skew)
        self._captions = zipf(rng, len(lang.captions), skew)
        self._extras = zipf(rng, len(lang.extras), skew)

    def subject(self, rng: Random) -> Subject:
        """Draw the subject of a new picture."""
        if rng.random() < self._stock_share:
            return Subject(rng.choice(self._stock_kinds), rng.choice(self._stock_scenes), stock=True)
        kind, scene = rng.choices(KINDS, self._kinds)[0], rng.choices(SCENES, self._scenes)[0]
        return Subject(kind, scene, stock=False)

    def caption(self, rng: Random, subject: Subject) -> str:
        """Draw a caption: usually one sentence, often two, sometimes a single word."""
        lang = self._lang
        if subject.stock:
            return lang.caption(self._stock_caption, subject.kind, subject.scene)
        if rng.random() < BARE_WORD:
            return lang.nouns[subject.kind].word
        template = rng.choices(range(len(lang.captions)), self._captions)[0]
        text = lang.caption(template, subject.kind, subject.scene)
        if rng.random() < SECOND_SENTENCE:
            text += lang.space + rng.choices(lang.extras, self._extras)[0]
        return text


def zipf(rng: Random, count: int, exponent: float) -> list[float]:
    """Return `count` weights 1 / rank^exponent in random order."""
    weights = [rank**-exponent for rank in range(1, count + 1)]
    rng.shuffle(weights)
    return weights
