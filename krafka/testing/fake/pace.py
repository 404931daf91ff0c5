"""How fast a broker reads what its clients send."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL_CHUNK = 65536


class Pace:
    """A broker's way of reading: at once, in small pieces, or not at all.

    A change counts from now on, for connections that are open and for those to come: `after` more bytes of each are
    read at the usual pace.
    """

    def __init__(self) -> None:
        self.changed: anyio.Event = anyio.Event()
        self._chunk_size: int | None = None
        self._delay = 0.0
        self._is_stopped = False
        self._after = 0
        self._taken: dict[int, int] = {}
        self._reading: dict[anyio.CancelScope, None] = {}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A read that ends, without bytes, when the pace changes."""
        with anyio.CancelScope() as scope:
            self._reading[scope] = None
            try:
                yield
            finally:
                del self._reading[scope]

    @property
    def _is_usual(self) -> bool:
        return self._chunk_size is None and not self._is_stopped

    def slow_down(self, chunk_size: int, delay: float, after: int) -> None:
        """Read so many bytes at most at a time, so many seconds apart."""
        if chunk_size < 1:
            raise ValueError(f"chunk_size is at least 1 byte, got {chunk_size}")
        self._change(chunk_size=chunk_size, delay=delay, stopped=False, after=after)

    def stop(self, after: int) -> None:
        """Read nothing."""
        self._change(chunk_size=None, delay=0.0, stopped=True, after=after)

    def restore(self) -> None:
        """Read at once, as usual."""
        self._change(chunk_size=None, delay=0.0, stopped=False, after=0)

    def _change(self, *, chunk_size: int | None, delay: float, stopped: bool, after: int) -> None:
        self._chunk_size, self._delay, self._is_stopped, self._after = chunk_size, delay, stopped, after
        self._taken.clear()
        for scope in self._reading:
            scope.cancel()
        self.changed.set()
        self.changed = anyio.Event()

    def next_read(self, connection: int) -> tuple[int, float]:
        """How many bytes to read from a connection at most, and after how many seconds; 0 bytes for not now."""
        if self._is_usual:
            return USUAL_CHUNK, 0.0
        if left := self._after - self._taken.get(connection, 0):
            return min(left, USUAL_CHUNK), 0.0
        return (0, 0.0) if self._chunk_size is None else (self._chunk_size, self._delay)

    def took(self, connection: int, size: int) -> None:
        """So many bytes were read from a connection."""
        if not self._is_usual:
            self._taken[connection] = min(self._taken.get(connection, 0) + size, self._after)
