"""The producer's memory: a byte budget that those who have to wait for it get in the order they came."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._speedups.append import Appender

WORTH_WAKING_FOR = 1024 * 1024
"""Bytes that let the line move at once; an eighth of `buffer_memory` does too, if that is less."""
PATIENCE = 0.005
"""Seconds that those who wait for memory may be kept waiting for more of it than they need."""


class Ticket:
    """A place in the line for `needed` bytes; `granted` holds them once it is the ticket's turn."""

    __slots__ = ("granted", "needed", "wake")

    def __init__(self, needed: int, wake: Callable[[], object]) -> None:
        self.needed = needed
        self.granted = 0
        self.wake = wake


class BufferMemory:
    """Lends the bytes of `buffer_memory`, which the appender draws on directly while nobody waits.

    Waking who waits costs more than appending a batch, so the line moves when some batches' worth is free, and not for
    each that ends. With less it moves at the next `serve`, which `serve_soon` asks for.
    """

    def __init__(self, appender: Appender, serve_soon: Callable[[], object]) -> None:
        self._appender = appender
        self._serve_soon = serve_soon
        self._enough = min(appender.buffer_memory // 8, WORTH_WAKING_FOR)
        self._asked = False
        self._line: deque[Ticket] = deque()

    @property
    def available(self) -> int:
        """Bytes that nobody holds."""
        return self._appender.available

    @property
    def waiting(self) -> int:
        """How many wait for memory."""
        return len(self._line)

    def join(self, needed: int, wake: Callable[[], object]) -> Ticket:
        """Take a place at the end of the line; `wake` is called when the bytes are granted, maybe at once."""
        ticket = Ticket(needed, wake)
        self._line.append(ticket)
        self._appender.contended = True
        if len(self._line) == 1:
            self.serve()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a place up, whether its turn has come or not."""
        if ticket.granted:
            granted, ticket.granted = ticket.granted, 0
            self.release(granted)
            return
        try:
            self._line.remove(ticket)
        except ValueError:
            return
        self.serve()

    def release(self, size: int) -> None:
        """Give bytes back, and pass them on to those who wait."""
        self._appender.available += size
        if not self._line:
            return
        if self._appender.available >= self._enough:
            self.serve()
        elif not self._asked:
            self._asked = True
            self._serve_soon()

    def serve(self) -> None:
        """Give those at the head of the line what they need, as far as there is enough."""
        self._asked = False
        while self._line and self._line[0].needed <= self._appender.available:
            ticket = self._line.popleft()
            self._appender.available -= ticket.needed
            ticket.granted = ticket.needed
            ticket.wake()
        self._appender.contended = bool(self._line)
