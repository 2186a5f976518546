"""The processes of a training run: a single process, or those that torchrun started."""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, NoReturn, Self, TypeVar

import torch
import torch.distributed as dist

from curation.cli.log import LogOptions, report_error
from curation.errors import UsageError, WorldcurateError
from curation.io.failures import first_line
from training.heartbeat import Heartbeat, watch
from training.launcher import check_environment, is_first_to_report, open_store

T = TypeVar("T")

# For joining the other ranks and for an exchange within a step. A lost rank is noticed sooner, by its closed
# connections or its heartbeat.
STEP_TIMEOUT = timedelta(minutes=10)

# Rank 0 indexes, trains a tokenizer, evaluates and saves while the other ranks wait. A rank that dies meanwhile closes
# its connections, which ends the wait at once.
MAIN_TIMEOUT = timedelta(hours=24)
SAVE_THREAD = "save checkpoint"
SAVE_PATIENCE_S = 10.0  # for a save that does not need the lost rank any more; all ranks end within a minute
LOST_RANK = "processes: another rank is lost ({}): read its log, then start all ranks again with resume: true"


class RunInterruptedError(WorldcurateError):
    """Training ended before its last step for a reason outside of it; a retry continues it (exit 3)."""

    exit_code = 3


@dataclass(frozen=True)
class World:
    """The rank of this process among `size` processes, and its device.

    `control` is the group that sends objects between CPUs and waits for rank 0; None: the default group. `unwatched` is
    set once a lost rank must no longer end this process.
    """

    rank: int
    size: int
    device: torch.device
    control: dist.ProcessGroup | None = None
    unwatched: threading.Event = field(default_factory=threading.Event, compare=False)

    def for_thread(self) -> Self:
        """Return the same ranks with a group of their own, for the exchanges of a thread; every rank must call it."""
        if self.size == 1:
            return self
        return replace(self, control=dist.new_group(backend="gloo", timeout=MAIN_TIMEOUT))

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and reports for all ranks."""
        return self.rank == 0

    def broadcast_from_main(self, make: Callable[[], T]) -> T:
        """Call `make` on rank 0 and return its result on every rank.

        If rank 0 fails with a WorldcurateError, only rank 0 reports it; the other ranks exit with the same code.
        """
        if self.size == 1:
            return make()
        sent: list[Any] = [None, 1]  # the result and the exit code
        try:
            if self.is_main:
                sent = [make(), 0]
        except WorldcurateError as error:
            sent[1] = error.exit_code
            raise
        finally:
            dist.broadcast_object_list(sent, src=0, group=self.control)
        value: T = sent[0]
        if sent[1]:
            raise SystemExit(sent[1])
        return value

    def all_gather(self, make: Callable[[], T]) -> list[T]:
        """Call `make` on every rank and return all results, in rank order, on every rank.

        A rank that fails with a WorldcurateError reports it; the other ranks exit with the code of the first failure.
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
            dist.all_gather_object(received, sent, group=self.control)
        for _, code in received:
            if code:
                raise SystemExit(code)
        return [value for value, _ in received]

    def means(self, values: torch.Tensor) -> list[float]:
        """Return the means of a vector's elements over all ranks; they are equal on every rank."""
        total = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(total)
        return [value / self.size for value in total.tolist()]

    @contextmanager
    def unwatched_after_error(self) -> Iterator[None]:
        """Run a block; if it fails, this process completes work such as a save, whatever becomes of other ranks."""
        try:
            yield
        except BaseException:
            self.unwatched.set()
            raise

    def fail(self, error: WorldcurateError) -> NoReturn:
        """End every rank with an error that all ranks found together; only rank 0 reports it."""
        if self.is_main:
            raise error
        raise SystemExit(error.exit_code)


def peak_memory(device: torch.device) -> int:
    """Return the most memory that this process has used so far, in bytes: that of its GPU, or its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def join_process_group(device_kind: Literal["auto", "cpu", "cuda"] = "auto") -> Iterator[World]:
    """Join the processes that torchrun started (NCCL with GPUs, gloo without), or run as a single process.

    Raises UsageError if only some of the variables are set that torchrun sets, or if there is no GPU although one is
    asked for, and RunInterruptedError if another rank is lost.
    """
    check_environment(os.environ)
    cuda = device_kind != "cpu" and torch.cuda.is_available()
    if device_kind == "cuda" and not cuda:
        raise UsageError("device: torch finds no GPU: check the driver and the build of torch, or set device: auto")
    if not os.environ.get("RANK"):
        yield World(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if cuda and local >= gpus:
        raise UsageError(f"environment: LOCAL_RANK={local}, but there are {gpus} GPUs: start one process per GPU")
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    with _lost_peer_in_one_line():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=STEP_TIMEOUT, device_id=device if cuda else None)
        control = dist.new_group(backend="gloo", timeout=MAIN_TIMEOUT)
        world = World(dist.get_rank(), dist.get_world_size(), device, control)
        with watch(Heartbeat(open_store(), world.rank, world.size), _end_process, world.unwatched):
            yield world
        dist.destroy_process_group()


def _end_process(reason: str) -> None:
    """End this process with one line; its main thread may wait for the lost rank inside a library."""
    if is_first_to_report(LOST_RANK):
        report_error(LogOptions.read(sys.argv[1:]), LOST_RANK.format(reason))
    for thread in threading.enumerate():
        if thread.name == SAVE_THREAD:
            thread.join(SAVE_PATIENCE_S)
    os._exit(RunInterruptedError.exit_code)


@contextmanager
def _lost_peer_in_one_line() -> Iterator[None]:
    """Turn the error of a collective whose peer ended, or never came, into one line."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):  # gloo's errors have no type of their own
            raise
        if not is_first_to_report(LOST_RANK):
            raise SystemExit(RunInterruptedError.exit_code) from error
        raise RunInterruptedError(LOST_RANK.format(first_line(error))) from error
