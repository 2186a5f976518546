"""Load batches: merge the shares of the loader workers, in pinned memory if they go to a GPU."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, forkserver
from types import ModuleType
from typing import Any

import torch
from torch.utils.data import DataLoader

from curation.errors import WorldcurateError
from training.data.read_ahead import read_ahead
from training.data.shard_dataset import Batch, ShardDataset
from training.data.worker_signals import ignore_stop_signals, survive_stop_signals
from training.distributed import RunInterruptedError

log = logging.getLogger(__name__)

LIKELY_CAUSES = {
    "SIGKILL": "the host probably ran out of memory: use fewer num_workers or a smaller shuffle_window, then resume",
    "SIGBUS": "shared memory is probably full: enlarge it (docker run --shm-size) or lower num_workers, then resume",
}
PINNED_AHEAD = 2  # batches that wait in pinned memory for the training step

Allocate = Callable[..., torch.Tensor]


def load_batches(dataset: ShardDataset) -> Iterator[Batch]:
    """Yield a rank's batches, merged from the shares of its workers. Raises the errors of the workers.

    With `pin_memory`, a thread copies every share once, into its rows of a pinned batch. The DataLoader would pin the
    shares, and merging them would copy them to memory that is not pinned.
    """
    if dataset.config.num_workers:
        start_worker_server()  # in this thread: only the main one can protect the server from signals
    if not dataset.config.pin_memory:
        return _merged(dataset, torch.empty)
    return read_ahead(_merged(dataset, partial(torch.empty, pin_memory=True)), PINNED_AHEAD)


def _merged(dataset: ShardDataset, allocate: Allocate) -> Iterator[Batch]:
    reads = _ReadCount(dataset)
    for shares in _steps(dataset):
        batch = merge(shares, allocate)
        reads.add(batch)
        yield batch


def _steps(dataset: ShardDataset) -> Iterator[list[Batch]]:
    """Yield the shares of every step.

    Workers are forked from a server process, which has imported what they need but runs no threads. A child forked
    from this process would inherit the locks of Arrow's and the tokenizer's threads, but not the threads that release
    them.
    """
    num_workers = dataset.config.num_workers
    loader: DataLoader[Batch | WorldcurateError] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_workers,
        worker_init_fn=survive_stop_signals,
        multiprocessing_context="forkserver" if num_workers else None,
    )
    with _without_main_module():
        loaded = iter(loader)
    shares: list[Batch] = []
    for share in _named_loss(loaded):
        if isinstance(share, WorldcurateError):
            raise share
        shares.append(share)
        if len(shares) == max(1, num_workers):
            yield shares
            shares = []


def _named_loss(loaded: Any) -> Iterator[Batch | WorldcurateError]:
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


def merge(shares: list[Batch], allocate: Allocate = torch.empty) -> Batch:
    """Return the rows of several batches, ordered by position, in tensors of `allocate(shape, dtype=…)`.

    A single share that needs no other memory is returned as it is.
    """
    if len(shares) == 1 and allocate is torch.empty:
        return shares[0]
    positions = torch.cat([share.positions for share in shares])
    rows = positions.argsort().argsort()  # the row of each sample in the merged batch

    def whole(*parts: torch.Tensor) -> torch.Tensor:
        column, start = allocate((len(rows), *parts[0].shape[1:]), dtype=parts[0].dtype), 0
        for part in parts:
            column[rows[start : start + len(part)]] = part
            start += len(part)
        return column

    return Batch(
        whole(positions),
        whole(*(share.images for share in shares)),
        whole(*(share.tokens for share in shares)),
        sum(share.row_groups for share in shares),
        [row for share in shares for row in share.replaced],
        dict(sum((Counter(share.languages) for share in shares), Counter())),
    )


class _ReadCount:
    """Counts the row groups that a rank reads and the samples it replaces, and logs both at the end of each epoch."""

    def __init__(self, dataset: ShardDataset) -> None:
        self._dataset, self._state, self._read, self._samples = dataset, dataset.start, 0, 0
        self._replaced = 0

    def add(self, batch: Batch) -> None:
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
