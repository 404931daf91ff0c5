"""Two byte streams back to back in memory, with the room and the endings of a TCP connection."""

from __future__ import annotations

from collections import deque

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

DEFAULT_CAPACITY = 1 << 20


class Pipe:
    """One direction: bytes that were sent and not yet received, `capacity` of them at most."""

    __slots__ = ("_awaited", "capacity", "chunks", "ended", "gone", "reset", "size")

    def __init__(self, capacity: int) -> None:
        self.capacity: int = capacity
        self.chunks: deque[memoryview] = deque()
        self.size: int = 0
        self.ended: bool = False
        self.reset: bool = False
        self.gone: bool = False
        self._awaited: anyio.Event | None = None

    def notify(self) -> None:
        if self._awaited is not None:
            self._awaited.set()
            self._awaited = None

    async def wait(self) -> None:
        if self._awaited is None:
            self._awaited = anyio.Event()
        await self._awaited.wait()


class MemoryStream(ByteStream):
    """One end of a connection in memory; `pair` makes both.

    What was sent before the other end closed can still be received; after `abort` by the other end receiving
    raises `BrokenResourceError`, as a reset connection does.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """As `anyio.abc.ByteReceiveStream.receive`."""
        await checkpoint()
        pipe = self._incoming
        while True:
            if self._closed:
                raise anyio.ClosedResourceError
            if pipe.reset:
                raise anyio.BrokenResourceError
            if pipe.chunks:
                return self._take(pipe, max_bytes)
            if pipe.ended:
                raise anyio.EndOfStream
            await pipe.wait()

    @staticmethod
    def _take(pipe: Pipe, max_bytes: int) -> bytes:
        chunk = pipe.chunks.popleft()
        if len(chunk) > max_bytes:
            pipe.chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        pipe.size -= len(chunk)
        pipe.notify()
        return bytes(chunk)

    def unread(self) -> bytes:
        """What the other end sent and this one has not received yet."""
        return b"".join(self._incoming.chunks)

    async def send(self, item: bytes) -> None:
        """As `anyio.abc.ByteSendStream.send`; waits while the other end has not taken what was sent before."""
        await checkpoint()
        pipe = self._outgoing
        rest = memoryview(bytes(item))
        while True:
            if self._closed or pipe.ended:
                raise anyio.ClosedResourceError
            if pipe.gone:
                raise anyio.BrokenResourceError
            if room := min(pipe.capacity - pipe.size, len(rest)):
                pipe.chunks.append(rest[:room])
                pipe.size += room
                rest = rest[room:]
                pipe.notify()
            if not rest:
                return
            await pipe.wait()

    async def send_eof(self) -> None:
        """As `anyio.abc.ByteStream.send_eof`."""
        self._outgoing.ended = True
        self._outgoing.notify()
        await checkpoint()

    def abort(self) -> None:
        """Reset the connection: the other end loses what it has not received yet."""
        self._outgoing.reset = True
        self.close()

    def close(self) -> None:
        """End the connection now; the other end still receives what was sent before."""
        self._closed = True
        self._outgoing.ended = True
        self._incoming.gone = True
        self._outgoing.notify()
        self._incoming.notify()

    async def aclose(self) -> None:
        """As `anyio.abc.AsyncResource.aclose`."""
        self.close()
        await checkpoint()


def pair(capacity: int = DEFAULT_CAPACITY) -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a new connection; each direction holds up to `capacity` bytes that nobody received yet."""
    there, back = Pipe(capacity), Pipe(capacity)
    return MemoryStream(back, there), MemoryStream(there, back)
