"""One alarm clock for a producer: a task that sleeps until the earliest time somebody asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """Calls `ring(now)` at the earliest of the times it was set to; `ring` sets the next one.

    Setting it costs a comparison unless the new time is earlier than all before, so it may be set for each batch.
    """

    def __init__(self, clock: Callable[[], float], ring: Callable[[float], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._at = math.inf
        self._sleeps_until = -math.inf
        self._earlier = anyio.Event()

    def set(self, at: float) -> None:
        """Ring at this time, or before if it was set to an earlier one."""
        if at < self._at:
            self._at = at
            if at < self._sleeps_until:
                self._earlier.set()

    async def run(self) -> None:
        """Ring for ever; never returns."""
        while True:
            self._earlier = anyio.Event()
            self._sleeps_until = self._at
            with anyio.CancelScope(deadline=self._at):
                await self._earlier.wait()
            self._sleeps_until = -math.inf
            now = self._clock()
            if self._at <= now:
                self._at = math.inf
                self._ring(now)
