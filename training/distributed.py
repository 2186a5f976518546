"""The processes of a run: one alone, or those that torchrun started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from curation.errors import WorldcurateError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process's rank among `size` processes, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes and reports for all."""
        return self.rank == 0

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """Return on every rank what rank 0 makes.

        When rank 0 fails with a WorldcurateError it alone reports it; the others exit with the same code.
        """
        if self.size == 1:
            return make()
        sent: list[Any] = [None, 1]  # the value, and the code to exit with
        try:
            if self.is_main:
                sent = [make(), 0]
        except WorldcurateError as error:
            sent[1] = error.exit_code
            raise
        finally:
            dist.broadcast_object_list(sent, src=0)
        value: T = sent[0]
        if sent[1]:
            raise SystemExit(sent[1])
        return value

    def all_gather(self, make: Callable[[], T]) -> list[T]:
        """Return on every rank what each rank makes, in the order of the ranks.

        A rank that fails with a WorldcurateError reports it itself; the others exit with the first such code.
        """
        if self.size == 1:
            return [make()]
        sent: tuple[Any, int] = (None, 1)
        received: list[tuple[Any, int]] = [sent] * self.size
        try:
            sent = (make(), 0)
        except WorldcurateError as error:
            sent = (None, error.exit_code)
            raise
        finally:
            dist.all_gather_object(received, sent)
        for _, code in received:
            if code:
                raise SystemExit(code)
        return [value for value, _ in received]

    def mean(self, value: torch.Tensor) -> float:
        """Return the mean over all ranks of a scalar tensor."""
        total = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return float(total) / self.size


@contextmanager
def join() -> Iterator[World]:
    """Join the processes that torchrun started (NCCL with GPUs, gloo without), or be the only one."""
    cuda = torch.cuda.is_available()
    if "RANK" not in os.environ:
        yield World(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    yield World(dist.get_rank(), dist.get_world_size(), device)
    dist.destroy_process_group()
