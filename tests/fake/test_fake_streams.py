"""The streams in memory behave as TCP connections do, in their room and in their endings."""

from __future__ import annotations

import anyio
import pytest

from krafka.testing.fake.streams import pair

pytestmark = pytest.mark.anyio


async def test_bytes_arrive_in_order_and_in_pieces() -> None:
    client, server = pair()
    await client.send(b"hello ")
    await client.send(bytearray(b"world"))  # type: ignore[arg-type]  # a client may hand over any buffer
    assert server.unread() == b"hello world"
    assert await server.receive(4) == b"hell"
    assert await server.receive() == b"o "
    assert await server.receive() == b"world"
    await server.send(b"back")
    assert await client.receive() == b"back"


async def test_a_sender_waits_for_room() -> None:
    client, server = pair(capacity=10)
    done = anyio.Event()

    async def send() -> None:
        await client.send(b"0123456789abcdef")
        done.set()

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert server.unread() == b"0123456789"
        assert not done.is_set()
        assert await server.receive(6) == b"012345"
        await done.wait()
        assert server.unread() == b"6789abcdef"


async def test_what_was_sent_before_the_end_still_arrives() -> None:
    client, server = pair()
    await server.send(b"last words")
    await server.aclose()
    assert await client.receive() == b"last words"
    with pytest.raises(anyio.EndOfStream):
        await client.receive()
    with pytest.raises(anyio.BrokenResourceError):
        await client.send(b"anybody there?")
    with pytest.raises(anyio.ClosedResourceError):
        await server.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await server.send(b"x")


async def test_half_of_a_connection_can_end() -> None:
    client, server = pair()
    await client.send_eof()
    with pytest.raises(anyio.EndOfStream):
        await server.receive()
    await server.send(b"still here")
    assert await client.receive() == b"still here"


async def test_a_reset_loses_what_was_not_received() -> None:
    client, server = pair()
    await server.send(b"lost")
    server.abort()
    with pytest.raises(anyio.BrokenResourceError):
        await client.receive()


async def test_the_end_wakes_who_waits() -> None:
    client, server = pair(capacity=1)
    ends: list[str] = []

    async def receive() -> None:
        with pytest.raises(anyio.EndOfStream):
            await client.receive()
        ends.append("receive")

    async def send() -> None:
        with pytest.raises(anyio.BrokenResourceError):
            await client.send(b"xy")
        ends.append("send")

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(receive)
        task_group.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        await server.aclose()
    assert sorted(ends) == ["receive", "send"]
