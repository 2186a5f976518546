"""A budget counts the time of its blocks, and no other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.images import time_budget
from curation.images.failures import FetchError
from curation.images.time_budget import TimeBudget

STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "stop", "wait", "robots start", "robots stop"]), st.integers(0, 9)), max_size=30
)


@given(STEPS)
def test_the_time_left_is_that_of_the_running_seconds(steps):
    """A clock that moves only when the test says so; the oracle adds up the seconds in which both clocks run."""

    async def main():
        loop, now = asyncio.get_running_loop(), 0.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time_budget, "_now", lambda: now)
            patch.setattr(TimeBudget, "_expire_at", lambda *_: None)
            budget, robots = TimeBudget(1000.0), TimeBudget(1000.0)
            robots._scope = SimpleNamespace()
            spent, is_spent = 0, False
            async with budget.follow(robots):
                for step, seconds in steps:
                    if step.startswith("robots"):
                        (robots.start if step.endswith("start") else robots.stop)()
                        is_spent = step.endswith("start")
                    elif step == "wait":
                        now += seconds
                        spent += seconds * is_spent
                assert budget.left == robots.left == 1000.0 - spent
            robots.start()
            now += 5
            assert budget.left == 1000.0 - spent, "nobody waits any more"
        assert loop.is_running()

    asyncio.run(main())


def test_a_block_ends_when_no_time_is_left():
    async def main():
        budget = TimeBudget(0.02)
        async with budget.spend():
            pass
        await asyncio.sleep(0.05)
        assert budget.left > 0, "a pause between blocks does not count"
        with pytest.raises(FetchError, match="timeout"):
            async with budget.spend():
                await asyncio.Event().wait()
        with pytest.raises(FetchError, match="timeout"):
            async with budget.spend():
                await asyncio.Event().wait()

    asyncio.run(main())


def test_a_block_does_not_end_while_the_budget_is_stopped():
    async def main():
        budget = TimeBudget(0.02)
        async with budget.spend():
            budget.stop()
            await asyncio.sleep(0.1)
            assert budget.left > 0
            budget.start()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
            raise asyncio.CancelledError

    with pytest.raises(FetchError, match="timeout"):
        asyncio.run(main())


def test_a_cancellation_from_outside_is_no_timeout():
    async def main():
        async def wait():
            async with TimeBudget(60.0).spend():
                await asyncio.Event().wait()

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    asyncio.run(main())
