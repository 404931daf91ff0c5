"""A connection's requests: order, matching, deadlines, endings, and one outcome for each in every case."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from scripted_peer import Outcomes, PeerConnector, ReceivedRequest, connected
from trio.testing import MockClock

from krafka._io.connection import Connection, ConnectionOptions
from krafka._state.pipeline import COALESCED_WRITE_BYTES, LARGEST_CORRELATION_ID, RequestPipeline
from krafka._wire.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from krafka._wire.metadata import MetadataRequest, MetadataResponse, MetadataResponseBroker
from krafka._wire.produce import (
    ProduceRequest,
    ProduceRequestPartitionData,
    ProduceRequestTopicData,
    ProduceResponse,
)
from krafka.errors import (
    ConnectionFailedError,
    KafkaError,
    NetworkError,
    ProtocolError,
    RequestTimedOutError,
    UnsupportedVersionError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

METADATA = MetadataRequest(topics=[])


def metadata(cluster_id: str = "answer", throttle_time_ms: int = 0) -> MetadataResponse:
    return MetadataResponse(
        cluster_id=cluster_id,
        throttle_time_ms=throttle_time_ms,
        brokers=[MetadataResponseBroker(node_id=1, host="kafka", port=9092)],
    )


def produce(size: int = 100, *, acks: int = -1, index: int = 0) -> ProduceRequest:
    partition = ProduceRequestPartitionData(index=index, records=b"r" * size)
    topic = ProduceRequestTopicData(name="orders", partition_data=[partition])
    return ProduceRequest(acks=acks, timeout_ms=30_000, topic_data=[topic])


def partition_of(request: ReceivedRequest) -> int:
    return request.body.topic_data[0].partition_data[0].index


def autojump() -> pytest.MarkDecorator:
    """Trio with a clock that jumps over every wait; each test needs a clock of its own."""
    return pytest.mark.parametrize(
        "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="mock-clock")]
    )


def assert_network_errors(outcomes: Outcomes, **possibly_written: bool) -> None:
    for name, written in possibly_written.items():
        error = outcomes.only(name)
        assert type(error) is NetworkError
        assert error.code == 13
        assert error.possibly_written is written


# ---------------------------------------------------------------------- requests and their responses


async def test_a_request_and_its_response() -> None:
    async with connected(client_id="billing") as (connection, peer):
        async with anyio.create_task_group() as task_group:

            async def answer() -> None:
                request = await peer.receive()
                assert request.client_id == "billing"
                assert request.version == 13
                peer.respond(request, metadata("the one"))

            task_group.start_soon(answer)
            response = await connection.request(METADATA)
        assert response.cluster_id == "the one"
        assert connection.in_flight == 0
        assert connection.is_usable


async def test_requests_are_pipelined_and_answered_in_order() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        for name in ("a", "b", "c"):
            await connection.send(METADATA, on_response=outcomes.of(name))
        assert connection.in_flight == 3
        requests = [await peer.receive() for _ in range(3)]
        assert len({request.correlation_id for request in requests}) == 3
        for number, request in enumerate(requests):
            peer.respond(request, metadata(str(number)))
        await outcomes.wait_for("a", "b", "c")
    assert outcomes.order == ["a", "b", "c"]
    assert [outcomes.only(name).cluster_id for name in "abc"] == ["0", "1", "2"]


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 1000])
async def test_any_chunking_of_the_responses(chunk_size: int) -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stream.chunk_size = chunk_size
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await connection.send(InitProducerIdRequest(transactional_id=None), on_response=outcomes.of("b"))
        first, second = await peer.receive(), await peer.receive()
        peer.send(
            peer.frame(first, metadata("first")) + peer.frame(second, InitProducerIdResponse(producer_id=77))
        )
        await outcomes.wait_for("a", "b")
    assert outcomes.only("a").cluster_id == "first"
    assert outcomes.only("b").producer_id == 77


async def test_concurrent_senders_keep_the_order_of_their_calls() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(0)
        called: list[int] = []

        async def send(index: int) -> None:
            called.append(index)
            await connection.send(produce(index=index), on_response=outcomes.of(str(index)))

        async with anyio.create_task_group() as task_group:
            for index in range(20):
                task_group.start_soon(send, index)
            await anyio.wait_all_tasks_blocked()
            sends_before = peer.stream.sends
            peer.stall_after(math.inf)
        received = [partition_of(await peer.receive()) for _ in range(20)]
        # The first write was under way; all that queued behind it went out in one more.
        assert peer.stream.sends == sends_before + 1
    assert received == called
    assert sorted(called) == list(range(20))
    assert_network_errors(outcomes, **{str(index): True for index in range(20)})


async def test_counters() -> None:
    async with connected() as (connection, peer):
        assert connection.requests_sent == 1
        sent, received = connection.bytes_sent, connection.bytes_received
        assert sent > 0
        outcomes = Outcomes()
        await connection.send(produce(1000), on_response=outcomes.of("a"))
        frame = peer.frame(await peer.receive(), ProduceResponse())
        peer.send(frame)
        await outcomes.wait_for("a")
        assert connection.requests_sent == 2
        assert sent + 1000 < connection.bytes_sent < sent + 1200
        assert connection.bytes_received == received + len(frame)


async def test_without_a_response_the_outcome_comes_with_the_write() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(produce(acks=0), on_response=outcomes.of("silent"), expect_response=False)
        assert outcomes.only("silent") is None
        assert connection.in_flight == 0
        await connection.send(METADATA, on_response=outcomes.of("answered"))
        await peer.receive()
        peer.respond(await peer.receive(), metadata())
        await outcomes.wait_for("answered")
        assert isinstance(outcomes.only("answered"), MetadataResponse)


async def test_a_cancelled_request_leaves_the_connection_in_step() -> None:
    async with connected() as (connection, peer):
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(connection.request, METADATA)
            abandoned = await peer.receive()
            task_group.cancel_scope.cancel()
        assert connection.in_flight == 1
        outcomes = Outcomes()
        await connection.send(METADATA, on_response=outcomes.of("next"))
        peer.respond(abandoned, metadata("abandoned"))
        peer.respond(await peer.receive(), metadata("next"))
        await outcomes.wait_for("next")
        assert outcomes.only("next").cluster_id == "next"
        assert connection.is_usable


async def test_a_caller_cancelled_beforehand_sends_nothing() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await connection.send(METADATA, on_response=outcomes.of("never"))
        assert connection.in_flight == 0
        assert connection.is_usable
        assert not peer.stream.to_peer
    assert outcomes.order == []


def test_correlation_ids_wrap_to_zero() -> None:
    pipeline = RequestPipeline("krafka", "broker", next_correlation_id=LARGEST_CORRELATION_ID)
    for _ in range(2):
        pipeline.queue(METADATA, 1, print, expects_response=True, timeout=1, deadline=1)
    pipeline.take_chunk()
    written, queued = pipeline.drain()
    assert [pending.correlation_id for pending in written] == [2**31 - 1, 0]
    assert queued == []
    assert pipeline.in_flight == 0


def test_a_request_that_cannot_be_encoded_changes_nothing() -> None:
    pipeline = RequestPipeline("krafka", "broker")
    bad = ProduceRequest(acks=2**20)
    with pytest.raises((ValueError, OverflowError)):
        pipeline.queue(bad, 9, print, expects_response=True, timeout=1, deadline=1)
    assert pipeline.in_flight == 0
    pipeline.queue(METADATA, 1, print, expects_response=True, timeout=1, deadline=1)
    assert pipeline.earliest_deadline() is not None


# ---------------------------------------------------------------------- versions and throttling


async def test_versions_are_negotiated_and_their_absence_explained() -> None:
    offered = [(0, 3, 9), (3, 90, 95), (18, 0, 4), (22, 0, 99)]
    async with connected(versions=offered) as (connection, _):
        assert connection.api_version(ProduceRequest) == 9
        assert connection.api_version(InitProducerIdRequest) == 5
        with pytest.raises(
            UnsupportedVersionError, match=r"Metadata versions 0 to 13; broker 1 at kafka:9092 offers 90"
        ):
            connection.api_version(MetadataRequest)
        outcomes = Outcomes()
        with pytest.raises(UnsupportedVersionError, match="upgrade krafka"):
            await connection.send(METADATA, on_response=outcomes.of("never"))
        assert connection.is_usable
    assert outcomes.order == []


async def test_an_old_broker_is_told_from_a_missing_api() -> None:
    async with connected(versions=[(0, 0, 2), (18, 0, 4)]) as (connection, _):
        with pytest.raises(
            UnsupportedVersionError, match=r"offers 0 to 2; the broker is too old: Kafka 2\.1"
        ):
            connection.api_version(ProduceRequest)
        with pytest.raises(UnsupportedVersionError, match="does not offer this API"):
            connection.api_version(MetadataRequest)
        assert connection.versions is not None
        assert not connection.versions.supports(MetadataRequest)


@pytest.mark.parametrize(("highest", "waits"), [(5, False), (6, True)])
async def test_throttling_counts_from_the_version_that_leaves_it_to_clients(
    highest: int, waits: bool
) -> None:
    async with connected(versions=[(3, 0, highest), (18, 0, 4)]) as (connection, peer):
        outcomes = Outcomes()
        await connection.send(METADATA, on_response=outcomes.of("a"))
        before = anyio.current_time()
        peer.respond(await peer.receive(), metadata(throttle_time_ms=5000))
        await outcomes.wait_for("a")
        assert connection.is_usable
        assert (connection.throttled_until >= before + 5) is waits
        assert (connection.throttled_until == -math.inf) is not waits


# ---------------------------------------------------------------------- bytes that cannot be right


async def fails_with_protocol_error(damage: Callable[[Any, ReceivedRequest], None], words: str) -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        await connection.send(produce(), on_response=outcomes.of("b"))
        damage(peer, await peer.receive())
        await peer.closed_by_client()
        await outcomes.wait_for("a", "b")
        assert not connection.is_usable
        assert isinstance(connection.close_reason, ProtocolError)
        assert words in str(connection.close_reason)
    assert_network_errors(outcomes, a=True, b=True)
    assert isinstance(outcomes.only("a").__cause__, ProtocolError)


async def test_an_unexpected_correlation_id() -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        request.correlation_id = 4711
        peer.respond(request, metadata())

    await fails_with_protocol_error(damage, "4711")


async def test_a_body_that_does_not_decode() -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        frame = peer.frame(request, metadata())
        peer.send(frame[:8] + b"\xff" * (len(frame) - 8))

    await fails_with_protocol_error(damage, "Metadata")


async def test_bytes_left_over_after_a_body() -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        frame = peer.frame(request, metadata()) + b"rest"
        peer.send((len(frame) - 4).to_bytes(4, "big") + frame[4:])

    await fails_with_protocol_error(damage, "left over")


@pytest.mark.parametrize("size", [-1, 0, 3, 100 * 1024 * 1024 + 1, 2**31 - 1])
async def test_a_hostile_size(size: int) -> None:
    def damage(peer: Any, request: ReceivedRequest) -> None:
        peer.send(size.to_bytes(4, "big", signed=True))

    await fails_with_protocol_error(damage, f"{size} bytes")


async def test_a_response_nobody_asked_for() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        await connection.send(METADATA, on_response=outcomes.of("a"))
        request = await peer.receive()
        peer.send(2 * peer.frame(request, metadata()))
        await peer.closed_by_client()
        assert "while no request was open" in str(connection.close_reason)
    # The first of the two was right, and counts.
    assert isinstance(outcomes.only("a"), MetadataResponse)


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


# ---------------------------------------------------------------------- deadlines


async def test_an_overdue_answer_closes_and_fails_all(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = Outcomes()
    with caplog.at_level(logging.INFO, logger="krafka"):
        async with connected(request_timeout=0.05) as (connection, peer):
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
        assert "broker 1 at kafka:9092 did not answer Produce v13 within 0.05 s" in str(error)
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
    async with connected(request_timeout=0.1) as (connection, peer):
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


# ---------------------------------------------------------------------- cancelled writers


async def test_a_writer_cancelled_in_a_frame_closes_the_connection() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(10)
        async with anyio.create_task_group() as task_group:

            async def send(name: str) -> None:
                await connection.send(produce(), on_response=outcomes.of(name))

            task_group.start_soon(send, "cut")
            await peer.stalled()
            await connection.send(produce(), on_response=outcomes.of("queued"))
            task_group.cancel_scope.cancel()
        await outcomes.wait_for("cut", "queued")
        assert "cut short" in str(connection.close_reason)
    assert_network_errors(outcomes, cut=True, queued=False)


async def test_a_writer_cancelled_between_frames_leaves_the_rest_to_another() -> None:
    outcomes = Outcomes()
    async with connected() as (connection, peer):
        peer.stall_after(0)
        scope = anyio.CancelScope()

        def cancel_writer(outcome: object, now: float) -> None:
            scope.cancel()

        async def write_until_cancelled() -> None:
            with scope:
                await connection.send(produce(acks=0), on_response=cancel_writer, expect_response=False)

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(write_until_cancelled)
            await anyio.wait_all_tasks_blocked()
            for index in (1, 2):
                await connection.send(
                    produce(COALESCED_WRITE_BYTES, index=index), on_response=outcomes.of(str(index))
                )
            peer.stall_after(math.inf)
        assert scope.cancelled_caught
        assert [partition_of(await peer.receive()) for _ in range(3)] == [0, 1, 2]
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
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - raised on leaving connected()
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

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - raised on leaving connected()
        async with connected() as (connection, peer):
            await connection.send(METADATA, on_response=buggy)
            peer.respond(await peer.receive(), metadata())
            await peer.closed_by_client()
    assert caught.value.exceptions == (error,)


async def test_a_bug_while_failing_does_not_keep_others_from_their_outcome() -> None:
    def buggy(outcome: object, now: float) -> None:
        raise ValueError("mine")

    outcomes = Outcomes()
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - raised on leaving connected()
        async with connected() as (connection, _):
            await connection.send(METADATA, on_response=buggy)
            await connection.send(METADATA, on_response=outcomes.of("other"))
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
