"""Examples of retrieval: some texts of every language, each with the pictures that the model finds for it."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from curation.errors import InputError
from curation.report.contact_sheet import spread_by_language
from training.data.transforms import decode
from training.evaluation.embed import ImageSource, embed_texts
from training.evaluation.encoder import Encoder
from training.evaluation.retrieval import Captioned

EXAMPLES, PICTURES = 24, 4  # of a set, and of an example
SIDE, QUALITY = 112, 75  # of thumbnails, in pixels; about 3 KB


class Picture(BaseModel):
    """A picture that was found.

    Attributes:
        source: a thumbnail as a `data:` URI.
        similarity: cosine similarity with the text.
        correct: whether the text is a caption of it.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    similarity: float
    correct: bool


class Example(BaseModel):
    """A text, and the pictures most similar to it, the most similar first.

    Attributes:
        language: of the text.
        text: a caption.
        rank: of the first correct picture among all pictures, from 1.
        candidates: number of all pictures.
        pictures: those most similar.
    """

    model_config = ConfigDict(frozen=True)

    language: str
    text: str
    rank: int
    candidates: int
    pictures: tuple[Picture, ...]


def retrieval_examples(encoder: Encoder, images: Captioned, sources: Iterator[ImageSource]) -> list[Example]:
    """Return examples of all languages, if there are not more than `EXAMPLES`, the same ones for every model.

    Args:
        encoder: the model.
        images: the embedded images and their captions.
        sources: the images again, in the order of their embeddings.
    """
    parts = images.captions.items()
    texts = [(name, *pair) for place, (name, pairs) in enumerate(parts) for pair in _spread(pairs, place / len(parts))]
    texts = [texts[position] for position in spread_by_language([text[0] for text in texts], EXAMPLES)]
    embedded = embed_texts(encoder, [text for _, _, text in texts])
    found = []
    for (language, _, text), embedding in zip(texts, embedded, strict=True):
        candidates = sorted({number for number, _ in images.captions[language]})
        similarities = (images.embeddings[candidates] @ embedding).tolist()
        ranked = sorted(zip(similarities, candidates, strict=True), reverse=True)
        correct = {number for number, caption in images.captions[language] if caption == text}
        rank = next(place for place, (_, number) in enumerate(ranked, start=1) if number in correct)
        found.append((language, text, rank, len(ranked), ranked[:PICTURES], correct))
    shown = {number for _, _, _, _, best, _ in found for _, number in best}
    thumbnails = {number: thumbnail(source) for number, source in enumerate(sources) if number in shown}
    return [
        Example(
            language=language,
            text=text,
            rank=rank,
            candidates=candidates,
            pictures=tuple(
                Picture(source=thumbnails[number], similarity=round(similarity, 4), correct=number in correct)
                for similarity, number in best
            ),
        )
        for language, text, rank, candidates, best, correct in found
    ]


def thumbnail(source: ImageSource) -> str:
    """Return a small JPEG of an image as a `data:` URI. Raises InputError if it cannot be read."""
    try:
        image = decode(source.read_bytes() if isinstance(source, Path) else source.data)
    except OSError as error:
        raise InputError(f"cannot read {source!s}: {error.strerror}") from error
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def _spread(pairs: Sequence[tuple[int, str]], shift: float) -> list[tuple[int, str]]:
    """Return pairs at equal distances, at most `EXAMPLES`, from a share of them on, so that languages have others."""
    count, start = min(EXAMPLES, len(pairs)), int(shift * len(pairs))
    return [pairs[(start + len(pairs) * number // count) % len(pairs)] for number in range(count)]
