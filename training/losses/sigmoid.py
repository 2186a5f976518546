"""The pairwise sigmoid loss over the global batch, in blocks of one rank's texts.

Each rank compares its b images with all texts of its group, b at a time. A block's matrix of b x b logits is computed
again in the backward pass, so no rank ever stores more than one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import logsigmoid
from torch.utils.checkpoint import checkpoint

from training.losses.gather import gather_rows, position


def sigmoid_loss(
    images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, group: ProcessGroup | None = None
) -> Tensor:
    """Return this rank's part of the sigmoid loss (SigLIP, arXiv 2303.15343, algorithm 1), a scalar.

    The loss of n pairs is the sum of log(1 + exp(-z (scale · image · text + bias))) over all images and texts, divided
    by n; z is 1 for a pair and -1 otherwise. The mean over the ranks of a group is the loss of their pairs. It is
    computed in float32, also under autocast.

    Args:
        images: unit embeddings (b, d) of this rank's images; b is equal on all ranks.
        texts: unit embeddings (b, d) of their texts.
        scale: the factor of the cosine similarities, a scalar.
        bias: the number added to them, a scalar.
        group: the ranks that are compared with each other; None: all.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, scale, bias = images.float(), scale.float(), bias.float()
        rank, size = position(group)
        blocks = gather_rows(texts.float(), group).chunk(size)
        losses = [
            checkpoint(_block_loss, images, block, scale, bias, number == rank, use_reentrant=False)
            for number, block in enumerate(blocks)
        ]
        return torch.stack(losses).sum() / len(images)


def _block_loss(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, paired: bool) -> Tensor:
    """Return the sum over one block; if `paired`, texts on the diagonal belong to the images."""
    signs = -torch.ones(len(images), len(texts), device=images.device)
    if paired:
        signs.fill_diagonal_(1)
    return -logsigmoid(signs * (scale * images @ texts.T + bias)).sum()
