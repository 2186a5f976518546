"""The symmetric contrastive loss over the global batch; every rank computes it for its own pairs only.

Each rank compares its b images with all B = R·b texts, and its texts with all images, so it stores two b x B matrices
instead of B x B ones. Gathering is differentiable: an embedding receives gradients from the losses of all ranks. DDP
averages the parameters' gradients over ranks, so the result is the gradient of the loss of the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Return this rank's part of the symmetric InfoNCE loss (CLIP, arXiv 2103.00020, figure 3), a scalar.

    The mean over ranks is the loss of the global batch. It is computed in float32, also under autocast.

    Args:
        images: unit embeddings (b, d) of this rank's images; b is equal on all ranks.
        texts: unit embeddings (b, d) of their texts.
        scale: the factor of the cosine similarities, a scalar.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts, scale = images.float(), texts.float(), scale.float()
        all_images, all_texts = gather_rows(images), gather_rows(texts)
        rank = dist.get_rank() if dist.is_initialized() else 0
        targets = torch.arange(len(images), device=images.device) + rank * len(images)
        per_image = cross_entropy(scale * images @ all_texts.T, targets)
        per_text = cross_entropy(scale * texts @ all_images.T, targets)
        return (per_image + per_text) / 2


def gather_rows(features: Tensor) -> Tensor:
    """Return the rows of all ranks in rank order, differentiably; a single process gets its rows back."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return features
    gathered: Tensor = _GatherRows.apply(features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return gathered


class _GatherRows(torch.autograd.Function):
    """An all_gather whose backward pass sums, for each row, the gradients from all ranks."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # noqa: ARG004 - torch prescribes the signature
        parts = [torch.empty_like(features) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - as above
        parts = list(gradient.contiguous().chunk(dist.get_world_size()))
        summed = torch.empty_like(parts[0])
        dist.reduce_scatter(summed, parts)
        return summed
