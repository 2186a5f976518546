"""Tensors of which every rank stores a share, beside those that are whole on every rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Size, Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor


def local(tensor: Tensor) -> Tensor:
    """Return the share of a tensor that this rank stores, which shares its memory; the tensor itself if it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shapes_of(folder: Path) -> dict[str, Size]:
    """Return the shapes of the tensors in a folder of safetensors files, each whole or in blocks.

    Raises OSError or SafetensorError if a file cannot be read.
    """
    entries = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: entry.size for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}


def read_into(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill tensors with those in a folder of safetensors files, whatever ranks wrote them.

    Every rank reads the parts that it stores. Raises OSError, SafetensorError, KeyError or ValueError if a file cannot
    be read, or a tensor is missing, incomplete or of another shape.
    """
    reader = HuggingFaceStorageReader(str(folder))
    metadata = reader.read_metadata()
    for name, tensor in tensors.items():
        stored = metadata.state_dict_metadata[name]
        assert isinstance(stored, TensorStorageMetadata), "a file of safetensors has nothing else"
        elements = sum(math.prod(chunk.sizes) for chunk in stored.chunks)
        if (stored.size, elements) != (tensor.shape, tensor.numel()):
            raise ValueError(f"{name} has {elements} elements, not {tensor.numel()}")
    reader.set_up_storage_reader(metadata, is_coordinator=True)
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    planner.set_up_planner(dict(tensors), metadata, is_coordinator=True)
    reader.read_data(planner.create_local_plan(), planner)
