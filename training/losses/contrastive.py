"""The symmetric contrastive loss over the global batch, computed on every rank for its own pairs only.

Each rank compares its b images with all B = R·b texts, and its texts with all images, so it holds two b x B matrices
instead of B x B ones. Gathering is differentiable: an embedding receives gradients from the losses of every rank. As
DDP averages the parameters' gradients over ranks, the result is the gradient of the loss of the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Return this rank's part of the symmetric InfoNCE loss (CLIP, arXiv 2103.00020, figure 3), a scalar.

    The mean over ranks is the loss of the global batch. Computed in float32, also under autocast.

    Args:
        images: unit embeddings (b, d) of this rank's images, b equal on all ranks.
        texts: unit embeddings (b, d) of the texts that belong to them.
        scale: what cosines are multiplied by, a scalar.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts, scale = images.float(), texts.float(), scale.float()
        all_images, all_texts = gather(images), gather(texts)
        rank = dist.get_rank() if dist.is_initialized() else 0
        partners = torch.arange(len(images), device=images.device) + rank * len(images)
        per_image = cross_entropy(scale * images @ all_texts.T, partners)
        per_text = cross_entropy(scale * texts @ all_images.T, partners)
        return (per_image + per_text) / 2


def gather(features: Tensor) -> Tensor:
    """Return the rows of all ranks in rank order, differentiably; the rows themselves in a single process."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return features
    gathered: Tensor = _Gather.apply(features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return gathered


class _Gather(torch.autograd.Function):
    """all_gather whose backward pass adds up, for each row, the gradients it got on every rank."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # noqa: ARG004 - the signature is torch's
        parts = [torch.empty_like(features) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, features.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - as above
        parts = list(gradient.contiguous().chunk(dist.get_world_size()))
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts)
        return own
