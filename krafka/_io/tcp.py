"""TCP streams on sockets of our own: what is written goes out in parts, without being joined first."""

from __future__ import annotations

import socket
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
from anyio.lowlevel import checkpoint_if_cancelled, current_token

from krafka._io.arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from krafka._wire.schema import Buffer

READ_SIZE = 64 * 1024
MOST_PARTS = 512
"""Half of what Linux takes in one call (IOV_MAX)."""


class TcpStream(anyio.abc.ByteStream):
    """A connected socket as anyio's streams are, which can also be given a list of buffers to send.

    anyio's own stream joins what it sends, waits a turn of the event loop after each send, and under asyncio copies
    what it receives once more. One task may receive while another sends.
    """

    def __init__(self, connected: socket.socket) -> None:
        """Take a connected, non-blocking socket."""
        self._socket = connected
        self._closed = False
        # Kept: to ask for as much memory and to give most of it back costs more than to copy a usual answer.
        self._received = memoryview(bytearray(READ_SIZE))
        self._arrivals: Arrivals | None = None
        # As anyio.wait_readable, without finding out each time which event loop this is.
        self._wait_readable = current_token().backend_class.wait_readable

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket, and the addresses and ports of its two ends."""
        attribute = anyio.abc.SocketAttribute
        return {
            attribute.raw_socket: lambda: self._socket,
            attribute.family: lambda: self._socket.family,
            attribute.local_address: self._socket.getsockname,
            attribute.local_port: lambda: self._socket.getsockname()[1],
            attribute.remote_address: self._socket.getpeername,
            attribute.remote_port: lambda: self._socket.getpeername()[1],
        }

    @property
    def raw_socket(self) -> socket.socket:
        """The socket, for those who wait for it by themselves."""
        return self._socket

    async def receive(self, max_bytes: int = READ_SIZE) -> bytes:
        """Return what has arrived, as soon as anything has."""
        while True:
            if self._closed:
                raise anyio.ClosedResourceError
            try:
                await self._wait_readable(self._socket)
            except OSError as error:
                raise self._error() from error
            if received := self.receive_now(max_bytes):
                return received

    def receive_now(self, max_bytes: int = READ_SIZE) -> bytes:
        """Return what has arrived; nothing if nothing has."""
        try:
            size = self._socket.recv_into(self._received, min(max_bytes, READ_SIZE))
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise self._error() from error
        if size == 0:
            raise anyio.EndOfStream
        return bytes(self._received[:size])

    async def pump(self, take: Callable[[bytes], object]) -> None:
        """Give what arrives to `take`, which runs in no task, until `receive` would raise, or `take` does; raise that.

        Returns only where the event loop cannot do that: then there is `receive`.
        """
        self._arrivals = Arrivals(self._socket, self._received, take)
        try:
            await self._arrivals.run()
        except NotImplementedError:
            return
        finally:
            self._arrivals = None

    async def send(self, item: Buffer) -> None:
        """Return when the system has taken all of it."""
        await self.send_parts([item])

    async def send_parts(self, parts: list[Buffer]) -> None:
        """Send buffers one after the other; return when the system has taken all of them."""
        await checkpoint_if_cancelled()
        while parts := self.send_now(parts):
            try:
                await anyio.wait_writable(self._socket)
            except anyio.ClosedResourceError:
                # On trio also who reads for others is called back from the socket so, and all with it.
                if self._closed:
                    raise
            except OSError as error:
                raise self._error() from error

    def send_now(self, parts: list[Buffer], size: int = -1) -> list[Buffer]:
        """Send what the system takes of these buffers, of `size` bytes in all, without waiting; return what is left."""
        try:
            sent = self._send_some(parts)
            return [] if sent == size else _after(parts, sent)
        except (BlockingIOError, InterruptedError):
            return parts
        except OSError as error:
            raise self._error() from error

    if hasattr(socket.socket, "sendmsg"):

        def _send_some(self, parts: list[Buffer]) -> int:
            return self._socket.sendmsg(parts if len(parts) <= MOST_PARTS else parts[:MOST_PARTS])

    else:  # pragma: no cover - Windows

        def _send_some(self, parts: list[Buffer]) -> int:
            return self._socket.send(parts[0])

    def _error(self) -> Exception:
        return anyio.ClosedResourceError() if self._closed else anyio.BrokenResourceError()

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will come."""
        await checkpoint_if_cancelled()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._error() from error

    async def aclose(self) -> None:
        """Close the socket; whoever waits for it gets a ClosedResourceError."""
        if not self._closed:
            self._closed = True
            if self._arrivals is not None:
                self._arrivals.end(anyio.ClosedResourceError())
            anyio.notify_closing(self._socket)
            self._socket.close()
        await checkpoint_if_cancelled()


def _after(parts: list[Buffer], sent: int) -> list[Buffer]:
    """What is left of the parts after so many bytes."""
    for at, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:], *islice(parts, at + 1, None)] if sent else parts[at:]
        sent -= len(part)
    return []
