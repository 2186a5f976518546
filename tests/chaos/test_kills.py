"""Kills hit processes of the run only, of every kind in turn, and what was killed is started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from random import Random

import pytest

from chaos.kills import Killer, process_victim
from chaos.processes import MARK, find_processes, kill_all

SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def mark():
    made = uuid.uuid4().hex
    yield made
    kill_all(made)


def start(mark: str, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SLEEP, name], env={**os.environ, MARK: mark})


def test_only_processes_with_the_mark_are_found_and_killed(mark):
    ours, others = [start(mark, "a"), start(mark, "b")], start(uuid.uuid4().hex, "a")
    try:
        assert [found.pid for found in find_processes(mark)] == sorted(process.pid for process in ours)
        assert [found.pid for found in find_processes(mark, r" b$|b $")] == [ours[1].pid]
        assert process_victim(mark, r"a ?$")(Random(0))
        assert ours[0].wait(60) == -9
        assert not process_victim(mark, r"a ?$")(Random(0))
        kill_all(mark)
        assert ours[1].wait(60) == -9
        assert others.poll() is None
    finally:
        others.kill()
        others.wait()


def strikes(seed: int, count: int) -> list[str]:
    """Return the kinds that are killed first."""
    struck = list[str]()
    done = False

    def victim(kind):
        def strike(_):
            nonlocal done
            struck.append(kind)
            done = done or len(struck) >= count
            return True

        return strike

    killer = Killer(seed, {kind: victim(kind) for kind in "abc"}, {"b": lambda: struck.append("b again")}, 0.001)
    killer.resume()
    while not done:
        os.sched_yield()
    killer.close()
    return struck


def test_every_kind_is_killed_before_any_is_again_in_the_order_of_the_seed(monkeypatch):
    monkeypatch.setattr("chaos.kills.DOWN_S", (0.0, 0.0))
    first = strikes(1, 9)[:8]
    assert first == strikes(1, 9)[:8]
    kinds = [kind for kind in first if "again" not in kind]
    assert sorted(kinds[:3]) == ["a", "b", "c"]
    assert first[first.index("b") + 1] == "b again"
    assert any(strikes(seed, 9)[:8] != first for seed in range(2, 6))


def test_nothing_is_killed_before_the_nights_and_in_pauses():
    struck = list[int]()
    killer = Killer(0, {"a": lambda _: struck.append(1) is None}, {}, 0.0)
    killer.pause()
    assert not struck
    killer.resume()
    while not struck:
        os.sched_yield()
    killer.pause()
    seen = len(struck)
    time.sleep(0.05)
    assert len(struck) == seen
    killer.close()
