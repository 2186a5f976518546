"""How much of earlier languages a model keeps that learns languages one after the other."""

from __future__ import annotations

from collections.abc import Sequence


def sequence_metrics(scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return average accuracy `AA`, forgetting `F` and forgetting of the first language `F_en` (arXiv 2401.17186).

    AA is the mean of the last scores of all languages. The forgetting of a language is its best score before the last
    language was learned, minus its last score; F is the mean over all languages but the last, 0 if there is only one.

    Args:
        scores: row i has the scores of languages 0 to i after language i was learned.
    """
    last = scores[-1]
    forgotten = [
        max(row[language] for row in scores[language:-1]) - last[language] for language in range(len(last) - 1)
    ]
    return {
        "AA": sum(last) / len(last),
        "F": sum(forgotten) / len(forgotten) if forgotten else 0.0,
        "F_en": forgotten[0] if forgotten else 0.0,
    }
