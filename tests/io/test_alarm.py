"""The alarm: it rings at the earliest time asked for, on each event loop, and ends with whoever runs it."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from krafka._io.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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


# -- looked at before it is time -------------------------------------------------------------------------------------


class Watched:
    """An alarm on a clock that stands still, which was set to a millisecond from now and sleeps; each ring is noted."""

    def __init__(self, *then: float | None) -> None:
        self.start = anyio.current_time()
        self.alarm = Alarm(self.clock, self)
        self.wakings = 0
        self.rings: list[float] = []
        self._then = list(then)

    def __call__(self, now: float) -> None:
        self.rings.append(round((now - self.start) * 1000, 6))
        if self._then and (then := self._then.pop(0)) is not None:
            self.alarm.set(self.start + then / 1000)

    def clock(self) -> float:
        """The alarm looks at it whenever its task has woken."""
        self.wakings += 1
        return anyio.current_time()

    async def at(self, milliseconds: float) -> None:
        """Return when the clock says so."""
        await anyio.sleep_until(self.start + milliseconds / 1000)


@contextlib.asynccontextmanager
async def watched(*then: float | None, first: float = 1.0) -> AsyncIterator[Watched]:
    """`first` and `then` are milliseconds from the start."""
    watched = Watched(*then)
    watched.alarm.set(watched.start + first / 1000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched.alarm.run)
        await checkpoint()
        await checkpoint()
        yield watched
        tasks.cancel_scope.cancel()


STILL = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
)


@STILL
async def test_looked_at_in_time_it_sleeps_on_if_there_is_nothing_to_ring_for() -> None:
    async with watched(5.0, None) as it:
        it.alarm.look_ahead(it.start)
        assert it.rings == [0.0]
        await it.at(4.9)
        assert (it.rings, it.wakings) == ([0.0], 0)
        await it.at(6)
        assert it.rings == [0.0, 5.0]


@STILL
async def test_looked_at_for_nothing_it_rings_when_it_would_have() -> None:
    async with watched(1.0, None) as it:
        it.alarm.look_ahead(it.start)
        await it.at(2)
        assert it.rings == [0.0, 1.0]


@STILL
async def test_what_has_come_up_meanwhile_is_rung_for_earlier() -> None:
    async with watched(0.5, None) as it:
        it.alarm.look_ahead(it.start)
        await it.at(2)
        assert it.rings == [0.0, 0.5]


@STILL
async def test_it_is_looked_at_neither_long_before_nor_when_it_is_time() -> None:
    async with watched(None, first=10.0) as it:
        it.alarm.look_ahead(it.start)
        it.alarm.look_ahead(it.start + 0.010)
        assert it.rings == []
        await it.at(11)
        assert it.rings == [10.0]


@STILL
async def test_with_nothing_left_to_ring_for_it_sleeps_until_it_is_set() -> None:
    async with watched(None, None) as it:
        it.alarm.look_ahead(it.start)
        await it.at(50)
        assert it.rings == [0.0]
        it.alarm.set(it.start + 0.060)
        await it.at(70)
        assert it.rings == [0.0, 60.0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_of_the_loop_is_left_alone() -> None:
    async with watched(None, first=1.5) as it:
        it.alarm.look_ahead(it.start)
        assert it.rings == []
