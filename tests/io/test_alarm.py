"""The alarm: it rings at the earliest time asked for, on each event loop, and ends with whoever runs it."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from krafka._io.alarm import Alarm

pytestmark = pytest.mark.anyio

SOON = 0.02
NEVER = 3600.0


class Rings:
    """Notes when it rang; after each ring it asks for the next of `then`."""

    def __init__(self, *then: float) -> None:
        self.alarm = Alarm(anyio.current_time, self)
        self.times: list[float] = []
        self.heard = anyio.Event()
        self._then = list(then)

    def __call__(self, now: float) -> None:
        self.times.append(now)
        if self._then:
            self.alarm.set(now + self._then.pop(0))
        else:
            self.heard.set()


async def test_it_rings_at_each_time_it_is_set_to_and_never_before() -> None:
    rings = Rings(SOON, SOON)
    start = anyio.current_time()
    rings.alarm.set(start + SOON)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rings.alarm.run)
        with anyio.fail_after(10):
            await rings.heard.wait()
        tasks.cancel_scope.cancel()
    times = [start, *rings.times]
    assert len(times) == 4
    assert all(later >= before + SOON for before, later in pairwise(times))


@pytest.mark.parametrize("first", [None, NEVER])
async def test_an_earlier_time_shortens_its_sleep(first: float | None) -> None:
    rings = Rings()
    start = anyio.current_time()
    if first is not None:
        rings.alarm.set(start + first)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rings.alarm.run)
        await anyio.wait_all_tasks_blocked()
        rings.alarm.set(start + SOON)
        rings.alarm.set(start + NEVER)
        with anyio.fail_after(10):
            await rings.heard.wait()
            # It sleeps again, and does not look at the clock for ever.
            await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert len(rings.times) == 1


async def test_what_a_ring_raises_ends_it() -> None:
    def ring(now: float) -> None:
        raise ZeroDivisionError("a bug")

    alarm = Alarm(anyio.current_time, ring)
    alarm.set(anyio.current_time())
    with anyio.fail_after(10), pytest.raises(ZeroDivisionError, match="a bug"):
        await alarm.run()


async def test_one_that_is_cancelled_rings_no_more() -> None:
    rings = Rings()
    rings.alarm.set(anyio.current_time() + SOON)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rings.alarm.run)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    rings.alarm.set(anyio.current_time())
    await anyio.sleep(3 * SOON)
    assert rings.times == []
