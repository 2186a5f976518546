"""Image-text retrieval: recall@1 in both directions, also on the held-out pairs of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from curation.io.storage import Storage
from training.data.shard_index import ShardIndex
from training.data.shard_reader import ShardReader
from training.data.tokenizer import Tokenizer
from training.evaluation.embed import embed_images, embed_texts
from training.models.metaclip2 import TwoTowers


def retrieval(images: Tensor, texts: Tensor, captions: Sequence[str]) -> dict[str, float]:
    """Return recall@1 from image to text and from text to image.

    A retrieved item is correct if its caption equals the caption of the query, so pairs with equal captions do not
    count as errors of each other.

    Args:
        images: unit embeddings (n, d).
        texts: unit embeddings (n, d) of their captions.
        captions: the captions themselves.
    """
    same = torch.from_numpy(np.unique(np.array(captions), return_inverse=True)[1])
    cosines = images @ texts.T
    text_of, image_of = cosines.argmax(1), cosines.argmax(0)
    return {
        "image_to_text_recall": float((same[text_of] == same).float().mean()),
        "text_to_image_recall": float((same[image_of] == same).float().mean()),
    }


def held_out_retrieval(
    towers: TwoTowers, tokenizer: Tokenizer, index: ShardIndex, storage: Storage, limit: int
) -> dict[str, float]:
    """Return the recall on the first `limit` samples of an index, their number, and how many images were unreadable.

    Pairs with an unreadable image are left out.
    """
    pairs = list(_pairs(index, storage, limit))
    unreadable: list[int] = []
    towers.eval()
    images = embed_images(towers, [image for image, _ in pairs], unreadable)
    skipped = set(unreadable)
    captions = [text for number, (_, text) in enumerate(pairs) if number not in skipped]
    counts = {"held_out_pairs": len(captions), "held_out_unreadable": len(skipped)}
    recall = retrieval(images, embed_texts(towers, tokenizer, captions), captions) if captions else {}
    towers.train()
    return counts | recall


def _pairs(index: ShardIndex, storage: Storage, limit: int) -> Iterator[tuple[bytes, str]]:
    reader, remaining = ShardReader(index, storage), limit
    for group in np.flatnonzero(index.counts).tolist():
        rows = reader.load(group)
        yield from (rows[row] for row in range(min(remaining, len(rows))))
        remaining -= len(rows)
        if remaining <= 0:
            return
