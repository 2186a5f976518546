"""Bodies take no more memory than their room and one largest body, and every one of them is received in the end."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from curation.images.body_room import FIRST_BYTES, BodyRoom

CHUNK = 16 << 10
SIZES = st.lists(st.integers(0, 40 * CHUNK), max_size=60)


async def receive(space, size, chances):
    """Receive a body in chunks as a transfer does, with other bodies between them; return its space."""
    await space.enter()
    may_go_on = asyncio.Event()
    space.attach(may_go_on.clear, may_go_on.set)
    received = 0
    while received < size:
        part = min(CHUNK, size - received)
        if space.grow(received + part):
            received += part
        else:
            await may_go_on.wait()
        for _ in range(chances.randrange(3)):
            await asyncio.sleep(0)
    space.keep(size)
    return space


@given(SIZES, st.integers(1, 60 * CHUNK), st.integers(1, 70), st.integers(0, 1000))
def test_all_bodies_are_received_and_take_at_most_the_capacity_and_one_body(sizes, capacity, at_once, seed):
    """The caller takes finished bodies at any time, also late; `most` is measured at every step of any transfer."""
    chances, most, received = random.Random(seed), 0, 0
    largest = max([FIRST_BYTES, *sizes])

    class Measured(BodyRoom):
        def resize(self, space, size):
            nonlocal most
            super().resize(space, size)
            most = max(most, self._held)

    async def main():
        nonlocal received
        room, slots, finished = Measured(capacity), asyncio.Semaphore(at_once), asyncio.Queue()

        async def transfer(size):
            async with slots:
                finished.put_nowait(await receive(room.space(), size, chances))

        transfers = [asyncio.create_task(transfer(size)) for size in sizes]
        for _ in sizes:
            space = await finished.get()
            for _ in range(chances.randrange(4)):
                await asyncio.sleep(0)
            space.leave()
            received += 1
        await asyncio.gather(*transfers)
        assert room._held == 0

    asyncio.run(asyncio.wait_for(main(), 60))
    assert received == len(sizes)
    assert most <= capacity + largest


@given(SIZES, st.integers(1, 20 * CHUNK), st.integers(0, 1000))
def test_transfers_that_are_canceled_free_their_room_for_the_others(sizes, capacity, seed):
    chances = random.Random(seed)

    async def main():
        room = BodyRoom(capacity)
        transfers = []
        for size in sizes:
            space = room.space()
            transfers.append(asyncio.create_task(receive(space, size, chances)))
            transfers[-1].add_done_callback(lambda _, space=space: space.leave())
        for _ in range(chances.randrange(30)):
            await asyncio.sleep(0)
        for transfer in transfers:
            if chances.random() < 0.5:
                transfer.cancel()
        await asyncio.gather(*transfers, return_exceptions=True)
        assert room._held == 0

    asyncio.run(asyncio.wait_for(main(), 60))


def test_requests_that_wait_start_in_their_order_when_there_is_room():
    async def main():
        room, order = BodyRoom(FIRST_BYTES), []
        first = room.space()
        await first.enter()

        async def enter(number):
            space = room.space()
            await space.enter()
            order.append(number)
            space.leave()

        waiting = [asyncio.create_task(enter(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert order == []
        waiting[1].cancel()
        await asyncio.sleep(0)
        first.leave()
        await asyncio.wait(waiting)
        assert order == [0, 2, 3, 4]

    asyncio.run(main())


def test_few_requests_start_together_when_bodies_are_large():
    async def main():
        room = BodyRoom(100 * FIRST_BYTES)
        for _ in range(200):
            room.learn(20 * FIRST_BYTES)
        spaces = [room.space() for _ in range(50)]
        entering = [asyncio.create_task(space.enter()) for space in spaces]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        entered = sum(task.done() for task in entering)
        for task in entering:
            task.cancel()
        return entered

    assert asyncio.run(main()) == 5
