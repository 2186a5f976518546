"""Call a function in several processes that form a process group on this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def call_on_ranks(function: Callable[..., Any], size: int, *arguments: Any) -> list[Any]:
    """Return the result of `function(rank, size, *arguments)` of every rank; a single rank joins no group."""
    if size == 1:
        return [function(0, 1, *arguments)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    results = mp.get_context("spawn").SimpleQueue()
    context = mp.spawn(_one_rank, (size, port, results, function, arguments), nprocs=size, join=False)
    by_rank: dict[int, Any] = {}
    while not context.join(timeout=0.05) or not results.empty():  # a rank waits while its result does not fit the pipe
        while not results.empty():
            by_rank.update([results.get()])
    return [by_rank[rank] for rank in range(size)]


def _one_rank(rank: int, size: int, port: int, results: Any, function: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=size)
    results.put((rank, function(rank, size, *arguments)))
    dist.barrier()
    dist.destroy_process_group()
