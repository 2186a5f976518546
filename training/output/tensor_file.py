"""Write a safetensors file from a stream of bytes, so that its tensors need not be in memory together.

The format is that of https://github.com/huggingface/safetensors: the length of the header (8 bytes, little-endian), the
header in JSON, and the bytes of the tensors in the order of the header.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
SHARES_KEY = "DCP_SHARDING_INFO"  # where torch.distributed.checkpoint looks for the offsets of blocks of tensors


class Block(NamedTuple):
    """A block of a tensor: all of it, or the part that one rank stores.

    Attributes:
        name: the name of the tensor.
        offsets: the index of the block's first element in the tensor.
        shape: the shape of the block.
        dtype: the type of its elements.
    """

    name: str
    offsets: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """The size of the block in bytes."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def whole(blocks: Iterable[Block]) -> list[Block]:
    """Return the tensors that blocks of rows, in their order, make up."""
    tensors: dict[str, Block] = {}
    for block in blocks:
        assert not any(block.offsets[1:]), "ranks store rows of a tensor"
        first = tensors.setdefault(block.name, block)
        if first is not block:
            tensors[block.name] = first._replace(shape=(first.shape[0] + block.shape[0], *block.shape[1:]))
    return list(tensors.values())


def write_tensors(path: Path, blocks: Sequence[Block], data: Iterator[Tensor]) -> str:
    """Write a file with one block per name and return the SHA-256 of all that was written.

    Args:
        path: the file.
        blocks: what it holds.
        data: the bytes of these blocks, one after another, in pieces that end with a block; not more is taken.
    """
    digest = hashlib.sha256()
    header = _header(blocks)
    with path.open("wb") as file:
        file.write(header)
        digest.update(header)
        remaining = sum(block.nbytes for block in blocks)
        while remaining > 0:
            piece = next(data).numpy().data
            file.write(piece)
            digest.update(piece)
            remaining -= piece.nbytes
    return digest.hexdigest()


def _header(blocks: Sequence[Block]) -> bytes:
    shares = {block.name: {"saved_offsets": block.offsets} for block in blocks}
    entries: dict[str, object] = {"__metadata__": {"format": "pt", SHARES_KEY: json.dumps(shares)}}
    end = 0
    for block in blocks:
        start, end = end, end + block.nbytes
        entries[block.name] = {"dtype": DTYPES[block.dtype], "shape": block.shape, "data_offsets": (start, end)}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that the tensors are aligned
    return len(header).to_bytes(8, "little") + header
