"""The writing half of a connection: what its stream takes at once goes out at once, a task sees to the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from krafka._io.tcp import TcpStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import ByteStream

    from krafka._state.pipeline import RequestPipeline
    from krafka._wire.schema import Buffer

STREAM_ERRORS = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.BusyResourceError, OSError)
"""What a stream raises when its connection is at an end, or not usable."""


class RequestWriter:
    """Writes what a pipeline has queued, in its order.

    `wrote` is told how many requests and bytes the stream has taken, chunk by chunk; `broke` of the error after which
    nothing more can be written. Only whoever ends the connection cancels `run`, so that no frame is cut short by a
    caller who gives up.
    """

    def __init__(
        self,
        stream: ByteStream,
        pipeline: RequestPipeline,
        *,
        wrote: Callable[[int, int], object],
        broke: Callable[[Exception], object],
    ) -> None:
        self._stream = stream
        self._tcp = stream if isinstance(stream, TcpStream) else None
        self._pipeline = pipeline
        self._wrote = wrote
        self._broke = broke
        self._busy = False
        self._rest: list[Buffer] = []
        self._rest_size = self._rest_requests = 0
        self._has_rest = anyio.Event()

    def push(self) -> None:
        """Write what is queued, as far as the stream takes it without waiting. Never waits, and may call itself."""
        if self._busy:
            return
        self._busy = True
        while self._pipeline.has_queued:
            parts, size, requests = self._pipeline.take_chunk()
            if self._tcp is not None:
                try:
                    parts = self._tcp.send_now(parts, size)
                except STREAM_ERRORS as error:
                    self._broke(error)
                    return
            if parts:
                self._rest, self._rest_size, self._rest_requests = parts, size, requests
                self._has_rest.set()
                return
            self._wrote(requests, size)
        self._busy = False

    async def run(self) -> None:
        """Write what the stream did not take at once; never returns unless it breaks."""
        while True:
            await self._has_rest.wait()
            self._has_rest = anyio.Event()
            parts, self._rest = self._rest, []
            try:
                if self._tcp is not None:
                    await self._tcp.send_parts(parts)
                else:
                    await self._stream.send(b"".join(parts))
            except STREAM_ERRORS as error:
                self._broke(error)
                return
            self._wrote(self._rest_requests, self._rest_size)
            self._busy = False
            self.push()
