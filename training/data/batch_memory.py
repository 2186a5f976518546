"""The memory of batches, which is used again for later ones.

The system clears new memory page by page. For a batch in shared memory, this takes a fifth of the time of decoding its
images. Memory that several processes share also lets every loader worker write its rows to where the trainer reads
them.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch

from training.distributed import RunInterruptedError

Allocate = Callable[[int], torch.Tensor]


class Field(NamedTuple):
    """A column of a batch: its name, the shape of a row, and the type of its elements."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


class BatchShape(NamedTuple):
    """The shape of the batches of a rank: the number of rows, and the columns."""

    rows: int
    fields: Sequence[Field]

    @property
    def num_bytes(self) -> int:
        """The size of a batch."""
        return sum(self._size(field) for field in self.fields)

    def columns(self, memory: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the columns of a batch in uint8 memory of `num_bytes`, by name."""
        columns, start = {}, 0
        for field in sorted(self.fields, key=lambda field: -field.dtype.itemsize):  # so that each is aligned
            part = memory[start : start + self._size(field)]
            columns[field.name] = part.view(field.dtype).view(self.rows, *field.shape)
            start += self._size(field)
        return columns

    def _size(self, field: Field) -> int:
        return self.rows * math.prod(field.shape) * field.dtype.itemsize


class Lease(NamedTuple):
    """Memory for one batch: the number of its block, the block itself, and the tensor to make the batch of.

    The block is used again when the tensor and all tensors and arrays made of it are gone.
    """

    number: int
    block: torch.Tensor
    memory: torch.Tensor


class MemoryPool:
    """Blocks of memory for batches, each of which is used again once nothing refers to its last batch.

    A consumer that holds more batches gets more blocks.

    Args:
        num_bytes: size of a block.
        allocate: makes a block.
    """

    def __init__(self, num_bytes: int, allocate: Allocate) -> None:
        self._num_bytes, self._allocate = num_bytes, allocate
        self._blocks: list[torch.Tensor] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def take(self) -> Lease:
        """Return memory that nothing else uses. Raises what `allocate` raises."""
        if not self._free:
            self._blocks.append(self._allocate(self._num_bytes))
            self._free.append(len(self._blocks) - 1)
        number = self._free.pop()
        block = self._blocks[number]
        array = block.numpy()  # a new object, to which every tensor made of it refers
        weakref.finalize(array, self._free.append, number).atexit = False
        return Lease(number, block, torch.from_numpy(array))

    @classmethod
    def local(cls, num_bytes: int) -> Self:
        """Return a pool in the memory of this process."""
        return cls(num_bytes, lambda size: torch.empty(size, dtype=torch.uint8))

    @classmethod
    def shared(cls, num_bytes: int) -> Self:
        """Return a pool in memory that other processes can use. `take` raises RunInterruptedError if it is full."""
        return cls(num_bytes, _allocate_shared)


def _allocate_shared(size: int) -> torch.Tensor:
    try:
        storage = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    except RuntimeError as error:
        problem = f"shared memory has no room for a batch of {size:,} bytes"
        remedy = "enlarge it (docker run --shm-size) or lower batch_size, then resume"
        raise RunInterruptedError(f"num_workers: {problem}: {remedy}") from error
    return torch.empty(0, dtype=torch.uint8).set_(storage)
