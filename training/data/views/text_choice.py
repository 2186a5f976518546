"""Choose the text that a visit of an image shows, among texts of several sources (LaCLIP, arXiv 2305.20088)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from curation.errors import InputError
from curation.hashing import uniform

NO_FACTORS: Mapping[str, float] = MappingProxyType({})


def choose_text(
    texts: Mapping[str, Sequence[str]],
    weights: Mapping[str, float],
    seed: int,
    *,
    factors: Mapping[str, float] = NO_FACTORS,
    short_words: int = 0,
) -> str:
    """Return a text, drawn with the weight of its source times its own factor.

    With equal weights and no factors all texts are equally likely, also if images have different numbers of rewrites.
    Raises InputError if no source with a weight has a text.

    Args:
        texts: the texts of an image by source; sources without weight are ignored.
        weights: by source, at least 0; the first text of the first source is the original.
        seed: decides the draw.
        factors: by text, above 0; texts that are not named have 1.
        short_words: a drawn text with fewer parts between single spaces is replaced by the original; 0: none is.
    """
    choices = [
        (text, weight * factors.get(text, 1.0))
        for source, weight in weights.items()
        if weight
        for text in texts.get(source, ())
    ]
    if not choices:
        sources = ", ".join(source for source, weight in weights.items() if weight)
        raise InputError(f"texts: the row has none of source {sources}: choose other sources of the view")
    left = uniform(seed) * sum(weight for _, weight in choices)
    chosen = choices[-1][0]  # rounding may leave a little at the end
    for text, weight in choices:
        left -= weight
        if left < 0:
            chosen = text
            break
    if len(chosen.split(" ")) >= short_words:
        return chosen
    return next(iter(texts.get(next(iter(weights)), ())), chosen)
