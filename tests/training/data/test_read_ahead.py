from __future__ import annotations

import threading

import pytest

from training.data.read_ahead import read_ahead


def test_items_arrive_in_their_order_and_an_error_after_them():
    def items():
        yield from range(5)
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"):
        seen.extend(read_ahead(items(), 2))
    ahead = read_ahead(items(), 2)
    assert [next(ahead) for _ in range(5)] == list(range(5))


def test_no_more_items_are_made_than_are_asked_for_and_the_thread_ends_with_its_consumer():
    made = []
    ahead = read_ahead((made.append(number) for number in range(1000)), 2)
    next(ahead)
    ahead.close()
    assert len(made) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
