"""Alt-texts about concepts: the name alone, among keywords, or in a sentence; and the noise of real pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from random import Random

from demo.words import SCENES, languages
from proof.frequencies import concept_weights, frequent_words
from proof.names import PICTURE, Name
from proof.settings import LanguageSize, TextRates

COMPANY = 2000  # most frequent words, of which sentences are made


class Texts:
    """The texts of one language; every choice comes from the generator that a call is given."""

    def __init__(
        self, code: str, size: LanguageSize, names: Mapping[str, Name], concepts: Sequence[str], rates: TextRates
    ) -> None:
        self.code = code
        self._rates, self._names, self._concepts = rates, names, concepts
        self._cumulated = list(accumulate(concept_weights(code, size, names, concepts)))
        self._words, weights = frequent_words(code, size, COMPANY)
        self._word_weights = list(accumulate(weights))
        self._sentences = languages().get(code)
        self._space = "" if code in ("ja", "zh") else " "

    def concept(self, rng: Random) -> str:
        """Draw the concept of a picture."""
        return rng.choices(self._concepts, cum_weights=self._cumulated)[0]

    def on_page(self, rng: Random, concept: str, scene: str) -> tuple[str, str]:
        """Return the text of a picture on a page and its kind: a text about it, or noise."""
        draw, rates = rng.random(), self._rates
        if draw < rates.file_name:
            return f"IMG_{rng.randrange(10_000):04}.jpg", "file_name"
        if draw < rates.file_name + rates.generic:
            return self._names[PICTURE].name, "generic"
        if draw < rates.file_name + rates.generic + rates.wrong:
            return self.about(rng, self.concept(rng), rng.choice(SCENES)), "wrong"
        return self.about(rng, concept, scene), "about"

    def about(self, rng: Random, concept: str, scene: str) -> str:
        """Return a text about a concept in a scene."""
        name, draw = self._names[concept], rng.random()
        if draw < self._rates.name:
            return name.name
        if draw < self._rates.name + self._rates.keywords and name.keywords:
            others = rng.sample(name.keywords, min(len(name.keywords), rng.randint(1, self._rates.max_keywords)))
            return ", ".join(rng.sample([name.name, *others], len(others) + 1))
        if self._sentences is not None:
            template = rng.choice(self._sentences.captions)
            return template.format(x=name.name, at=self._sentences.scenes[scene])
        before, after = (self._company(rng) for _ in range(2))
        return self._space.join([*before, name.name, *after])

    def captions(self, rng: Random, concept: str, scene: str) -> list[str]:
        """Return the captions of a held-out picture: one text, or none if the concept has no name in this language."""
        return [self.about(rng, concept, scene)] if concept in self._names else []

    def _company(self, rng: Random) -> list[str]:
        return rng.choices(self._words, cum_weights=self._word_weights, k=rng.randint(1, self._rates.max_words))
