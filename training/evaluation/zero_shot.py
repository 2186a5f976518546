"""Zero-shot classification: label images with the class whose prompts are nearest, per language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from curation.errors import InputError
from training.evaluation.class_prompts import Prompts
from training.evaluation.embed import embed_texts
from training.evaluation.encoder import Encoder
from training.evaluation.labeled_images import Labeled
from training.evaluation.metrics.classification import classification_metrics


def zero_shot(encoder: Encoder, images: Labeled, prompts: Prompts) -> Iterator[dict[str, Any]]:
    """Classify every image by the nearest class, separately for each language.

    A class is represented by the normalized mean of its prompts' embeddings (CLIP, arXiv 2103.00020, section 3.1.4).
    A language is evaluated on the images whose label it lists, among the classes that it lists. Yields one dictionary
    per language: `language` and the keys of `classification_metrics`. Raises InputError if no language lists any label.

    Args:
        encoder: the model.
        images: embeddings and labels of the images.
        prompts: language -> class -> prompts.
    """
    used = False
    for language, classes in prompts.items():
        scored = class_scores(encoder, images, classes)
        if scored is None:
            continue
        used = True
        yield {"language": language, **classification_metrics(*scored)}
    if not used:
        raise InputError("classes: no language lists the label of any image")


def class_scores(
    encoder: Encoder, images: Labeled, classes: Mapping[str, Sequence[str]]
) -> tuple[Tensor, Tensor] | None:
    """Return the similarity of each image and class, and the index of the class of each image; None without an image.

    Only the images whose label is a class have a row.

    Args:
        encoder: the model.
        images: embeddings and labels of the images.
        classes: the prompts of each class, in one language.
    """
    rows = [number for number, label in enumerate(images.labels) if label in classes]
    if not rows:
        return None
    index = {name: number for number, name in enumerate(classes)}
    expected = torch.tensor([index[images.labels[row]] for row in rows])
    embedded = embed_texts(encoder, [prompt for texts in classes.values() for prompt in texts])
    parts = torch.split(embedded, [len(texts) for texts in classes.values()])
    prototypes = normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)
    return images.embeddings[rows] @ prototypes.T, expected
