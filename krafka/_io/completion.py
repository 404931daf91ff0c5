"""Waits until the coordinator is done with a transaction, so that no record of the next comes too early."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from krafka._io.coordinator import RefusedError
from krafka._state.coordinator_rules import Ask

if TYPE_CHECKING:
    from krafka._io.coordinator import Coordinators
    from krafka._io.engine import Engine
    from krafka._io.transaction_requests import TransactionRequests

COMPLETION = 0.1
"""Seconds after a transaction for which its completion is waited for, before records of the next are sent."""


class Completion:
    """What comes after a transaction is decided: its markers are written, and then the coordinator takes the next."""

    def __init__(self, engine: Engine, coordinators: Coordinators, requests: TransactionRequests) -> None:
        self._engine = engine
        self._coordinators = coordinators
        self._requests = requests
        self._waited_for_until = -math.inf

    def begin(self) -> None:
        """A transaction was decided just now."""
        self._waited_for_until = self._engine.clock() + COMPLETION

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._engine.clock() >= self._waited_for_until

    async def wait(self) -> None:
        """Wait, for a short while, until the coordinator says that it is done.

        A leader that is sent records too early keeps them for 20 ms before it asks the coordinator again, which is
        many times what the completion takes. Whatever comes of the question, that is no worse.
        """
        left = self._waited_for_until - self._engine.clock()
        with anyio.move_on_after(left), suppress(RefusedError):
            await self._coordinators.ask(
                Ask.DESCRIBE, self._requests.describe, self._requests.description_codes
            )
        self._waited_for_until = -math.inf
