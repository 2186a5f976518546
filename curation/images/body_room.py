"""Bounds the memory of bodies: those that are being received, and those that wait for the caller.

A request starts when there is room for a body of the usual size. A body that grows beyond the room is not received any
further until others are gone, except for one at a time, so that bodies which all wait for more room cannot block each
other. So all together take at most the capacity and one largest body.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

FIRST_BYTES = 64 << 10  # the usual size, before any body was received
LEARNING_RATE = 1 / 16  # weight of a body in the usual size

Action = Callable[[], object]


class BodyRoom:
    """Room for `capacity` bytes; used in one event loop."""

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._held = 0  # bytes that are received, or expected
        self._usual: float = FIRST_BYTES
        self._entering: deque[tuple[asyncio.Future[None], Space]] = deque()
        self._paused: dict[Space, None] = {}  # in the order in which they were paused
        self._unlimited: Space | None = None  # may exceed the capacity

    def space(self) -> Space:
        """Return the space of a body, which has no bytes yet."""
        return Space(self)

    async def enter(self, space: Space) -> None:
        """Wait for room for a body of the usual size, and reserve it."""
        self.resize(space, 0)
        if self._entering or not self._can_enter():
            turn = asyncio.get_running_loop().create_future()
            self._entering.append((turn, space))
            await turn
        else:
            self.resize(space, int(self._usual))

    def grow(self, space: Space, size: int) -> bool:
        """Take room for a body of a size, or return False: the space is resumed when there may be some."""
        more = size - space.held
        if more > 0 and self._held + more > self._capacity and self._unlimited not in {None, space}:
            self._paused[space] = None
            return False
        if more > 0 and self._held + more > self._capacity:
            self._unlimited = space
        self.resize(space, max(size, space.held))
        return True

    def learn(self, size: int) -> None:
        """Note the size of a body that was received."""
        self._usual += LEARNING_RATE * (size - self._usual)

    def resize(self, space: Space, size: int) -> None:
        """Change the bytes of a space, and let others use what it no longer needs."""
        freed = size < space.held
        self._held += size - space.held
        space.held = size
        if freed:
            if space is self._unlimited:
                self._unlimited = None
            self._use_freed()

    def leave(self, space: Space) -> None:
        """Free the bytes of a space for good."""
        self._paused.pop(space, None)
        self.resize(space, 0)

    def _can_enter(self) -> bool:
        return not self._paused and (self._held == 0 or self._held + self._usual <= self._capacity)

    def _use_freed(self) -> None:
        """Resume the bodies that were paused, or one of them if there is no room; if none was, let requests start."""
        if self._paused and self._held < self._capacity:
            paused, self._paused = self._paused, {}
            for space in paused:
                space.resume()
            return
        if self._paused and self._unlimited is None:
            self._unlimited = next(iter(self._paused))
            del self._paused[self._unlimited]
            self._unlimited.resume()
        while self._entering and self._can_enter():
            turn, space = self._entering.popleft()
            if not turn.done():  # not canceled
                self.resize(space, int(self._usual))
                turn.set_result(None)


class Space:
    """The bytes that the body of one URL occupies, and how its transfer is paused and resumed."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self.held = 0
        self._pause: Action | None = None
        self._resume: Action | None = None

    async def enter(self) -> None:
        """Wait for room for a body of the usual size."""
        await self._room.enter(self)

    def attach(self, pause: Action | None = None, resume: Action | None = None) -> None:
        """Set what is called when the transfer must be paused, and when it is to be resumed."""
        self._pause, self._resume = pause, resume

    def grow(self, size: int) -> bool:
        """Return whether there is room for a body of this size; if not, the transfer is paused."""
        fits = self._room.grow(self, size)
        if not fits and self._pause:
            self._pause()
        return fits

    def resume(self) -> None:
        """Resume the transfer, soon: this may be called from within another one."""
        if self._resume:
            asyncio.get_running_loop().call_soon(self._resume)

    def keep(self, size: int) -> None:
        """Hold the bytes of a body that was received, and no others."""
        self.attach()
        if size:
            self._room.learn(size)
        self._room.resize(self, size)

    def leave(self) -> None:
        """Free all bytes."""
        self.attach()
        self._room.leave(self)


def unlimited_space() -> Space:
    """Return the space of a body that is alone."""
    return BodyRoom(math.inf).space()
