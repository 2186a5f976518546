"""Tensors of which every rank stores a share, beside those that are whole on every rank."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def local(tensor: Tensor) -> Tensor:
    """Return the share of a tensor that this rank stores, which shares its memory; the tensor itself if it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def share_out(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor that every rank has, stored in the same way as another one of its shape."""
    if isinstance(like, DTensor) and value.shape == like.shape:
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return value
