"""One request for what several tasks ask for at the same time, and its result for all that ask later."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import anyio

from krafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable


class _Flight:
    """A request under way, and how it ended: with `result`, with `error`, or cancelled, with neither."""

    __slots__ = ("error", "landed", "result")

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.result: Any = None
        self.error: Exception | None = None


class SharedResults:
    """Results by key. The first to ask fetches in its own task; the others wait, and have its result or its error.

    Errors are never kept. A fetch that is cancelled ends for its caller alone: one of those who wait begins
    again. None is no result.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._flights: dict[Hashable, _Flight] = {}

    async def get(self, key: Hashable, fetch: Callable[[], Awaitable[Any]], *, keep: bool = True) -> Any:
        """The key's result, kept for later unless `keep` is False; raises what `fetch` raises."""
        while key not in self._kept:
            flight = self._flights.get(key)
            if flight is None:
                return await self._fetch(key, fetch, keep)
            await flight.landed.wait()
            if flight.error is not None:
                raise _own(flight.error)
            if flight.result is not None:
                return flight.result
        return self._kept[key]

    async def _fetch(self, key: Hashable, fetch: Callable[[], Awaitable[Any]], keep: bool) -> Any:
        flight = self._flights[key] = _Flight()
        try:
            flight.result = await fetch()
        except Exception as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.landed.set()
        if keep:
            self._kept[key] = flight.result
        return flight.result


def _own(error: Exception) -> Exception:
    """The error for one more task: tracebacks grow with every raise, but not every error can be copied."""
    if not isinstance(error, KafkaError):
        return error
    own = copy.copy(error)
    own.__cause__ = error
    return own
