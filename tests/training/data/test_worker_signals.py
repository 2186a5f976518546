from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import forkserver

import pytest

from support.shards import shard_row
from training.data.loader import load_batches
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import LoaderConfig, ShardDataset
from training.data.shard_index import build_index
from training.data.worker_signals import survive_stop_signals
from training.distributed import RunInterruptedError


@pytest.fixture
def batches(shard_lake, tokenizer):
    """Ten batches from one loader process."""
    shard_lake.publish([shard_row(n) for n in range(40)])
    index = build_index(shard_lake.lake, "default").train
    config = LoaderConfig(order=SampleOrder(5, 4, 6), image_size=8, batch_size=4, num_workers=1)
    dataset = ShardDataset(index, shard_lake.lake.storage, tokenizer, config, start=DataState(), steps=10)
    return load_batches(dataset)


def test_workers_finish_their_batches_after_a_signal_to_every_process_of_the_job(batches):
    positions = next(batches).positions.tolist()
    workers = multiprocessing.active_children()
    assert workers
    for process in [*(worker.pid for worker in workers), forkserver._forkserver._forkserver_pid]:
        os.kill(process, signal.SIGTERM)
        os.kill(process, signal.SIGUSR1)
    for batch in batches:
        positions += batch.positions.tolist()
    assert positions == list(range(40))


@pytest.mark.parametrize(
    ("number", "cause"), [(signal.SIGKILL, "the host probably ran out of memory"), (signal.SIGBUS, "shared memory")]
)
def test_a_killed_worker_ends_the_run_with_one_line_that_names_the_likely_cause(batches, number, cause):
    """It was reported as a bug."""
    of_other_tests = multiprocessing.active_children()
    next(batches)
    (worker,) = (child for child in multiprocessing.active_children() if child not in of_other_tests)
    os.kill(worker.pid, number)
    with pytest.raises(RunInterruptedError, match=rf"^num_workers: a loader process ended by .*{cause}") as ended:
        list(batches)
    assert ended.value.exit_code == 3


def _ready_then_wait(ready) -> None:
    survive_stop_signals()
    ready.set()
    signal.pause()  # returns after the first signal
    signal.pause()


def test_a_second_sigterm_ends_a_worker():
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=_ready_then_wait, args=(ready,))
    worker.start()
    assert ready.wait(60)
    while worker.is_alive():
        os.kill(worker.pid, signal.SIGTERM)
        worker.join(0.2)
    assert worker.exitcode == -signal.SIGTERM
