"""What arrives at a socket, handed over in a callback of the event loop where that has such: no task is woken."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import anyio
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextvars import Context


class CallingLoop(Protocol):
    """An event loop that calls back when a socket is readable: asyncio's, and those that stand in for it."""

    def add_reader(self, fd: Any, callback: Callable[[], object]) -> object: ...
    def remove_reader(self, fd: Any) -> object: ...


class Arrivals:
    """Reads a socket whenever something arrives, and gives it to `take` there and then.

    A task that waits for its socket costs a future, two turns of the event loop and two system calls for each answer;
    this stays registered. `buffer` is where it reads to. `run` ends by the error that `receive` of a stream has, or by
    what `take` raises.
    """

    def __init__(
        self,
        connected: socket.socket,
        buffer: memoryview,
        take: Callable[[bytes], object],
    ) -> None:
        self._socket = connected
        self._receive_into = connected.recv_into
        self._buffer = buffer
        self._take = take
        self._loop: CallingLoop | None = None
        self._error: BaseException | None = None
        self._ended = anyio.Event()

    async def run(self) -> NoReturn:
        """Read until the end. Raises NotImplementedError, with nothing read, on an event loop that calls nobody."""
        loop: Any = current_token().native_token
        if not hasattr(loop, "add_reader"):
            raise NotImplementedError
        callback_context().run(loop.add_reader, self._socket, self._read)
        self._loop = loop
        try:
            await self._ended.wait()
        finally:
            self._unregister()
        assert self._error is not None  # noqa: S101 - for the type checker; it was set with the event
        raise self._error

    def end(self, error: BaseException) -> None:
        """Read no more; `run` raises this error, unless there was another before."""
        self._unregister()
        if self._error is None:
            self._error = error
            self._ended.set()

    def _read(self) -> None:
        try:
            size = self._receive_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            broken = anyio.BrokenResourceError()
            broken.__cause__ = error
            self.end(broken)
            return
        if size == 0:
            self.end(anyio.EndOfStream())
            return
        try:
            self._take(bytes(self._buffer[:size]))
        except BaseException as error:
            self.end(error)

    def _unregister(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._socket)


def callback_context() -> Context:
    """A context in which anyio knows its event loop: sniffio, if it asks that, knows asyncio by its task alone."""
    context = copy_context()
    try:
        from sniffio import current_async_library_cvar  # noqa: PLC0415 - anyio may have done without
    except ImportError:
        return context
    context.run(current_async_library_cvar.set, "asyncio")
    return context
