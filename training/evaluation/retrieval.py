"""Image-text retrieval per language."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from curation.errors import InputError
from training.evaluation.captioned_images import CaptionedImage
from training.evaluation.embed import ImageSource, embed_images, embed_texts
from training.evaluation.encoder import Encoder
from training.evaluation.metrics.geometry import alignment, uniformity
from training.evaluation.metrics.recall import Rescore, recalls

Result = dict[str, Any]  # of one task and language
CaptionSets = defaultdict[str, dict[tuple[int, str], None]]  # by language; the dictionaries are ordered sets


class Captioned(NamedTuple):
    """Unit embeddings of different images (n, d), and for each language the captions as (image, text)."""

    embeddings: Tensor
    captions: dict[str, list[tuple[int, str]]]


def embed_captioned(encoder: Encoder, images: Iterable[CaptionedImage]) -> Captioned:
    """Embed captioned images; images of the same path or bytes are one image, and equal captions of it one caption.

    Raises InputError if an image cannot be read or there is no caption.
    """
    captions: CaptionSets = defaultdict(dict)
    embeddings = embed_images(encoder, different_images(images, captions))
    listed = {language: list(pairs) for language, pairs in captions.items() if pairs}
    if not listed:
        raise InputError("captions: there is no image with a caption")
    return Captioned(embeddings, listed)


def different_images(images: Iterable[CaptionedImage], captions: CaptionSets | None = None) -> Iterator[ImageSource]:
    """Yield each image once; images of the same path or bytes are one.

    To `captions`, the number of each image is added with its captions, by language.
    """
    numbers: dict[Path | bytes, int] = {}
    for image, by_language in images:
        key = image if isinstance(image, Path) else hashlib.sha256(image.data).digest()
        is_new = key not in numbers
        number = numbers.setdefault(key, len(numbers))
        if captions is not None:
            for language, texts in by_language.items():
                captions[language].update({(number, text): None for text in texts})
        if is_new:
            yield image


def retrieval(
    encoder: Encoder, images: Captioned, *, equal_captions: bool, rescore: Rescore | None = None
) -> Iterator[Result]:
    """Yield for each language the recall among its images and captions, with alignment and uniformity.

    Keys: `language`, `images`, `texts`, those of `recalls`, `shared_captions` (texts that are the caption of several
    images), `alignment` over all pairs, `image_uniformity` and `text_uniformity`.

    Args:
        encoder: the model.
        images: the images and their captions.
        equal_captions: whether a caption that several images have is correct for all of them.
        rescore: as in `recalls`.
    """
    for language, pairs in images.captions.items():
        numbers = sorted({number for number, _ in pairs})
        position = {number: row for row, number in enumerate(numbers)}
        owners, captions = [position[number] for number, _ in pairs], [text for _, text in pairs]
        images_of_caption = Counter(captions)  # a caption occurs once per image
        selected, texts = images.embeddings[numbers], embed_texts(encoder, captions)
        yield {
            "language": language,
            "images": len(numbers),
            "texts": len(captions),
            **recalls(selected, texts, owners, captions if equal_captions else None, rescore=rescore),
            "shared_captions": sum(images_of_caption[text] > 1 for text in captions),
            "alignment": alignment(selected[owners], texts),
            "image_uniformity": uniformity(selected),
            "text_uniformity": uniformity(texts),
        }
