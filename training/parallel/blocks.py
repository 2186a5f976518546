"""The blocks of a state that each rank saves, and their way to rank 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.planner import SavePlan

from training.distributed import World
from training.output.tensor_file import Block

PIECE = 16 << 20  # bytes sent, hashed and written at once


class SavedBlock(NamedTuple):
    """A block of a tensor, the file or folder it belongs to, and the rank that saves it."""

    file: str
    rank: int
    block: Block


class BlockPlan:
    """Which rank saves which blocks of a state; planned again only when the tensors of a rank change.

    Args:
        world: the ranks.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._local: SavePlan | None = None
        self._blocks: list[SavedBlock] = []

    def of(self, state: Mapping[str, Mapping[str, Tensor]]) -> list[SavedBlock]:
        """Return the blocks of tensors, given by file and name, in the order of file, name and offsets.

        A rank saves the share that it stores of a sharded tensor. Tensors that several ranks have are divided among
        them, so that each rank saves about as many bytes. Every rank must call it, and gets the same list.
        """
        tensors = {f"{file}/{name}": value for file, values in state.items() for name, value in values.items()}
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        planner.set_up_planner(tensors, is_coordinator=self.world.is_main)
        local = planner.create_local_plan()
        if not all(self.world.all_gather(lambda: local == self._local)):
            plans, _ = planner.create_global_plan(self.world.all_gather(lambda: local))
            self._local, self._blocks = local, _blocks_of(plans)
        return self._blocks


def _blocks_of(plans: Sequence[SavePlan]) -> list[SavedBlock]:
    blocks = []
    for rank, plan in enumerate(plans):
        for item in plan.items:
            data, (file, _, name) = item.tensor_data, item.index.fqn.rpartition("/")
            if data and data.chunk.sizes.numel():  # a rank may have no row of a short tensor
                block = Block(name, tuple(data.chunk.offsets), tuple(data.chunk.sizes), data.properties.dtype)
                blocks.append(SavedBlock(file, rank, block))
    return sorted(blocks, key=lambda saved: (saved.file, saved.block.name, saved.block.offsets))


def bytes_of(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the bytes of a tensor in pieces, in the memory of the CPU."""
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE].cpu()


def gather_bytes(world: World, blocks: Sequence[SavedBlock], share: Mapping[SavedBlock, Tensor]) -> Iterator[Tensor]:
    """Yield the bytes of blocks in pieces on rank 0, one block after another; on other ranks, send theirs.

    Every rank must exhaust it, because the others wait until their bytes are taken.

    Args:
        world: the ranks.
        blocks: the blocks, the same on every rank.
        share: the blocks that this rank saves.
    """
    for saved in blocks:
        if saved.rank == world.rank:
            for piece in bytes_of(share[saved]):
                if world.is_main:
                    yield piece
                else:
                    dist.send(piece, dst=0, group=world.control)
        elif world.is_main:
            for start in range(0, saved.block.nbytes, PIECE):
                piece = torch.empty(min(PIECE, saved.block.nbytes - start), dtype=torch.uint8)
                dist.recv(piece, src=saved.rank, group=world.control)
                yield piece
