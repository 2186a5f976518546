from __future__ import annotations

import threading

import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from training.heartbeat import INTERVAL_S, PATIENCE_S, Heartbeat, watch


class Ranks:
    """Heartbeats of several ranks that share a store and a clock that only `pass_time` moves."""

    def __init__(self, size: int) -> None:
        self.now, self.store = 0.0, dist.HashStore()
        self.beats = [Heartbeat(self.store, rank, size, lambda: self.now) for rank in range(size)]

    def pass_time(self, seconds: float, silent: set[int]) -> list[int | None]:
        """Let every rank that is not silent beat, as the thread does, until it finds a lost rank; return which."""
        found: list[int | None] = [None] * len(self.beats)
        for _ in range(int(seconds / INTERVAL_S)):
            self.now += INTERVAL_S
            for rank, heartbeat in enumerate(self.beats):
                if rank not in silent and found[rank] is None:
                    found[rank] = heartbeat.beat()
        return found


@given(st.integers(2, 5), st.data())
def test_all_ranks_learn_within_a_minute_that_one_is_lost(size, data):
    lost = data.draw(st.integers(0, size - 1))
    ranks = Ranks(size)
    assert ranks.pass_time(data.draw(st.integers(1, 300)), silent=set()) == [None] * size
    found = ranks.pass_time(60, silent={lost})
    assert [found[rank] for rank in range(size) if rank != lost] == [lost] * (size - 1)


@given(st.integers(2, 5), st.data())
def test_neither_a_rank_that_is_done_nor_a_short_silence_ends_the_others(size, data):
    ranks, quiet = Ranks(size), {data.draw(st.integers(0, size - 1))}
    assert ranks.pass_time(PATIENCE_S - INTERVAL_S, silent=quiet) == [None] * size
    assert ranks.pass_time(INTERVAL_S, silent=set()) == [None] * size
    for rank in quiet:
        ranks.beats[rank].finish()
    assert ranks.pass_time(600, silent=quiet) == [None] * size


def test_the_thread_reports_a_store_that_does_not_answer_once():
    class Gone(dist.HashStore):
        def add(self, *_):
            raise RuntimeError("connection refused\nby the host")

    reasons, reported = [], threading.Event()

    def end(reason: str) -> None:
        reasons.append(reason)
        reported.set()

    class Silent(Heartbeat):
        def finish(self) -> None:
            pass

    with watch(Silent(Gone(), 0, 2), end, threading.Event(), interval=0.001):
        assert reported.wait(60)
    assert reasons == ["the launcher's store does not answer: connection refused"]


def test_a_block_that_ends_with_an_error_leaves_the_rank_undone():
    store = dist.HashStore()
    try:
        with watch(Heartbeat(store, 0, 2), lambda _: None, threading.Event(), interval=60):
            raise KeyError
    except KeyError:
        assert store.add("beats-0", 0) == 0
    with watch(Heartbeat(store, 0, 2), lambda _: None, threading.Event(), interval=60):
        pass
    assert store.add("beats-0", 0) > 0
