"""Kill processes at seeded moments while nights run, and start again what a machine's service manager would."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from random import Random

from chaos.processes import find_processes, kill

PAUSE = (0.2, 1.0)  # between kills, in nights
DOWN_S = (0.5, 4.0)  # until a killed service is started again

Victim = Callable[[Random], bool]
"""Kills one process if there is one of its kind now; returns whether there was."""


def process_victim(mark: str, pattern: str) -> Victim:
    """Return what kills a process whose command line matches a regular expression."""

    def strike(random: Random) -> bool:
        found = find_processes(mark, pattern)
        if found:
            kill(random.choice(found).pid)
        return bool(found)

    return strike


class Killer:
    """Kills a victim of every kind, in an order that the seed decides, then of every kind again, until it is closed.

    Args:
        seed: decides order, moments and victims.
        victims: what kills a process, by kind.
        revive: what starts it again, if nothing else does.
        night_s: about how many seconds a night takes.

    Attributes:
        kills: how many processes of each kind it has killed.
    """

    def __init__(
        self, seed: int, victims: Mapping[str, Victim], revive: Mapping[str, Callable[[], None]], night_s: float
    ) -> None:
        self.kills: Counter[str] = Counter()
        self._random, self._victims, self._revive, self._night_s = Random(seed), victims, revive, night_s
        self._active, self._closed = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Kill from now on."""
        self._active.set()

    def pause(self) -> None:
        """Kill no more; returns when everything that was killed has been started again."""
        self._active.clear()
        with self._lock:
            pass

    def close(self) -> None:
        """End."""
        self._closed.set()
        self._active.set()
        self._thread.join()

    def _work(self) -> None:
        for kind in self._kinds():
            while not self._strike_after_pause(kind):
                if self._closed.is_set():
                    return

    def _kinds(self) -> Iterator[str]:
        while True:
            yield from self._random.sample(sorted(self._victims), len(self._victims))

    def _strike_after_pause(self, kind: str) -> bool:
        """Wait for a night and a while longer, then kill; return whether it killed anything."""
        self._active.wait()
        if self._closed.wait(self._night_s * self._random.uniform(*PAUSE)):
            return False
        with self._lock:
            if not self._active.is_set() or not self._victims[kind](self._random):
                return False
            self.kills[kind] += 1
            if kind in self._revive:
                self._closed.wait(self._random.uniform(*DOWN_S))
                self._revive[kind]()
            return True
