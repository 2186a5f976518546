"""Recall at k: the share of queries with a correct item among the k most similar ones; and ranks of the first one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CUTOFFS = (1, 5, 10)
QUERIES_AT_ONCE = 1024

Integers = npt.NDArray[np.int64]
Rescore = Callable[[Tensor], Tensor]


def recalls(
    images: Tensor,
    texts: Tensor,
    image_of_text: Sequence[int],
    captions: Sequence[str] | None = None,
    *,
    rescore: Rescore | None = None,
) -> dict[str, float]:
    """Return recall@1, @5 and @10 from image to text and from text to image, and mean reciprocal ranks @5 and @10.

    A query counts once, however many of its correct items are found, as in the literature on CLIP. A text is correct
    for its image. With `captions`, so is every text with the same caption, and an image is correct for a text if it has
    that caption.

    Args:
        images: unit embeddings (n, d).
        texts: unit embeddings (m, d).
        image_of_text: for each text, the index of its image; an image may have several texts, and has at least one.
        captions: the texts themselves; None: texts are correct only for their own image.
        rescore: makes scores of the cosine similarities (queries, items) of all queries; None: these are the scores.
    """
    owners = np.asarray(image_of_text, np.int64)
    numbers: dict[str, int] = {}
    groups = np.array(
        [numbers.setdefault(text, len(numbers)) for text in captions] if captions else range(len(owners)), np.int64
    )
    correct = np.unique(groups * len(images) + owners)  # each pair of a caption and an image as one number
    retrieved_texts = _most_similar(images, texts, rescore)
    retrieved_images = _most_similar(texts, images, rescore)
    hits = {
        "image_to_text": _is_in(groups[retrieved_texts] * len(images) + np.arange(len(images))[:, None], correct),
        "text_to_image": _is_in(groups[:, None] * len(images) + retrieved_images, correct),
    }
    recall = {
        f"{direction}_recall@{k}": float(found[:, :k].any(1).mean())
        for direction, found in hits.items()
        for k in CUTOFFS
    }
    ranks = {
        f"{direction}_mrr@{k}": mean_reciprocal_rank(found, k) for direction, found in hits.items() for k in CUTOFFS[1:]
    }
    return recall | ranks


def mean_reciprocal_rank(found: npt.NDArray[np.bool_], k: int) -> float:
    """Return the mean over queries of 1 / the rank of the first correct item, from 1; 0 if that is more than k.

    Args:
        found: which items are correct, the best first (queries, items).
        k: largest rank that counts.
    """
    best = found[:, :k]
    return float(np.where(best.any(1), 1 / (1 + best.argmax(1)), 0.0).mean())


def _most_similar(queries: Tensor, items: Tensor, rescore: Rescore | None) -> Integers:
    """Return for each query the indices of the most similar items, the best first."""
    k = min(max(CUTOFFS), len(items))
    if rescore is not None:  # it needs all queries at once
        return rescore(queries @ items.T).topk(k).indices.numpy()
    parts = [(part @ items.T).topk(k).indices for part in torch.split(queries, QUERIES_AT_ONCE)]
    return torch.cat(parts).numpy()


def _is_in(values: Integers, members: Integers) -> npt.NDArray[np.bool_]:
    """Return which values are in a sorted array."""
    places = np.searchsorted(members, values).clip(max=len(members) - 1)
    return np.asarray(members[places] == values)
