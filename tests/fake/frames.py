"""One request and its answer on a stream that a test opened itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from krafka._wire.frames import encode_request

if TYPE_CHECKING:
    from anyio.abc import ByteStream

SECONDS = 10.0


async def receive_exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    with anyio.fail_after(SECONDS):
        while len(data) < size:
            data += await stream.receive(size - len(data))
    return data


async def receive_frame(stream: ByteStream) -> bytes:
    """A frame without its size, which is believed."""
    return await receive_exactly(stream, int.from_bytes(await receive_exactly(stream, 4)))


async def exchange(stream: ByteStream, request: Any, version: int, correlation_id: int = 1) -> bytes:
    """Ask, and give the answering frame without its size."""
    await stream.send(b"".join(encode_request(request, version, correlation_id, "test")))
    return await receive_frame(stream)
