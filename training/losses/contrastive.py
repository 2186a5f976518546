"""The symmetric contrastive loss over the global batch; every rank computes it for its own pairs only.

Each rank compares its b images with all B = R·b texts, and its texts with all images, so it stores two b x B matrices
instead of B x B ones. Gathering is differentiable: an embedding receives gradients from the losses of all ranks. DDP
averages the parameters' gradients over ranks, so the result is the gradient of the loss of the whole batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn.functional import cross_entropy

from training.losses.gather import gather_rows, position


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, group: ProcessGroup | None = None) -> Tensor:
    """Return this rank's part of the symmetric InfoNCE loss (CLIP, arXiv 2103.00020, figure 3), a scalar.

    The mean over the ranks of a group is the loss of their pairs. It is computed in float32, also under autocast.

    Args:
        images: unit embeddings (b, d) of this rank's images; b is equal on all ranks.
        texts: unit embeddings (b, d) of their texts.
        scale: the factor of the cosine similarities, a scalar.
        group: the ranks that are compared with each other; None: all.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts, scale = images.float(), texts.float(), scale.float()
        all_images, all_texts = gather_rows(images, group), gather_rows(texts, group)
        rank, _ = position(group)
        targets = torch.arange(len(images), device=images.device) + rank * len(images)
        per_image = cross_entropy(scale * images @ all_texts.T, targets)
        per_text = cross_entropy(scale * texts @ all_images.T, targets)
        return (per_image + per_text) / 2
