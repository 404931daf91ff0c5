"""Deadlines and idling of a connection."""

from __future__ import annotations

import logging

import anyio
import pytest
from scripted_peer import (
    METADATA,
    Outcomes,
    PeerConnector,
    autojump,
    connected,
    metadata,
    produce,
)

from krafka._io.connection import Connection, ConnectionOptions
from krafka._wire.metadata import MetadataResponse
from krafka.errors import (
    RequestTimedOutError,
)

pytestmark = pytest.mark.anyio

# ---------------------------------------------------------------------- deadlines


async def test_an_overdue_answer_closes_and_fails_all(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = Outcomes()
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with connected(request_timeout=0.4) as (connection, peer):
            await connection.send(produce(), on_response=outcomes.of("overdue"))
            await connection.send(METADATA, on_response=outcomes.of("behind"), timeout=60)
            await peer.closed_by_client()
            await outcomes.wait_for("overdue", "behind")
            assert isinstance(connection.close_reason, RequestTimedOutError)
    for name in ("overdue", "behind"):
        error = outcomes.only(name)
        assert type(error) is RequestTimedOutError
        assert error.code == 7
        assert error.possibly_written
        assert "broker 1 at kafka:9092 did not answer Produce v13 within 0.4 s" in str(error)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@autojump()
async def test_deadlines_hold_to_the_second() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await anyio.sleep(100)
        begun = anyio.current_time()
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await anyio.sleep(20)
        peer.respond(await peer.receive(), metadata())
        await anyio.sleep(5)
        await connection.send(METADATA, on_response=outcomes.of("b"))
        await peer.closed_by_client(within=100)
        assert anyio.current_time() - begun == pytest.approx(55)
    assert isinstance(outcomes.only("a"), MetadataResponse)
    assert isinstance(outcomes.only("b"), RequestTimedOutError)


@autojump()
async def test_an_earlier_deadline_is_not_slept_over() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        begun = anyio.current_time()
        await connection.send(METADATA, on_response=outcomes.of("patient"))
        await anyio.sleep(1)
        await connection.send(METADATA, on_response=outcomes.of("urgent"), timeout=2)
        await peer.closed_by_client(within=100)
        assert anyio.current_time() - begun == pytest.approx(3)
    assert "within 2 s" in str(outcomes.only("patient"))


@autojump()
async def test_a_trickle_of_bytes_does_not_extend_the_deadline() -> None:
    outcomes = Outcomes()
    async with connected(request_timeout=10) as (connection, peer):
        begun = anyio.current_time()
        await connection.send(METADATA, on_response=outcomes.of("a"))
        frame = peer.frame(await peer.receive(), metadata("x" * 100))
        for byte in frame:
            if peer.stream.closed:
                break
            peer.send(bytes([byte]))
            await anyio.sleep(1)
        assert anyio.current_time() - begun == pytest.approx(10, abs=1)
    assert isinstance(outcomes.only("a"), RequestTimedOutError)


@pytest.mark.parametrize("acks", [-1, 0])
async def test_a_stalled_write_is_bounded_by_the_deadline(acks: int) -> None:
    outcomes = Outcomes()
    async with connected(request_timeout=0.4) as (connection, peer):
        peer.stall_after(50)

        async def send(name: str) -> None:
            await connection.send(
                produce(acks=acks), on_response=outcomes.of(name), expect_response=acks != 0
            )

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(send, "begun")
            await peer.stalled()
            await send("queued")
            await outcomes.wait_for("begun", "queued")
    begun, queued = outcomes.only("begun"), outcomes.only("queued")
    assert type(begun) is type(queued) is RequestTimedOutError
    assert (begun.possibly_written, queued.possibly_written) == (True, False)


async def test_a_stalled_write_that_expects_no_response_is_bounded_too() -> None:
    outcomes = Outcomes()
    async with connected(request_timeout=0.05) as (connection, peer):
        peer.stall_after(50)
        await connection.send(produce(acks=0), on_response=outcomes.of("a"), expect_response=False)
        await outcomes.wait_for("a")
        assert not connection.is_usable
    error = outcomes.only("a")
    assert type(error) is RequestTimedOutError
    assert error.possibly_written


@autojump()
async def test_a_request_of_the_usual_timeout_does_not_wake_the_watch() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await anyio.sleep(100)
        for name in ("after idling", "soon after"):
            await connection.send(METADATA, on_response=outcomes.of(name))
            assert not connection._rearm.is_set()
            peer.respond(await peer.receive(), metadata())
            await outcomes.wait_for(name)


# ---------------------------------------------------------------------- idling


@autojump()
async def test_an_idle_connection_closes_without_noise(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with connected(connections_max_idle=540) as (connection, peer):
            begun = anyio.current_time()
            outcomes = Outcomes()
            await anyio.sleep(500)
            assert connection.is_usable
            await connection.send(METADATA, on_response=outcomes.of("a"))
            peer.respond(await peer.receive(), metadata())
            await anyio.sleep(530)
            assert connection.is_usable
            with anyio.fail_after(60):
                await peer.stream.changed.wait()
            assert anyio.current_time() - begun == pytest.approx(1040)
            assert "connections_max_idle" in str(connection.close_reason)
    assert not caplog.records


async def test_a_jump_of_the_clock_counts_as_idling() -> None:
    jump = 0.0
    connector = PeerConnector()
    connection = Connection(
        ("kafka", 9092), connector, ConnectionOptions(), lambda: anyio.current_time() + jump
    )
    async with anyio.create_task_group() as task_group:

        async def accept() -> None:
            await (await connector.accept()).answer_versions()

        task_group.start_soon(accept)
        await task_group.start(connection.run)
        assert connection.is_usable
        jump = 541
        assert not connection.is_usable
        connection.close()


@autojump()
async def test_a_long_answer_is_not_idling() -> None:
    outcomes = Outcomes()
    async with connected(connections_max_idle=10) as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"), timeout=60)
        await anyio.sleep(50)
        assert connection.is_usable
        peer.respond(await peer.receive(), metadata())
        await outcomes.wait_for("a")
        assert connection.is_usable
        await anyio.sleep(9)
        assert connection.is_usable
    assert isinstance(outcomes.only("a"), MetadataResponse)
