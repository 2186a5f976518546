from __future__ import annotations

import os
import socket

import torch
import torch.multiprocessing as mp

from curation.errors import InputError
from training.distributed import join_process_group


def one_process(rank: int, port: int, results) -> None:
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in variables.items()})
    events: list[object] = []

    def fail():
        raise InputError("no such shards")

    with join_process_group() as world:
        events.append(world.broadcast_from_main(lambda: f"made by {rank}"))
        events.append(world.mean(torch.tensor(float(rank))))
        try:
            world.broadcast_from_main(fail)
        except InputError as error:
            events.append(str(error))
        except SystemExit as error:
            events.append(error.code)
        events.append(world.all_gather(lambda: rank * 10))
        try:
            world.all_gather(fail if rank == 1 else lambda: rank)
        except InputError as error:
            events.append(str(error))
        except SystemExit as error:
            events.append(error.code)
    results.put((rank, world.is_main, events))


def test_results_reach_all_ranks_and_a_failure_ends_all_ranks_with_its_code():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = mp.get_context("spawn").SimpleQueue()
    mp.spawn(one_process, (port, results), nprocs=2)
    assert sorted(results.get() for _ in range(2)) == [
        (0, True, ["made by 0", 0.5, "no such shards", [0, 10], 3]),
        (1, False, ["made by 0", 0.5, 3, [0, 10], "no such shards"]),
    ]


def test_without_torchrun_there_is_one_process():
    with join_process_group() as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        assert world.broadcast_from_main(lambda: 5) == 5
        assert world.all_gather(lambda: 5) == [5]
        assert world.mean(torch.tensor(2.5)) == 2.5
