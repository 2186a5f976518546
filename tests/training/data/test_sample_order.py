from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.sample_order import DataState, SampleLocation, SampleOrder, permutation, worker_positions

counts_of = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any).map(np.array)
orders = st.builds(SampleOrder, seed=st.integers(0, 3), streams=st.integers(1, 9), window=st.integers(1, 7))


def samples_in_order(order: SampleOrder, epoch: int, counts: np.ndarray) -> list[tuple[int, int]]:
    epoch_order = order.epoch(epoch, counts)
    return [(p.group, p.row) for p in map(epoch_order.locate, range(int(counts.sum())))]


@given(counts_of, orders, st.integers(0, 3))
def test_an_epoch_shows_every_sample_once(counts, order, epoch):
    every = [(group, row) for group, count in enumerate(counts) for row in range(count)]
    assert sorted(samples_in_order(order, epoch, counts)) == every


def slow_order(order: SampleOrder, epoch: int, counts: np.ndarray) -> list[tuple[int, int]]:
    """Build the order as the module docstring describes it, with plain lists."""
    groups = permutation(len(counts), order.seed, "groups", epoch)
    samples = [(int(group), row) for group in groups for row in range(counts[group])]
    length = len(samples) // order.streams
    streams = []
    for number in range(order.streams):
        stream, shuffled = samples[number * length : (number + 1) * length], []
        for window in range(0, length, order.window):
            part = stream[window : window + order.window]
            numbers = permutation(len(part), order.seed, "window", epoch, number, window // order.window)
            shuffled += [part[k] for k in numbers]
        streams.append(shuffled)
    interleaved = [stream[k] for k in range(length) for stream in streams]
    return interleaved + samples[length * order.streams :]


@given(counts_of, orders, st.integers(0, 2))
def test_the_order_is_the_documented_one(counts, order, epoch):
    assert samples_in_order(order, epoch, counts) == slow_order(order, epoch, counts)


@given(counts_of, orders, st.randoms(use_true_random=False))
def test_positions_can_be_located_in_any_order(counts, order, rng):
    positions = list(range(int(counts.sum())))
    forward = samples_in_order(order, 0, counts)
    rng.shuffle(positions)
    epoch_order = order.epoch(0, counts)
    for position in positions:
        location = epoch_order.locate(position)
        assert (location.group, location.row) == forward[position]


def test_epochs_and_seeds_have_different_orders():
    counts = np.full(20, 50)
    first, second, other = (
        samples_in_order(SampleOrder(seed, 4, 64), epoch, counts) for seed, epoch in ((0, 0), (0, 1), (1, 0))
    )
    assert first != second
    assert first != other
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 20  # about one in a thousand by chance


def test_a_permutation_is_the_same_on_every_machine():
    assert permutation(8, 0, "groups", 1).tolist() == [7, 6, 3, 2, 1, 4, 0, 5]


@given(
    st.integers(0, 500), st.integers(1, 6), st.integers(1, 12), st.integers(1, 5)
)  # fmt: skip
def test_ranks_and_workers_partition_a_batch(start, world_size, per_rank, workers):
    batch_size = world_size * per_rank

    def share(rank: int, worker: int) -> range:
        return worker_positions(start, batch_size, rank=rank, world_size=world_size, worker=worker, workers=workers)

    shares = [[share(rank, worker) for worker in range(workers)] for rank in range(world_size)]
    everything = [position for rank in shares for worker in rank for position in worker]
    assert sorted(everything) == list(range(start, start + batch_size))
    assert all(sum(map(len, rank)) == per_rank for rank in shares)
    for rank, workers_of in enumerate(shares):
        assert all(position % world_size == rank for worker in workers_of for position in worker)


def batch_starts(state: DataState, batch_size: int, samples: int, steps: int) -> list[DataState]:
    starts = []
    for _ in range(steps):
        starts.append(state.batch_start(batch_size, samples))
        state = starts[-1].advance(batch_size)
    return starts


@given(st.integers(1, 20), st.integers(0, 60), st.integers(1, 12), st.integers(0, 12))
def test_a_run_resumed_at_any_step_continues_as_an_uninterrupted_one(batch_size, more, steps, done):
    samples, done = batch_size + more, min(done, steps)
    whole = batch_starts(DataState(), batch_size, samples, steps)
    stopped = whole[done - 1].advance(batch_size) if done else DataState()
    assert batch_starts(stopped, batch_size, samples, steps - done) == whole[done:]


@given(st.integers(1, 20), st.integers(0, 60), st.integers(1, 30))
def test_batches_are_full_never_cross_an_epoch_and_skip_less_than_one_batch_per_epoch(batch_size, more, steps):
    samples = batch_size + more
    starts = batch_starts(DataState(), batch_size, samples, steps)
    assert all(0 <= position <= samples - batch_size for _, position in starts)
    per_epoch = samples // batch_size
    assert starts == [DataState(k // per_epoch, k % per_epoch * batch_size) for k in range(steps)]


@settings(max_examples=50)
@given(counts_of, orders.filter(lambda order: order.streams % 2 == 0))
def test_two_readers_read_different_streams_and_hold_only_their_windows(counts, order):
    epoch_order = order.epoch(0, counts)
    interleaved = int(counts.sum()) // order.streams * order.streams
    by_rank = [[epoch_order.locate(p) for p in range(rank, interleaved, 2)] for rank in (0, 1)]
    assert not {p.stream for p in by_rank[0]} & {p.stream for p in by_rank[1]}
    for rank in by_rank:
        for stream in {location.stream for location in rank}:
            locations = [location for location in rank if location.stream == stream]
            by_window = sorted(locations, key=lambda location: (location.window, location.is_late))
            assert locations == by_window, "windows follow each other"
            assert all(
                location.group_index in epoch_order.window_groups(stream, location.window) for location in locations
            )
            assert all(row_exists(location, counts) for location in locations)


def row_exists(location: SampleLocation, counts: np.ndarray) -> bool:
    return 0 <= location.row < counts[location.group]


@pytest.mark.parametrize("streams", [1, 4, 16])
def test_a_reader_of_one_stream_reads_few_row_groups_at_a_time(streams):
    counts = np.full(64, 100)
    epoch_order = SampleOrder(0, streams, 150).epoch(0, counts)
    for stream in range(streams):
        locations = [epoch_order.locate(p) for p in range(stream, 6400, streams)]
        windows = {location.window for location in locations}
        sizes = [len(epoch_order.window_groups(stream, window)) for window in windows]
        assert max(sizes) <= 3  # a window of 150 spans at most three groups of 100
        assert not epoch_order.window_groups(stream, max(windows) + 1)
        read = [location.group_index for location in locations]
        assert len(set(read)) <= 6400 // streams // 100 + 1


@given(counts_of, orders)
def test_the_groups_of_a_window_are_those_of_its_samples_and_none_is_empty(counts, order):
    epoch_order = order.epoch(1, counts)
    groups: dict[tuple[int, int], set[int]] = {}
    for location in map(epoch_order.locate, range(int(counts.sum()))):
        groups.setdefault((location.stream, location.window), set()).add(location.group_index)
        assert epoch_order.group_at(location.group_index) == location.group
    for window, indices in groups.items():
        assert sorted(indices) == list(epoch_order.window_groups(*window))
