"""The pairwise sigmoid loss over the global batch, in blocks of one rank's texts.

Each rank compares its b images with all texts of its group, b at a time. A block's matrix of b x b logits is computed
again in the backward pass, so no rank ever stores more than one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import logsigmoid
from torch.utils.checkpoint import checkpoint

from training.losses.gather import gather_rows, position
from training.losses.rows import at_least_float32


def sigmoid_loss(
    images: Tensor,
    texts: Tensor,
    scale: Tensor,
    bias: Tensor,
    group: ProcessGroup | None = None,
    *,
    keys: Tensor | None = None,
    negative_images: Tensor | None = None,
    negative_texts: Tensor | None = None,
) -> Tensor:
    """Return this rank's part of the sigmoid loss (SigLIP, arXiv 2303.15343, algorithm 1), a scalar.

    The loss of n pairs is the sum of log(1 + exp(-z (scale · image · text + bias))) over all images and texts, divided
    by n; z is 1 for a pair and -1 otherwise. The mean over the ranks of a group is the loss of their pairs. It is
    computed in float32, also under autocast, and in float64 for such embeddings.

    Generated negatives (TULIP, arXiv 2503.15485) are further rows with z = -1; they are not compared with each other.

    Args:
        images: unit embeddings (b, d) of this rank's images; b is equal on all ranks.
        texts: unit embeddings (b, d) of their texts.
        scale: the factor of the cosine similarities, a scalar.
        bias: the number added to them, a scalar.
        group: the ranks that are compared with each other; None: all.
        keys: int64 (b,); images and texts of different pairs with equal keys are not compared. None: all are.
        negative_images: unit embeddings of images that belong to no text; their number is equal on all ranks.
        negative_texts: unit embeddings of texts that belong to no image; their number is equal on all ranks.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, scale, bias = at_least_float32(images), at_least_float32(scale), at_least_float32(bias)
        rank, size = position(group)
        columns = gather_rows(at_least_float32(texts), group).chunk(size)
        compared: Sequence[Tensor | None] = [None] * size
        if keys is not None:
            compared = [
                _compared(keys, others, own=number == rank)
                for number, others in enumerate(gather_rows(keys, group).chunk(size))
            ]
        blocks = [
            (images, block, mask, number == rank)
            for number, (block, mask) in enumerate(zip(columns, compared, strict=True))
        ]
        if negative_texts is not None:
            generated = gather_rows(at_least_float32(negative_texts), group).chunk(size)
            blocks += [(images, block, None, False) for block in generated]
        if negative_images is not None:
            blocks += [(at_least_float32(negative_images), block, None, False) for block in columns]
        losses = [
            checkpoint(_block_loss, rows, block, scale, bias, mask, paired, use_reentrant=False)
            for rows, block, mask, paired in blocks
        ]
        return torch.stack(losses).sum() / len(images)


def _compared(keys: Tensor, others: Tensor, *, own: bool) -> Tensor:
    """Return which rows and columns of a block are compared; in a rank's own block, also those of one pair."""
    different = keys[:, None] != others
    return different | torch.eye(len(keys), dtype=torch.bool, device=keys.device) if own else different


def _block_loss(
    images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, mask: Tensor | None, paired: bool
) -> Tensor:
    """Return the sum over one block, or its part under a mask; if `paired`, the diagonal holds the pairs."""
    signs = -torch.ones(len(images), len(texts), device=images.device)
    if paired:
        signs.fill_diagonal_(1)
    losses = -logsigmoid(signs * (scale * images @ texts.T + bias))
    return losses.sum() if mask is None else losses[mask].sum()
