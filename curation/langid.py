"""The language of a text, by a fastText model whose labels a table maps to language keys.

A text is `other` when it is empty or too uncertain, or when the mapping says so for its label. Any supervised fastText
model will do (lid.176, GlotLID, OpenLID …) as long as the mapping, which `metadata.labels` makes, knows every label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import fasttext

from curation.errors import UsageError

OTHER: Final = "other"
_PREFIX: Final = "__label__"
NAMED: Final = 5  # unknown labels that a message names


class LanguageIdentifier:
    """Names the language of texts.

    Args:
        path: the fastText model file, loaded at most once a process.
        label_to_lang: language key (or `other`) of every label of the model, labels without `__label__`.
        min_score: a text whose best label scores below this is `other`.

    Raises UsageError when the file is missing or no supervised fastText model, or has labels the mapping lacks.
    """

    def __init__(self, path: str | Path, label_to_lang: Mapping[str, str], min_score: float = 0.0) -> None:
        self._model = _load(str(path))
        self._langs = {_PREFIX + label: lang for label, lang in label_to_lang.items()}
        self._min_score = min_score
        unknown = sorted(set(labels_of(path)) - label_to_lang.keys())
        if unknown:
            some = ", ".join(unknown[:NAMED]) + (", …" if len(unknown) > NAMED else "")
            raise UsageError(
                f"match.lid_model: {path} has labels that lead to no language ({len(unknown)}): {some}; "
                f"say in a file match.lid_labels where they belong"
            )

    def identify(self, texts: Sequence[str]) -> tuple[list[str], list[float]]:
        """Return the language key and the score in [0, 1] of each text; an empty text is `other` with score 0."""
        langs, scores = [], []
        lines = [_line(text) for text in texts]
        for line, labels, probabilities in zip(lines, *self._model.predict(lines), strict=True):
            known = bool(labels) and not line.isspace()
            score = min(float(probabilities[0]), 1.0) if known else 0.0  # fastText reports up to 1.00005
            langs.append(self._langs[labels[0]] if known and score >= self._min_score else OTHER)
            scores.append(score)
        return langs, scores

    def candidates(self, text: str, most: int = 3) -> list[tuple[str, str, float]]:
        """Return the model's best labels for a text, each with its language key and score, the best first."""
        [labels], [scores] = self._model.predict([_line(text)], k=most)
        return [
            (label.removeprefix(_PREFIX), self._langs[label], min(float(score), 1.0))
            for label, score in zip(labels, scores, strict=True)
        ]


def labels_of(path: str | Path) -> list[str]:
    """Return the labels of a model without `__label__`; UsageError when it is no supervised fastText model."""
    return [label.removeprefix(_PREFIX) for label in _load(str(path)).get_labels()]


def cached(path: str | Path, label_to_lang: Mapping[str, str], min_score: float = 0.0) -> LanguageIdentifier:
    """Return an identifier of this process: the same arguments give the same one."""
    return _cached(str(path), tuple(sorted(label_to_lang.items())), min_score)


@lru_cache(maxsize=4)
def _cached(path: str, labels: tuple[tuple[str, str], ...], min_score: float) -> LanguageIdentifier:
    return LanguageIdentifier(path, dict(labels), min_score)


@lru_cache(maxsize=4)
def _load(path: str) -> Any:
    try:
        model = fasttext.load_model(path)
    except (ValueError, MemoryError) as error:
        raise UsageError(f"match.lid_model: cannot load {path} as a fastText model: {error}") from error
    # Models of other kinds answer with their words here.
    if not all(label.startswith(_PREFIX) for label in model.get_labels() or [""]):
        raise UsageError(f"match.lid_model: {path} is no classifier: it has no labels that start with {_PREFIX}")
    return model


def _line(text: str) -> str:
    """Return the text as a line that fastText takes: it refuses line feeds and lone surrogates."""
    line = text.replace("\n", " ").replace("\0", " ") or " "
    return line if line.isascii() else line.encode("utf-8", "replace").decode("utf-8")


def model_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a model file in hexadecimal; UsageError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"match.lid_model: cannot read {path}: {error.strerror}") from error
