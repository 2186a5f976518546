"""Load batches with worker processes, which write their shares to memory that they share with this process."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import starmap
from multiprocessing import connection, forkserver
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from curation.errors import WorldcurateError
from training.data.batch_memory import Lease, MemoryPool
from training.data.read_ahead import read_ahead
from training.data.shard_dataset import Batch, Load, ShardDataset, Share
from training.data.worker_signals import ignore_stop_signals, survive_stop_signals
from training.distributed import RunInterruptedError

log = logging.getLogger(__name__)

LIKELY_CAUSES = {
    "SIGKILL": "the host probably ran out of memory: use fewer num_workers or a smaller shuffle_window, then resume",
    "SIGBUS": "shared memory is probably full: enlarge it (docker run --shm-size) or lower num_workers, then resume",
}
AHEAD = 2  # batches that a thread of this process makes before the training step asks for them

Request = tuple[int, torch.Tensor | None]
Step = tuple[torch.Tensor, list[Share]]


def load_batches(dataset: ShardDataset) -> Iterator[Batch]:
    """Yield a rank's batches. Raises the errors of the workers.

    Without workers, a thread loads them, and with `pin_memory`, it copies every batch once, into pinned memory.
    """
    config = dataset.config
    if config.num_workers:
        start_worker_server()  # in this thread: only the main one can protect the server from signals
    loaded = starmap(dataset.batch, load_steps(dataset)) if config.num_workers else iter(dataset)
    batches = _ReadCount(dataset).count(loaded)
    if config.pin_memory:
        return read_ahead(map(_pinned, batches), AHEAD)
    return batches if config.num_workers else read_ahead(batches, AHEAD)


def load_steps(dataset: ShardDataset) -> Iterator[Step]:
    """Yield the memory of every batch once the loader workers have written it, and their reports. Raises their errors.

    Workers are forked from a server process, which has imported what they need but runs no threads. A child forked
    from this process would inherit the locks of Arrow's and the tokenizer's threads, but not the threads that release
    them.
    """
    num_workers = dataset.config.num_workers
    pool = MemoryPool.shared(dataset.shape.num_bytes)
    leases: deque[Lease] = deque()  # of the batches that are being loaded
    loader: DataLoader[Share | WorldcurateError] = DataLoader(
        WorkerShares(dataset),
        batch_size=None,
        sampler=_requests(dataset.steps, num_workers, pool, leases),
        num_workers=num_workers,
        collate_fn=_unchanged,
        worker_init_fn=survive_stop_signals,
        multiprocessing_context="forkserver",
    )
    with _without_main_module():
        loaded = iter(loader)
    shares: list[Share] = []
    for share in _named_loss(loaded):
        if isinstance(share, WorldcurateError):
            raise share
        shares.append(share)
        if len(shares) == num_workers:
            yield leases.popleft().memory, shares
            shares = []


def _requests(steps: int, num_workers: int, pool: MemoryPool, leases: deque[Lease]) -> Iterator[Request]:
    """Yield one request per step and worker: the number of the block to write to, and the block if it is new."""
    for _ in range(steps):
        known = len(pool)
        lease = pool.take()
        leases.append(lease)
        for _ in range(num_workers):
            yield lease.number, lease.block if lease.number >= known else None
        del lease  # the batch may be released before the next request


class WorkerShares(Dataset[Any]):
    """The shares that a loader worker loads, one after another, into the memory that each request names."""

    def __init__(self, dataset: ShardDataset) -> None:
        self._dataset = dataset
        self._blocks: dict[int, torch.Tensor] = {}
        self._loads: Iterator[Load] | None = None

    def __getitem__(self, request: Request) -> Share | WorldcurateError:
        """Load the next share and return its report, or an expected error.

        The DataLoader would wrap a raised error in a traceback of many lines.
        """
        number, block = request
        if block is not None:
            self._blocks[number] = block
        if self._loads is None:
            worker = get_worker_info()
            assert worker is not None, "only loader workers call this"
            self._loads = self._dataset.loads(worker.id, worker.num_workers)
        try:
            return next(self._loads)(self._blocks[number])
        except WorldcurateError as error:
            return error


def _unchanged(item: Any) -> Any:
    return item


def _pinned(batch: Batch) -> Batch:
    """Return a batch in pinned memory."""

    def pin(column: torch.Tensor) -> torch.Tensor:
        return torch.empty(column.shape, dtype=column.dtype, pin_memory=True).copy_(column)

    views = {name: pin(column) for name, column in batch.views.items()}
    return batch._replace(positions=pin(batch.positions), views=views)


def _named_loss(loaded: Any) -> Iterator[Share | WorldcurateError]:
    """Yield the items of a DataLoader's iterator; if a worker process was killed, end with a line that says so."""
    try:
        yield from loaded
    except (RuntimeError, OSError, EOFError) as error:  # of the DataLoader, or of a connection to the worker
        workers = getattr(loaded, "_workers", ())
        connection.wait([worker.sentinel for worker in workers], timeout=1)  # the connection is lost a little earlier
        codes = [worker.exitcode for worker in workers if worker.exitcode]
        if not codes:
            raise
        ended = signal.Signals(-codes[0]).name if codes[0] < 0 else f"exit code {codes[0]}"
        likely = LIKELY_CAUSES.get(ended, "its libraries may have failed on an image")
        raise RunInterruptedError(f"num_workers: a loader process ended by {ended}: {likely}") from error


def start_worker_server() -> None:
    """Start the process from which loader workers are forked, unless it runs; it imports their modules meanwhile.

    They then start at once and share the memory of these modules. The server ends with this process.
    """
    multiprocessing.set_forkserver_preload([ShardDataset.__module__])
    with ignore_stop_signals():  # the server inherits this; workers end when it does
        forkserver.ensure_running()


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Start processes that do not import the program's main module, as multiprocessing does by default.

    Loader workers use nothing of it, and for the trainer it would load the model's libraries: seconds and 200 MB each.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _ReadCount:
    """Counts the row groups that a rank reads and the samples it replaces, and logs both at the end of each epoch."""

    def __init__(self, dataset: ShardDataset) -> None:
        self._dataset, self._state, self._read, self._samples = dataset, dataset.start, 0, 0
        self._replaced = 0

    def count(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield batches and count them."""
        for batch in batches:
            self._add(batch)
            yield batch
            del batch  # so that its memory can be used again

    def _add(self, batch: Batch) -> None:
        """Count a batch; log at the end of its epoch."""
        size, samples = self._dataset.config.batch_size, self._dataset.index.samples
        self._state = self._state.batch_start(size, samples).advance(size)
        self._read += batch.row_groups
        self._replaced += len(batch.replaced)
        for row in batch.replaced:
            log.warning("replaced by the next readable row: %s", row)
        self._samples += size
        if self._state.position + size > samples:
            self._log()

    def _log(self) -> None:
        config, counts = self._dataset.config, self._dataset.index.counts
        share = (counts > 0).sum() * self._samples / counts.sum() / config.world_size
        log.info(
            "epoch %d: read %d row groups, %.2f times this rank's share of them; replaced %d samples",
            self._state.epoch,
            self._read,
            self._read / share,
            self._replaced,
        )
        self._read = self._samples = self._replaced = 0
