"""Three ranks save tensors in blocks; one, two or three ranks read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from support.ranks import call_on_ranks
from training.distributed import World
from training.output.tensor_file import whole, write_tensors
from training.parallel.blocks import BlockPlan, bytes_of, gather_bytes
from training.parallel.tensors import local, read_into, shapes_of

SHAPES = {"one": (1,), "two": (2, 3), "seven": (7, 2), "eight": (8,), "large": (100, 5), "other": (100, 5)}


def expected_tensors() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    tensors = {name: torch.rand(shape, generator=random) for name, shape in SHAPES.items()}
    return tensors | {"scalar": torch.tensor(3.0), "same": torch.arange(6.0).bfloat16()}


def sharded_tensors(size: int) -> dict[str, Tensor]:
    """Return these tensors with those of several rows sharded over the ranks; every rank has the others."""
    mesh, tensors = init_device_mesh("cpu", (size,)), expected_tensors()
    return tensors | {name: distribute_tensor(tensors[name], mesh, [Shard(0)]) for name in SHAPES}


def save(rank: int, size: int, folder: Path) -> list[int]:
    """Write the tensors as blocks and as one file, and return the bytes that each rank saves."""
    world = World(rank, size, torch.device("cpu"))
    tensors = sharded_tensors(size)
    plan = BlockPlan(world)
    blocks = plan.of({"": tensors})
    assert plan.of({"": tensors}) is blocks
    assert len(plan.of({"": tensors | ({"new": torch.ones(2)} if rank == 1 else {})})) == len(blocks) + 1
    share = {saved: local(tensors[saved.block.name]) for saved in blocks if saved.rank == rank}
    own = [saved.block for saved in share]
    write_tensors(folder / f"{rank}.safetensors", own, (piece for value in share.values() for piece in bytes_of(value)))
    pieces = gather_bytes(world, blocks, share)
    if world.is_main:
        (folder / "whole").mkdir()
        write_tensors(folder / "whole" / "all.safetensors", whole(saved.block for saved in blocks), pieces)
    assert not list(pieces)
    return [sum(saved.block.nbytes for saved in blocks if saved.rank == other) for other in range(size)]


def read(rank: int, size: int, folder: Path) -> dict[str, list]:
    """Return the values that the ranks have read together."""
    mesh, tensors = init_device_mesh("cpu", (size,)), {}
    for name, shape in shapes_of(folder).items():
        placement = Shard(0) if name in SHAPES else Replicate()
        tensors[name] = distribute_tensor(torch.zeros(shape), mesh, [placement])
    read_into(folder, tensors)
    return {name: DTensor.full_tensor(value).tolist() for name, value in tensors.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    sizes = call_on_ranks(save, 3, folder)
    assert sizes[0] == sizes[1] == sizes[2], "every rank has the same plan"
    return folder


def test_blocks_gathered_on_rank_0_are_a_file_of_whole_tensors(folder):
    found, expected = load_file(folder / "whole" / "all.safetensors"), expected_tensors()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items())


def test_no_element_is_saved_twice(folder):
    sizes = [sum(value.nbytes for value in load_file(path).values()) for path in folder.glob("*.safetensors")]
    assert len(sizes) == 3
    assert sum(sizes) == sum(value.nbytes for value in expected_tensors().values())
    assert max(sizes) < 2 * min(sizes)


def test_another_number_of_ranks_reads_the_same_tensors(folder):
    expected = {name: value.tolist() for name, value in expected_tensors().items()}
    assert call_on_ranks(read, 2, folder) == [expected] * 2


def test_a_single_process_reads_them_too_and_notices_a_missing_or_different_tensor(folder, tmp_path):
    tensors = {name: torch.zeros_like(value) for name, value in expected_tensors().items()}
    read_into(folder, tensors)
    assert all(torch.equal(tensors[name], value) for name, value in expected_tensors().items())
    with pytest.raises(ValueError, match=r"large has 500 elements, not 250"):
        read_into(folder, {"large": torch.zeros(50, 5)})
    with pytest.raises(KeyError, match="nowhere"):
        read_into(folder, {"nowhere": torch.zeros(1)})
    for rank in (0, 2):
        (tmp_path / f"{rank}.safetensors").write_bytes((folder / f"{rank}.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"large has 330 elements, not 500"):
        read_into(tmp_path, {"large": torch.zeros(100, 5)})
