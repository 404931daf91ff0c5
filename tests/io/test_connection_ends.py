"""How a connection ends: by the broker, a cancelled writer, this side or a bug; one outcome for each request."""

from __future__ import annotations

import logging
import math
import ssl
from random import Random

import anyio
import pytest
from scripted_peer import (
    METADATA,
    Outcomes,
    PeerConnector,
    assert_network_errors,
    connected,
    metadata,
    partition_of,
    produce,
)

from krafka._io.connection import Connection, ConnectionOptions
from krafka._state.pipeline import COALESCED_WRITE_BYTES
from krafka._wire.metadata import MetadataResponse
from krafka._wire.produce import (
    ProduceResponse,
)
from krafka.errors import (
    ConnectionFailedError,
    KafkaError,
    NetworkError,
    ProtocolError,
)

pytestmark = pytest.mark.anyio

# ---------------------------------------------------------------------- the broker goes away


async def test_the_broker_closes_with_requests_open(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = Outcomes()
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with connected() as (connection, peer):
            await connection.send(METADATA, on_response=outcomes.of("answered"))
            await connection.send(produce(), on_response=outcomes.of("open"))
            peer.respond(await peer.receive(), metadata())
            await outcomes.wait_for("answered")
            peer.end()
            await outcomes.wait_for("open")
            assert (
                str(connection.close_reason)
                == "broker 1 at kafka:9092 closed the connection with 1 request(s) open"
            )
            assert not connection.is_usable
    assert_network_errors(outcomes, open=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_the_broker_closes_while_idle(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with connected() as (connection, peer):
            peer.end()
            await peer.closed_by_client()
            assert not connection.is_usable
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_a_listener_that_wants_authentication_is_named_as_a_likely_reason() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        peer.end()
        await outcomes.wait_for("a")
    assert "SASL" in str(outcomes.only("a"))


async def test_half_a_response_then_the_end() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        peer.send(peer.frame(await peer.receive(), metadata())[:11])
        peer.end()
        await outcomes.wait_for("a")
        assert "in the middle of a response, after 11 bytes" in str(connection.close_reason)
    assert_network_errors(outcomes, a=True)


async def test_a_reset_while_reading() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        peer.reset()
        await outcomes.wait_for("a")
        assert "Connection reset by peer" in str(connection.close_reason)
    assert_network_errors(outcomes, a=True)


async def test_a_reset_while_writing() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(10)
        async with anyio.create_task_group() as task_group:

            async def send(name: str) -> None:
                await connection.send(produce(), on_response=outcomes.of(name))

            task_group.start_soon(send, "begun")
            await peer.stalled()
            await send("queued")
            peer.reset()
        await outcomes.wait_for("begun", "queued")
    assert_network_errors(outcomes, begun=True, queued=False)
    assert "was not sent" in str(outcomes.only("queued"))


async def test_what_tls_says_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(item: bytes) -> None:
        error = ssl.SSLError(1, "tlsv13 alert certificate required")
        error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        raise error

    outcomes = Outcomes()
    async with connected() as (connection, peer):
        monkeypatch.setattr(peer.stream, "send", refuse)
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await outcomes.wait_for("a")
        assert "broke in writing to it: TLS: the broker requires a client certificate" in str(
            connection.close_reason
        )
    assert_network_errors(outcomes, a=True)


# ---------------------------------------------------------------------- cancelled callers


async def test_a_caller_who_gives_up_cuts_no_frame_short() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(10)
        async with anyio.create_task_group() as task_group:

            async def send(index: int) -> None:
                await connection.send(produce(index=index), on_response=outcomes.of(str(index)))

            task_group.start_soon(send, 1)
            await peer.stalled()
            task_group.start_soon(send, 2)
            task_group.cancel_scope.cancel()
        peer.stall_after(math.inf)
        assert partition_of(await peer.receive()) == 1
        assert connection.is_usable
    assert_network_errors(outcomes, **{"1": True})


async def test_what_is_queued_behind_a_stalled_frame_goes_out_in_order() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(0)
        written: list[object] = []

        def confirm(outcome: object, now: float) -> None:
            written.append(outcome)

        await connection.send(produce(acks=0), on_response=confirm, expect_response=False)
        for index in (1, 2):
            await connection.send(
                produce(COALESCED_WRITE_BYTES, index=index), on_response=outcomes.of(str(index))
            )
        assert not written
        peer.stall_after(math.inf)
        assert [partition_of(await peer.receive()) for _ in range(3)] == [0, 1, 2]
        assert written == [None]
        assert connection.is_usable
    assert_network_errors(outcomes, **{"1": True, "2": True})


# ---------------------------------------------------------------------- endings from this side


async def test_close_fails_what_is_open_and_ends_run() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        connection.close("the test is over")
        connection.close("again")
        assert not connection.is_usable
        await outcomes.wait_for("a")
        await peer.closed_by_client()
        assert str(connection.close_reason).endswith("was closed: the test is over")
        await connection.send(METADATA, on_response=outcomes.of("late"))
        assert outcomes.order == ["a", "late"]
        with pytest.raises(NetworkError, match=r"not sent: .* the test is over") as caught:
            await connection.request(METADATA)
        assert not caught.value.possibly_written
    assert_network_errors(outcomes, a=True, late=False)


async def test_close_ends_a_stalled_write() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer), anyio.create_task_group() as task_group:
        peer.stall_after(5)

        async def send() -> None:
            await connection.send(produce(), on_response=outcomes.of("a"))

        task_group.start_soon(send)
        await peer.stalled()
        connection.close()
    assert_network_errors(outcomes, a=True)


async def test_cancelling_run_closes_the_stream_and_fails_what_is_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes = Outcomes()
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    peers = []
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with anyio.create_task_group() as task_group:

            async def accept() -> None:
                peers.append(await connector.accept())
                await peers[0].answer_versions()

            task_group.start_soon(accept)
            await task_group.start(connection.run)
            await connection.send(METADATA, on_response=outcomes.of("a"))
            task_group.cancel_scope.cancel()
    assert peers[0].stream.closed
    assert_network_errors(outcomes, a=True)
    assert not caplog.records


async def test_a_writer_does_not_take_the_end_of_run_for_the_brokers_doing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes = Outcomes()
    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    peers = []
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with anyio.create_task_group() as writers, anyio.create_task_group() as task_group:

            async def accept() -> None:
                peers.append(await connector.accept())
                await peers[0].answer_versions()

            async def send() -> None:
                await connection.send(produce(), on_response=outcomes.of("a"))

            task_group.start_soon(accept)
            await task_group.start(connection.run)
            peers[0].stall_after(5)
            writers.start_soon(send)
            await peers[0].stalled()
            task_group.cancel_scope.cancel()
    assert "its task ended" in str(connection.close_reason)
    assert_network_errors(outcomes, a=True)
    assert not caplog.records


async def test_a_bug_in_on_response_comes_out_of_run_after_all_outcomes() -> None:
    class BugError(Exception):
        pass

    def buggy(outcome: object, now: float) -> None:
        outcomes.of("buggy")(outcome, now)
        raise BugError

    outcomes = Outcomes()
    with pytest.raises(ExceptionGroup) as caught:
        async with connected() as (connection, peer):
            await connection.send(METADATA, on_response=buggy)
            await connection.send(METADATA, on_response=outcomes.of("other"))
            peer.respond(await peer.receive(), metadata())
            await outcomes.wait_for("buggy", "other")
    assert [type(error) for error in caught.value.exceptions] == [BugError]
    assert isinstance(outcomes.only("buggy"), MetadataResponse)
    assert_network_errors(outcomes, other=True)


@pytest.mark.parametrize("error", [OSError("mine"), ProtocolError("mine"), anyio.EndOfStream()])
async def test_a_bug_is_not_taken_for_a_network_fault(error: Exception) -> None:
    def buggy(outcome: object, now: float) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with connected() as (connection, peer):
            await connection.send(METADATA, on_response=buggy)
            peer.respond(await peer.receive(), metadata())
            await peer.closed_by_client()
    assert caught.value.exceptions == (error,)


async def test_a_bug_while_failing_does_not_keep_others_from_their_outcome() -> None:
    def buggy(outcome: object, now: float) -> None:
        raise ValueError("mine")

    outcomes = Outcomes()
    with pytest.raises(ExceptionGroup) as caught:
        async with connected() as (connection, peer):
            await connection.send(METADATA, on_response=buggy)
            await connection.send(METADATA, on_response=outcomes.of("other"))
            await peer.receive()
            await peer.receive()
    assert [str(error) for error in caught.value.exceptions] == ["mine"]
    assert_network_errors(outcomes, other=True)


async def test_not_open_yet() -> None:
    connection = Connection(("kafka", 9092), PeerConnector(), ConnectionOptions())
    outcomes = Outcomes()
    assert not connection.is_usable
    await connection.send(METADATA, on_response=outcomes.of("early"))
    assert "not open yet" in str(outcomes.only("early"))
    assert_network_errors(outcomes, early=False)


def test_a_connection_is_made_and_closed_without_an_event_loop() -> None:
    connection = Connection(("::1", 9092), PeerConnector(), ConnectionOptions(), lambda: 0.0, node_id=3)
    assert connection.peer == "broker 3 at [::1]:9092"
    connection.close("not needed")
    assert str(connection.close_reason) == "the connection to broker 3 at [::1]:9092 was closed: not needed"


async def test_close_before_and_during_connecting() -> None:
    connection = Connection(("kafka", 9092), PeerConnector(), ConnectionOptions())
    connection.close("changed my mind")
    with pytest.raises(ConnectionFailedError, match="given up") as caught:
        await connection.run()
    assert "changed my mind" in str(caught.value.__cause__)

    connector = PeerConnector()
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    failure: list[KafkaError] = []

    async def run() -> None:
        try:
            await connection.run()
        except ConnectionFailedError as error:
            failure.append(error)

    async with anyio.create_task_group() as task_group:
        task_group.start_soon(run)
        peer = await connector.accept()
        await peer.receive()
        connection.close()
    assert peer.stream.closed
    assert "given up" in str(failure[0])


async def test_a_connection_runs_once() -> None:
    async with connected() as (connection, _):
        with pytest.raises(RuntimeError, match="runs once"):
            await connection.run()
        assert connection.is_usable


async def test_a_failed_connect_is_raised_from_start() -> None:
    connector = PeerConnector()
    connector.refuse = ConnectionFailedError("refused")
    connection = Connection(("kafka", 9092), connector, ConnectionOptions())
    async with anyio.create_task_group() as task_group:
        with pytest.raises(ConnectionFailedError, match="refused"):
            await task_group.start(connection.run)
    assert connection.close_reason is connector.refuse
    assert connector.connects == [("kafka", 9092)]


@pytest.mark.parametrize("seed", range(10))
async def test_every_request_has_one_outcome_whatever_happens(seed: int) -> None:
    """Senders of both kinds, some cancelled, against a peer that stalls, trickles and ends at random."""
    random = Random(seed)
    outcomes = Outcomes()
    entered: set[str] = set()
    returned: set[str] = set()
    read_by_peer: list[int] = []
    async with connected(request_timeout=0.2) as (connection, peer):
        peer.stream.chunk_size = random.choice([1, 5, 65536])
        peer.stall_after(random.choice([0, 100, 1000, 5000, math.inf]))

        async def send_some(sender: int) -> None:
            with anyio.CancelScope() as scope:
                for number in range(random.randint(1, 5)):
                    index = sender * 10 + number
                    silent = random.random() < 0.3
                    if random.random() < 0.1:
                        scope.cancel()
                    request = produce(random.randint(0, 400), acks=0 if silent else -1, index=index)
                    entered.add(str(index))
                    await connection.send(
                        request, on_response=outcomes.of(str(index)), expect_response=not silent
                    )
                    returned.add(str(index))

        async def answer() -> None:
            for _ in range(random.randint(0, 30)):
                request = await peer.receive()
                read_by_peer.append(partition_of(request))
                if request.body.acks:
                    peer.respond(request, ProduceResponse())
            random.choice([peer.end, peer.reset, connection.close, lambda: peer.stall_after(math.inf)])()

        with anyio.move_on_after(60) as watchdog:
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(answer)
                async with anyio.create_task_group() as senders:
                    for sender in range(6):
                        senders.start_soon(send_some, sender)
                await anyio.wait_all_tasks_blocked()
                task_group.cancel_scope.cancel()
        assert not watchdog.cancelled_caught
    assert returned <= set(outcomes.by_name) <= entered
    assert all(len(calls) == 1 for calls in outcomes.by_name.values())
    # A request without an outcome is one whose sender was cancelled before it was queued: nobody got it.
    assert {str(index) for index in read_by_peer} <= set(outcomes.by_name)
    for index in read_by_peer:
        outcome = outcomes.only(str(index))
        assert not isinstance(outcome, KafkaError) or outcome.possibly_written
    for sender in range(6):
        seen = [index for index in read_by_peer if index // 10 == sender]
        assert seen == sorted(seen)
