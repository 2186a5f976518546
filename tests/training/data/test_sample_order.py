from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.sample_order import Place, Progress, SampleOrder, own_positions, permutation

counts_of = st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any).map(np.array)
orders = st.builds(SampleOrder, seed=st.integers(0, 3), streams=st.integers(1, 9), window=st.integers(1, 7))


def samples_in_order(order: SampleOrder, epoch: int, counts: np.ndarray) -> list[tuple[int, int]]:
    places = order.epoch(epoch, counts)
    return [(p.group, p.row) for p in map(places.place, range(int(counts.sum())))]


@given(counts_of, orders, st.integers(0, 3))
def test_an_epoch_shows_every_sample_once(counts, order, epoch):
    every = [(group, row) for group, count in enumerate(counts) for row in range(count)]
    assert sorted(samples_in_order(order, epoch, counts)) == every


def slow_order(order: SampleOrder, epoch: int, counts: np.ndarray) -> list[tuple[int, int]]:
    """The order as the module's docstring tells it, with lists."""
    groups = permutation(len(counts), order.seed, "groups", epoch)
    laid = [(int(group), row) for group in groups for row in range(counts[group])]
    length = len(laid) // order.streams
    streams = []
    for number in range(order.streams):
        piece, shuffled = laid[number * length : (number + 1) * length], []
        for window in range(0, length, order.window):
            part = piece[window : window + order.window]
            numbers = permutation(len(part), order.seed, "window", epoch, number, window // order.window)
            shuffled += [part[k] for k in numbers]
        streams.append(shuffled)
    woven = [stream[k] for k in range(length) for stream in streams]
    return woven + laid[length * order.streams :]


@given(counts_of, orders, st.integers(0, 2))
def test_the_order_is_the_documented_one(counts, order, epoch):
    assert samples_in_order(order, epoch, counts) == slow_order(order, epoch, counts)


@given(counts_of, orders, st.randoms(use_true_random=False))
def test_positions_can_be_asked_in_any_order(counts, order, rng):
    positions = list(range(int(counts.sum())))
    forward = samples_in_order(order, 0, counts)
    rng.shuffle(positions)
    places = order.epoch(0, counts)
    for position in positions:
        place = places.place(position)
        assert (place.group, place.row) == forward[position]


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
def test_ranks_and_workers_share_out_a_batch(start, world, per_rank, workers):
    batch_size = world * per_rank
    shares = [
        [own_positions(start, batch_size, rank=rank, world=world, worker=w, workers=workers) for w in range(workers)]
        for rank in range(world)
    ]
    everything = [position for rank in shares for worker in rank for position in worker]
    assert sorted(everything) == list(range(start, start + batch_size))
    assert all(sum(map(len, rank)) == per_rank for rank in shares)
    for rank, workers_of in enumerate(shares):
        assert all(position % world == rank for worker in workers_of for position in worker)


def walk(begin: Progress, batch_size: int, samples: int, steps: int) -> list[Progress]:
    begins, progress = [], begin
    for _ in range(steps):
        progress = progress.fitting(batch_size, samples)
        begins.append(progress)
        progress = progress.after(batch_size)
    return begins


@given(st.integers(1, 20), st.integers(0, 60), st.integers(1, 12), st.integers(0, 12))
def test_resuming_at_any_step_sees_the_uninterrupted_tail(batch_size, more, steps, done):
    samples, done = batch_size + more, min(done, steps)
    whole = walk(Progress(), batch_size, samples, steps)
    stopped = whole[done - 1].after(batch_size) if done else Progress()
    assert walk(stopped, batch_size, samples, steps - done) == whole[done:]


@given(st.integers(1, 20), st.integers(0, 60), st.integers(1, 30))
def test_batches_are_full_never_cross_an_epoch_and_leave_out_less_than_one(batch_size, more, steps):
    samples = batch_size + more
    begins = walk(Progress(), batch_size, samples, steps)
    assert all(0 <= position <= samples - batch_size for _, position in begins)
    per_epoch = samples // batch_size
    assert begins == [Progress(k // per_epoch, k % per_epoch * batch_size) for k in range(steps)]


@settings(max_examples=50)
@given(counts_of, orders.filter(lambda order: order.streams % 2 == 0))
def test_two_readers_read_different_streams_and_hold_only_their_windows(counts, order):
    places = order.epoch(0, counts)
    woven = int(counts.sum()) // order.streams * order.streams
    by_rank = [[places.place(p) for p in range(rank, woven, 2)] for rank in (0, 1)]
    assert not {p.stream for p in by_rank[0]} & {p.stream for p in by_rank[1]}
    for rank in by_rank:
        for stream in {place.stream for place in rank}:
            own = [place for place in rank if place.stream == stream]
            assert own == sorted(own, key=lambda place: place.oldest), "windows follow each other"
            assert all(place.turn >= place.oldest for place in own)
            assert all(held_groups(place, counts) for place in own)


def held_groups(place: Place, counts: np.ndarray) -> bool:
    """A place lies in a row group that has such a row."""
    return 0 <= place.row < counts[place.group]


@pytest.mark.parametrize("streams", [1, 4, 16])
def test_a_reader_of_one_stream_reads_few_row_groups_at_a_time(streams):
    counts = np.full(64, 100)
    places = SampleOrder(0, streams, 150).epoch(0, counts)
    for stream in range(streams):
        own = [places.place(p) for p in range(stream, 6400, streams)]
        alive = [place.turn - place.oldest for place in own]
        assert max(alive) <= 2  # a window of 150 touches at most three groups of 100
        read = [place.turn for place in own]
        assert len(set(read)) <= 6400 // streams // 100 + 1
