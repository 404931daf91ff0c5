"""One alarm clock for a producer, which rings at the earliest time somebody asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import anyio
from anyio.lowlevel import current_token

from krafka._io.arrivals import callback_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


NEARLY = 0.002
"""Seconds before it rings at which it is worth a look whether it has to."""


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> object: ...


class TimingLoop(Protocol):
    """An event loop that calls back at a time: asyncio's, and those that stand in for it."""

    def call_at(self, when: float, callback: Callable[[], object], *, context: Context) -> Timer: ...


class Alarm:
    """Calls `ring(now)` at the earliest of the times it was set to; `ring` sets the next one.

    Setting it costs a comparison unless the new time is earlier than all before, so it may be set for each batch.
    """

    def __init__(self, clock: Callable[[], float], ring: Callable[[float], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._at = math.inf
        self._sleeps_until = -math.inf
        self._sleep_less: Callable[[], object] | None = None
        self._sleep: anyio.CancelScope | None = None

    def set(self, at: float) -> None:
        """Ring at this time, or before if it was set to an earlier one."""
        if at < self._at:
            self._at = at
            if at < self._sleeps_until and self._sleep_less is not None:
                self._sleep_less()

    def look_ahead(self, now: float) -> None:
        """Sleep on if what it is to ring for soon is done with, which `ring` tells, called before it is time.

        Of the batches that open most are full before they have lingered. Waking a task of trio for nothing, three
        hundred times a second, is a twentieth of what records in bulk take; a call of asyncio's loop is cheap enough.
        """
        if self._sleep is not None and now < self._at < now + NEARLY:
            self._at = math.inf
            self._ring(now)
            if self._at > self._sleeps_until:
                self._sleeps_until = self._sleep.deadline = self._at

    async def run(self) -> NoReturn:
        """Ring for ever; ends by nothing but what `ring` raises, and by its cancellation."""
        loop: Any = current_token().native_token
        if hasattr(loop, "call_at"):
            await self._run_in_calls(loop)
        earlier = anyio.Event()
        while True:
            if earlier.is_set():
                earlier = anyio.Event()
            self._sleep_less = earlier.set
            self._sleeps_until = self._at
            with anyio.CancelScope(deadline=self._at) as self._sleep:
                await earlier.wait()
            self._wake()

    def _wake(self) -> None:
        self._sleeps_until = -math.inf
        now = self._clock()
        if self._at <= now:
            self._at = math.inf
            self._ring(now)

    async def _run_in_calls(self, loop: TimingLoop) -> NoReturn:
        # A producer that lingers is rung two hundred times a second, mostly for nothing; a task that wakes from a
        # cancel scope for that costs many times what a call of the loop does.
        context = callback_context()
        timer: Timer | None = None
        bug: BaseException | None = None
        ended = anyio.Event()

        def sleep() -> None:
            nonlocal timer
            stop()
            self._sleeps_until = self._at
            if self._at < math.inf:
                timer = loop.call_at(self._at, wake, context=context)

        def wake() -> None:
            nonlocal timer, bug
            timer = None
            try:
                self._wake()
            except BaseException as error:
                bug = error
                ended.set()
            else:
                sleep()

        def stop() -> None:
            if timer is not None:
                timer.cancel()

        self._sleep_less = sleep
        sleep()
        try:
            await ended.wait()
        finally:
            self._sleep_less = None
            stop()
        assert bug is not None  # noqa: S101 - for the type checker; it was set with the event
        raise bug
